"""What changes as training goes on: the learning rate, and the size of images.

Of the learning rate a schedule gives the factor on the initial rate, as a function of the step
alone; `every_step` says whether it changes from step to step, or from epoch to epoch. Steps and
epochs are counted from 0 in each run, so that a run that is resumed finds its place by them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..modules.resizing import Resize


@dataclass(frozen=True)
class Constant:
    """The initial learning rate, at every step."""

    every_step: ClassVar[bool] = False

    def __call__(self, step: int) -> float:
        return 1.0


@dataclass(frozen=True)
class OneCycle:
    """Linear warm-up from 4 % for a fifth of the steps, then half a cosine down to zero.

    Smith & Topin (2018), "Super-convergence: Very fast training of neural networks using large
    learning rates", with the annealing of Loshchilov & Hutter (2017), "SGDR".

    Examples
    --------
    >>> from sklearn_nets._training.schedules import OneCycle
    >>> [round(OneCycle(n_steps=10)(step), 2) for step in (0, 1, 2, 6, 10)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """

    every_step: ClassVar[bool] = True
    n_steps: int
    warm_up: float = 0.2

    def __call__(self, step: int) -> float:
        progress = step / self.n_steps
        if progress < self.warm_up:
            return 0.04 + 0.96 * progress / self.warm_up
        return 0.5 * (1 + math.cos(math.pi * (progress - self.warm_up) / (1 - self.warm_up)))


@dataclass(frozen=True)
class InverseScaling:
    """1 / (t + 1) ** power_t, where t counts the samples seen up to the start of the epoch.

    As in scikit-learn's MLP, t counts on from one call of `partial_fit` to the next, and in a warm
    start from its second epoch on: the first one has the initial rate.

    Examples
    --------
    >>> from sklearn_nets._training.schedules import InverseScaling
    >>> schedule = InverseScaling(power_t=0.5, n_samples=99, steps_per_epoch=2)
    >>> [schedule(step) for step in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """

    every_step: ClassVar[bool] = False
    power_t: float
    n_samples: int
    steps_per_epoch: int
    samples_seen: int = 0
    warm_start: bool = False

    def __call__(self, step: int) -> float:
        epoch = step // self.steps_per_epoch
        seen = 0 if epoch == 0 and self.warm_start else self.samples_seen + epoch * self.n_samples
        return 1.0 / (seen + 1) ** self.power_t


@dataclass(frozen=True)
class ProgressiveResizing:
    """Images are smaller in the first half of the epochs: sides of 5/8, then 6/8, then 7/8.

    Tan & Le (2021), "EfficientNetV2: Smaller models and faster training"; Howard (2018), "Now
    anyone can train Imagenet in 18 minutes". Few sizes: a captured step is captured for each.

    Examples
    --------
    >>> from sklearn_nets._training.schedules import ProgressiveResizing
    >>> schedule = ProgressiveResizing(n_epochs=6, multiple=16)
    >>> schedule(2), schedule(3)
    (Resize(scale=0.875, multiple=16), None)
    """

    n_epochs: int
    multiple: int = 1  # of which the sides are

    def __call__(self, epoch: int) -> Resize | None:
        n_smaller = self.n_epochs // 2
        if epoch >= n_smaller:
            return None
        return Resize((5 + 3 * epoch // n_smaller) / 8, self.multiple)
