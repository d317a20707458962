"""What every net over images shares: its recipe and its architecture."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from .._training.loader import gather_some
from .._training.schedules import ProgressiveResizing
from .._utils.array_api import convert_like, is_tensor
from .._utils.random import TorchRandom
from .._utils.sklearn_compat import StrOptions, check_is_fitted
from ..modules.augment import (
    EachImage,
    RandomFlipShift,
    auto_augmentation,
    is_of_torchvision,
)
from ..modules.interfaces import Backbone, DataDependentInit
from ..modules.layers import Normalize
from ..modules.mirroring import mirroring_keeps_targets
from ..modules.registry import build_architecture
from ..modules.views import average_over_views
from .image_reading import ImageReadingMixin
from .images import brightness, input_statistics, white_of
from .parameters import NOT_NEGATIVE, POSITIVE, POSITIVE_INT, net_class, parameter

INIT_IMAGES = 2048  # at most, for weights that come from the data
INIT_PIXELS = 2**23  # and of their pixels, at most: 100 MB of three channels
MIRROR_IMAGES = 10_000  # at most, in which the neighbors of mirrored images are sought
SMALLEST_TO_RESIZE = 24  # pixels of the shorter side: of fewer none can be spared


@net_class
class ImageTrainingMixin:
    """How every net over images is trained: raw pixels in, and the recipe.

    The defaults are the recipe, so that they need no tuning: AdamW along one cycle of the learning
    rate, with rate, batch size and augmentation chosen from the data.
    """

    solver: str = parameter(
        "adamw", [StrOptions({"adam", "adamw", "sgd"})],
        """Optimizer: 'adamw' (Loshchilov & Hutter 2019), 'adam' (Kingma & Ba 2014), 'sgd' with
        momentum.""",
    )  # fmt: skip
    alpha: float = parameter(
        0.05, [NOT_NEGATIVE],
        """Decoupled weight decay of 'adamw'; for the other solvers the strength of the L2 penalty
        alpha / 2 · ||W||² / Σw, where Σw is the sum of the batch's sample weights.""",
    )  # fmt: skip
    batch_size: int | str = parameter(
        "auto", [StrOptions({"auto"}), POSITIVE_INT],
        """Images in a mini-batch; 'auto' makes about 32 batches of the data, of 128 images each
        at most (8 with masks or boxes) and, of few data, of about 8 (4 with masks). Rows that stand
        for no image: min(200, n_samples).""",
    )  # fmt: skip
    learning_rate: str = parameter(
        "onecycle", [StrOptions({"constant", "invscaling", "adaptive", "onecycle"})],
        """Schedule of the learning rate. 'onecycle' warms up for a fifth of `max_iter` epochs and
        goes down to zero; all epochs are run unless early stopping ends them. For solver='sgd',
        'invscaling' divides the rate by t ** power_t after t samples and 'adaptive' by 5 whenever
        training stalls.""",
    )  # fmt: skip
    learning_rate_init: float | str = parameter(
        "auto", [StrOptions({"auto"}), POSITIVE],
        """Initial, or with 'onecycle' greatest, learning rate. 'auto' is a rate known to suit the
        net and the solver, a quarter of it where the schedule does not go down to zero.""",
        words="float or 'auto'",
    )  # fmt: skip
    max_iter: int = parameter(20, [POSITIVE_INT], "Number of epochs, passes over the data.")
    augment: Callable | str | None = parameter(
        "auto", [StrOptions({"auto"}), callable, None],
        """Changes every training batch: ``augment(X, y)`` takes X of shape (n, channels, height,
        width) as it was read, on the device, and y, class indices, or masks of them. 'auto' shifts
        images by up to 1/14 of their sides, and mirrors them where the training data shows that
        labels bear it; with masks it zooms, too (`RandomZoom`). `RandomFlipShift`, `RandomZoom`, or
        a transform of torchvision's, which is drawn anew for each image: with masks one of
        ``torchvision.transforms.v2``, which takes them along (what it fills in has no label), with
        boxes none.""",
        words="callable(X, y) -> (X, y), 'auto' or None",
    )  # fmt: skip
    compile: bool = parameter(
        False, ["boolean"],
        """Whether `torch.compile` translates the net, which takes a minute or so and needs a C++
        compiler; pays for itself in long trainings on an accelerator. The numbers may differ by
        rounding.""",
    )  # fmt: skip

    _min_batch_size: ClassVar[int] = 8
    _max_batch_size: ClassVar[int] = 128
    _targets_in_image: ClassVar[str | None] = None  # "masks" or "boxes": they move as pixels do
    # of adam and adamw, along one cycle, for the own net; sgd takes 75 times as much
    _peak_learning_rate: ClassVar[float] = 4e-3

    def _own_peak_learning_rate(self, batch_size) -> float:
        """A greatest learning rate known to suit the net."""
        return self._peak_learning_rate

    def _is_tabular(self) -> bool:
        """Whether the images of `fit` are rows that stand for no image."""
        return False

    def _input_dtype(self):
        return None  # pixels stay as they are (uint8) until the net reads them

    def _torch_random(self, random_state, device):
        return TorchRandom(int(random_state.randint(np.iinfo(np.int32).max)), device)

    def _batch_size(self, n_samples):
        if self.batch_size != "auto" or self._is_tabular():
            return super()._batch_size(n_samples)
        about = 2 ** round(math.log2(n_samples / 32))
        about = min(max(about, self._min_batch_size), self._max_batch_size)
        even = math.ceil(n_samples / max(1, round(n_samples / about)))  # the last is not a stump
        return min(even, self._max_batch_size)

    def _learning_rate(self, batch_size):
        if self.learning_rate_init != "auto":
            return self.learning_rate_init
        rate = self._own_peak_learning_rate(batch_size) * (75 if self.solver == "sgd" else 1)
        return rate if self.learning_rate == "onecycle" else rate / 4

    def _augmentation(self, source, random_state):
        if is_of_torchvision(self.augment):
            targets = self._targets_in_image
            if targets == "boxes" or (targets and not is_of_torchvision(self.augment, ".v2")):
                instead = "one of torchvision.transforms.v2, or " if targets == "masks" else ""
                raise ValueError(
                    f"augment={self.augment!r} would change images and leave their {targets} where "
                    f"they are. Take {instead}RandomFlipShift, RandomZoom or a function (X, y) -> "
                    "(X, y)."
                )
            return EachImage(self.augment, masks=targets is not None)
        if self.augment != "auto":
            return self.augment
        if self._is_tabular():
            return None
        # of its own: what the check draws would change the order of batches, which is otherwise
        # that of the same augmentation made by hand
        return self._auto_augmentation(source, np.random.RandomState(0))

    def _auto_augmentation(self, source, random_state):
        """What images like the source's bear: shifts, and mirroring where labels bear it."""
        if not hasattr(self, "_flips"):
            self._flips = self._find_flips(source, random_state)
        return self._make_augmentation(source.X.shape[2:], **self._flips)

    def _find_flips(self, source, random_state) -> dict[str, float]:
        """Probabilities with which to mirror images like the source's."""
        X, y, _ = gather_some(source, MIRROR_IMAGES)
        return {"hflip": 0.5 * mirroring_keeps_targets(X, y, random_state)}

    def _make_augmentation(self, size, hflip):
        """The augmentation of images of this height and width."""
        return auto_augmentation(*size, hflip=hflip > 0)

    def _start_progress(self, first, incremental, eval_set, data):
        if not incremental:  # a batch of partial_fit is too small to decide anew about mirroring
            vars(self).pop("_flips", None)
        return super()._start_progress(first, incremental, eval_set, data)


