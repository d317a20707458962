"""Run scikit-learn code on this package's classes without changing it.

``patch_sklearn()`` puts `MLPClassifier`, `MLPRegressor`, `KNeighborsClassifier`,
`KNeighborsRegressor`, `NearestNeighbors` and `LinearSVC` of this package where scikit-learn's were;
``python -m sklearn_nets.accel script.py`` does so for a whole script and says at its end, on
stderr, what was used.

The contract with the classes: a fitted estimator says by ``device_`` where it was fitted, and by
``fallback_`` why the fit was left to scikit-learn's own code, as a short reason such as
``"loss='hinge'"``; no such attribute, or None, says that it was not.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import runpy
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

__all__ = ["patch_sklearn", "unpatch_sklearn"]

REPLACED = {
    "neural_network": ("MLPClassifier", "MLPRegressor"),
    "neighbors": ("KNeighborsClassifier", "KNeighborsRegressor", "NearestNeighbors"),
    "svm": ("LinearSVC",),
}


class Fit(NamedTuple):
    """One call of ``fit`` or ``partial_fit`` that returned."""

    estimator: str
    device: str
    fallback: str | None


_lock = threading.Lock()
_undo = ExitStack()
_fits: list[Fit] | None = None  # None: scikit-learn's classes are in their place


class Patch:
    """What `patch_sklearn` returns: the record of fits, and a context manager.

    Attributes
    ----------
    fits : list of Fit
        Estimator, device and reason of fallback (or None) of every fit in this process since
        the patch. Fits in worker processes (``n_jobs=2`` with joblib's loky) are not seen.
    """

    def __init__(self, fits: list[Fit], outermost: bool):
        self.fits = fits
        self._outermost = outermost

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, *exception) -> None:
        if self._outermost:
            unpatch_sklearn()

    def report(self) -> str:
        """Say which classes were fitted, how often, on which device, and each fallback's reason."""
        if not self.fits:
            names = ", ".join(name for names in REPLACED.values() for name in names)
            return f"sklearn_nets.accel: no fit of {names} in this process"
        lines = ["sklearn_nets.accel: fits in this process"]
        for (name, device, fallback), count in sorted(Counter(self.fits).items(), key=str):
            where = f"on {device}" if fallback is None else f"by scikit-learn ({fallback})"
            lines.append(f"  {name:<20} {count:>6} {where}")
        return "\n".join(lines)


def patch_sklearn() -> Patch:
    """Put this package's classes in the place of scikit-learn's.

    The names are rebound in scikit-learn's public modules and in every module of scikit-learn
    that has imported them, so ``CalibratedClassifierCV()`` too gets this package's
    `LinearSVC`. Modules of one's own keep what they imported before: patch first, import
    scikit-learn's classes then. Calling it again changes nothing.

    What is pickled under the patch needs this package to load, and no patch.

    Returns
    -------
    patch : Patch
        ``patch.fits`` and ``patch.report()`` tell what was used. As a context manager it
        unpatches at the end of the ``with`` block, unless the patch was older than that.

    See Also
    --------
    unpatch_sklearn : Puts scikit-learn's classes back.

    Examples
    --------
    >>> from sklearn_nets.accel import patch_sklearn
    >>> with patch_sklearn() as patch:
    ...     from sklearn.neighbors import KNeighborsClassifier
    ...     model = KNeighborsClassifier(n_neighbors=1).fit([[0.0], [1.0]], ["no", "yes"])
    >>> type(model).__module__.partition(".")[0]
    'sklearn_nets'
    >>> [fit.estimator for fit in patch.fits]
    ['KNeighborsClassifier']
    """
    global _fits
    with _lock:
        outermost = _fits is None
        if outermost:
            _fits = []
            for original, ours in pairs():
                rebind(original, ours)
                _undo.callback(rebind, ours, original)
                for method in {"fit", "partial_fit"}.intersection(dir(ours)):
                    _record(ours, method, _fits)
        return Patch(_fits, outermost)


def unpatch_sklearn() -> None:
    """Put scikit-learn's own classes back; does nothing where they are in their place.

    Examples
    --------
    >>> from sklearn_nets.accel import patch_sklearn, unpatch_sklearn
    >>> patch = patch_sklearn()
    >>> unpatch_sklearn()
    >>> import sklearn.svm
    >>> sklearn.svm.LinearSVC.__module__
    'sklearn.svm._classes'
    """
    global _fits
    with _lock:
        _undo.close()
        _fits = None


def pairs() -> list[tuple[type, type]]:
    """Return (scikit-learn's class, ours) for each replaced name; call it unpatched."""
    return [
        tuple(getattr(import_module(f"{package}.{module}"), name) for package in PACKAGES)
        for module, names in REPLACED.items()
        for name in names
    ]


PACKAGES = ("sklearn", "sklearn_nets")


def rebind(old: type, new: type) -> None:
    """Let every loaded module of scikit-learn that holds `old` by its name hold `new`.

    The module that defines the class is left alone: pickles of scikit-learn's own look there.
    """
    name = old.__name__
    for path, module in list(sys.modules.items()):
        public = path.startswith("sklearn.") and path not in (old.__module__, new.__module__)
        if public and vars(module).get(name) is old:
            setattr(module, name, new)


def _record(ours: type, method: str, fits: list[Fit]) -> None:
    """Wrap a method of `ours` in a record until the patch is undone."""
    own = vars(ours).get(method)
    if own is None:
        _undo.callback(delattr, ours, method)
    else:
        _undo.callback(setattr, ours, method, own)
    setattr(ours, method, _Recorded(inspect.getattr_static(ours, method), fits))


class _Recorded:
    """A method that adds its call to a list; a descriptor, so that `available_if` stays one."""

    def __init__(self, method, fits: list[Fit]):
        self.method, self.fits = method, fits

    def __get__(self, estimator, owner=None):
        method = self.method.__get__(estimator, owner)
        if estimator is None:
            return method

        @functools.wraps(method)
        def recorded(*args, **kwargs):
            result = method(*args, **kwargs)
            device, reason = (getattr(estimator, a, None) for a in ("device_", "fallback_"))
            self.fits.append(Fit(type(estimator).__name__, str(device or "cpu"), reason))
            return result

        return recorded


def main(argv: list[str] | None = None) -> None:
    """Run a script under the patch: ``python -m sklearn_nets.accel script.py [args ...]``."""
    parser = argparse.ArgumentParser("python -m sklearn_nets.accel", description=main.__doc__)
    parser.add_argument("script", help="a Python file, run as it is")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="what the script finds in sys.argv")
    options = parser.parse_args(argv)
    if not Path(options.script).is_file():
        parser.error(f"no such file: {options.script}")
    sys.argv = [options.script, *options.args]
    sys.path[0] = str(Path(options.script).resolve().parent)
    with patch_sklearn() as patch:
        try:
            runpy.run_path(options.script, run_name="__main__")
        finally:
            sys.stdout.flush()
            print(patch.report(), file=sys.stderr)


if __name__ == "__main__":
    from sklearn_nets import accel  # the one that scripts import, not this copy named __main__

    accel.main()
