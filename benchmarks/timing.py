"""Time competitors in one process, in turns, and report ratios."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

LONG = 3.0  # seconds of a turn to which a warm-up makes no difference
PAUSE = 0.05  # seconds in which the last competitor's idle threads stop spinning on the cores


@dataclass
class Job:
    """One row of a table: the same work done by each competitor.

    Attributes
    ----------
    table, name : str
        Where the row stands and what it is called.
    make : callable() -> dict of str to callable
        Prepares the data and gives one callable per competitor, the first being ours; a callable
        does the work once and may return a figure of quality (a loss or a score).
    limits : dict of str to float
        The largest ratio ours / theirs that is aimed at, by competitor.
    equal : str
        What was held equal.
    repeats : int
        Timed turns; before them one to warm up, unless it was long: then it counts.
    figures : callable(float) -> dict of str to float, optional
        More columns, from the median of our seconds.
    between : callable(), optional
        Called before every turn, outside its time.
    """

    table: str
    name: str
    make: Callable[[], dict[str, Callable]]
    limits: dict[str, float] = field(default_factory=dict)
    equal: str = ""
    repeats: int = 5
    figures: Callable[[float], dict[str, float]] | None = None
    between: Callable = lambda: None


def measure(job: Job, synchronize: Callable = lambda: None) -> dict:
    """Run a job; medians of seconds, and of the ratios turn by turn."""
    competitors = job.make()
    seconds = {name: [] for name in competitors}
    ours, *others = competitors
    quality, warm = {}, False
    order = deque(competitors.items())
    while len(seconds[ours]) < job.repeats:
        turn = {}
        order.rotate()  # so that nobody always comes after the same competitor
        for name, work in order:
            synchronize()
            job.between()
            sleep(PAUSE)
            start = perf_counter()
            result = work()
            synchronize()
            turn[name] = perf_counter() - start
            quality[name] = result if isinstance(result, float) else None
        if warm or sum(turn.values()) > LONG:
            for name, spent in turn.items():
                seconds[name].append(spent)
        warm = True
    ratios = {
        name: median(a / b for a, b in zip(seconds[ours], seconds[name], strict=True))
        for name in others
    }
    return {
        "table": job.table,
        "name": job.name,
        "n": job.repeats,
        "seconds": {name: median(values) for name, values in seconds.items()},
        "spread": {name: [min(values), max(values)] for name, values in seconds.items()},
        "ratios": ratios,
        "limits": job.limits,
        "quality": quality,
        "figures": job.figures(median(seconds[ours])) if job.figures else {},
        "equal": job.equal,
    }


def processor() -> str:
    """The model of the CPU, as Linux names it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "an unknown processor"