@net_class
class ImageNetMixin(ImageTrainingMixin, ABC):
    """What the nets of images that predict share: how their module is made."""

    architecture: Any = parameter(
        "small", [str, callable],
        """The net: 'small' is our own, 'lecture' (`modules.lecture`), 'lenet', 'alexnet'
        (torchvision's), or any name of timm's (``timm.list_models()``), which adapts it to the
        images' size; or a callable ``(image_shape, n_outputs) -> nn.Module``.""",
        words="str or callable",
    )  # fmt: skip
    pretrained: bool | str | PathLike = parameter(
        False, ["boolean", str, PathLike],
        """Whether to start from the weights that timm keeps, which are downloaded; or a local file
        of weights (safetensors, or a state dict of `torch.save`).""",
        words="bool, str or path",
    )  # fmt: skip
    freeze: str | None = parameter(
        None, [StrOptions({"backbone"}), None],
        "'backbone' trains the last layer alone (linear probing).",
    )  # fmt: skip
    progressive_resizing: bool = parameter(
        True, ["boolean"],
        """Whether images are smaller in the first half of the epochs: 5/8, then 6/8, then 7/8 of
        their height and width, which saves up to a quarter of the time. Only images of 24 pixels
        and more, along 'onecycle', without early stopping, `freeze` and `compile`, and only nets
        with an attribute ``size_multiple``, as our own have: the sides of smaller images are
        multiples of it.""",
    )  # fmt: skip
    test_time_augment: bool = parameter(
        True, ["boolean"],
        """Whether `predict` and `features` average over an image and views of it: its mirror image
        where training images were mirrored (`mirrored_`), and shifts by half as much as training
        shifted them (`test_time_shift_`; not for masks). Takes up to six times as long.""",
    )  # fmt: skip

    _has_head: ClassVar[bool] = True  # so that its outputs are predictions

    def _augmentation(self, source, random_state):
        augmentation = super()._augmentation(source, random_state)
        self.mirrored_ = bool(getattr(augmentation, "hflip", 0))
        return augmentation

    @abstractmethod
    def _make_architecture(self) -> nn.Module:
        """The module for standardized images, of the sizes that reading X has left."""

    def _own_peak_learning_rate(self, batch_size) -> float:
        """A greatest learning rate known to suit the net."""
        if self.freeze is None and self.pretrained is not False:
            return 2e-4
        return self._peak_learning_rate if self.architecture == "small" else 1e-3

    def _make_module(self, X, weight, random_state):
        self._brightness = brightness(X)
        architecture = self._make_architecture()
        if not isinstance(architecture, nn.Module):
            raise ValueError(
                f"architecture={self.architecture!r} must return an nn.Module, got "
                f"{type(architecture).__name__}."
            )
        norm = self._make_norm(architecture, X, weight)
        if isinstance(architecture, DataDependentInit) and not self.pretrained:
            init_from_images(architecture, norm, X, weight)
        if self.freeze is not None:
            self._backbone_of(architecture, "freeze='backbone'").freeze()
        module = nn.Sequential(norm, architecture)
        if callable(self.architecture) and self._has_head:
            self._check_outputs(module, X[:1])
        if self.compile:
            module.compile()
        return module

    def _output_shape(self, X) -> tuple[int, ...]:
        """What the net must make of the images X."""
        return len(X), self.n_outputs_

    def _check_outputs(self, module, X):
        """Refuse a net of one's own whose outputs would be broadcast, or be left over."""
        device = torch.device(self.device_)
        outputs = outputs_of(module.to(device, self._precision.dtype), X.to(device))
        got = tuple(outputs.shape) if is_tensor(outputs) else type(outputs).__name__
        if got != self._output_shape(X):
            raise ValueError(
                f"architecture={self.architecture!r} must make outputs of shape "
                f"{self._output_shape(X)} of images of shape {tuple(X.shape)}, got {got}."
            )

    def _training_options(self, loader, incremental):
        options = super()._training_options(loader, incremental)
        multiple = getattr(self.net_.module_[1], "size_multiple", None)
        if multiple is not None and not incremental and self._resizes_images(loader.data.X):
            options["resizing"] = ProgressiveResizing(self.max_iter, multiple)
        return options

    def _resizes_images(self, X) -> bool:
        # early stopping compares epochs; a net that is compiled would be compiled for each size
        return (
            self.progressive_resizing
            and min(X.shape[2:]) >= SMALLEST_TO_RESIZE
            and self.learning_rate == "onecycle"
            and self.freeze is None
            and not (self.early_stopping or self.compile or self._is_tabular())
        )

    def _make_norm(self, architecture, X, weight):
        """Pixels standardized as the net was trained, or else by the training data."""
        known = getattr(architecture, "pretrained_statistics", None)
        if known is None:
            return Normalize(*input_statistics(X, weight))
        white = white_of(X)
        return Normalize(*(white * torch.tensor(values, dtype=torch.float64) for values in known))

    def _backbone_of(self, architecture, what) -> Backbone:
        if not isinstance(architecture, Backbone):
            raise ValueError(
                f"{what} needs a net that tells its features from its head: a subclass of "
                "sklearn_nets.modules.interfaces.Backbone, or a model of timm; got "
                f"{type(architecture).__name__}."
            )
        return architecture

    def _test_time_shift(self) -> tuple[int, int]:
        """Rows and columns by which predictions shift images, too."""
        return 0, 0

    def _check_like_fit(self, data):
        """Warn of pixels from 0 to 1 where those of `fit` were bytes, or the other way round."""
        if data.device.type != "cpu" or self._is_tabular():  # a device would be waited for
            return
        (_, high, usual), (low, now, _) = self._brightness, brightness(data)
        dark = data.is_floating_point() and 0 < now <= 1 and usual > 10
        if low >= 0 and (dark or (high <= 1 and now > 50)):
            warnings.warn(
                f"Pixels of X go up to {now:g}, those of fit went up to {high:g}: predictions are "
                "of little use. Scale X as in fit: both divided by 255, or none.",
                stacklevel=4,
            )

    def _forward_batches(self, data, through=None):
        views = {"hflip": self.mirrored_, "shift": self._test_time_shift()}
        if self.test_time_augment and (views["hflip"] or any(views["shift"])):
            through = partial(average_over_views, through or self.net_.module_, **views)
        return super()._forward_batches(data, through)


@torch.no_grad()
def outputs_of(module: nn.Module, X):
    """What a module makes of X, of which no trace is left: modes and random numbers stay."""
    modes = [(part, part.training) for part in module.modules()]
    devices = [X.device] if X.device.type == "cuda" else []
    try:
        for part, _ in modes:  # not by eval(), which a net may answer by more than its mode
            part.training = False
        with torch.random.fork_rng(devices):
            return module(X)
    finally:
        for part, mode in modes:
            part.training = mode


def init_from_images(architecture: DataDependentInit, norm: Normalize, X, weight) -> None:
    """Let a net's first weights come from some of the images X."""
    most = min(INIT_IMAGES, max(1, INIT_PIXELS // (X.shape[2] * X.shape[3])))
    some = slice(None, None, math.ceil(len(X) / most))
    architecture.init_from_data(norm(X[some]), None if weight is None else weight[some])


@net_class
class ImageInputMixin(ImageReadingMixin, ImageNetMixin):
    """The nets of images of one size: their architecture, by name or of one's own."""

    def _augmentation(self, source, random_state):
        augmentation = super()._augmentation(source, random_state)
        shift = augmentation.shift if isinstance(augmentation, RandomFlipShift) else 0
        shift = (shift, shift) if isinstance(shift, Integral) else shift
        self.test_time_shift_ = tuple(math.ceil(most / 2) for most in shift)
        return augmentation

    def _test_time_shift(self):
        return self.test_time_shift_

    def _make_architecture(self):
        return build_architecture(
            self.architecture, self.image_shape_, self.n_outputs_, self.pretrained, self._make_own
        )

    @abstractmethod
    def _make_own(self, image_shape, n_outputs) -> nn.Module:
        """What architecture='small' means."""

    def _build(self, X):
        """The net for images like these, as it is before training."""
        self._has_head = False  # or one of any size: features need none
        self._make_run(X, np.arange(X.shape[0]) % 2, None)
        self.net_.module_.eval()
        return self

    def features(self, X):
        """What the last layer takes: the features of each image.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Images of the shape seen in `fit`.

        Returns
        -------
        features : ndarray or torch.Tensor of shape (n_samples, n_features)

        Raises
        ------
        ValueError
            If `architecture` is a callable whose net does not tell features from its head.
        """
        check_is_fitted(self, "net_")
        norm, architecture = self.net_.module_
        backbone = self._backbone_of(architecture, "features")
        features = self._forward(
            X, lambda z, dtype: z, "features", lambda x: backbone.forward_features(norm(x))
        )
        return convert_like(features, like=X)
