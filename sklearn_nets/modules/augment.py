"""Random changes of training images, drawn and made on the device for every image on its own."""

from __future__ import annotations

import math
from numbers import Integral, Real

import torch
from torch import nn
from torch.nn import functional as F

from .boxes import is_boxes, move_boxes


class Augmentation(nn.Module):
    """Random changes of training batches that are drawn from a generator.

    ``augmentation(X, y, generator)`` returns the changed X, (n, channels, height, width), and y,
    (n, ...); `generator` is a `torch.Generator` on the device of X, or None for torch's own.

    Attributes
    ----------
    capturable : bool
        Whether nothing is drawn on the host, so that a CUDA graph can replay it.
    """

    capturable = False


class RandomFlipShift(Augmentation):
    """Mirror images left to right at random and shift them by a few pixels.

    What a shift uncovers is filled by the image mirrored at its border. Masks, one label for every
    pixel, and boxes go along; labels stay as they are.

    Parameters
    ----------
    hflip : float, default=0.5
        Probability of a horizontal flip; 0 where left and right matter, as for digits.
    shift : int or (int, int), default=2
        Greatest shift, in pixels, up or down and left or right; less than height and width.

    Attributes
    ----------
    capturable : bool
        Always True: nothing is drawn on the host, so that a CUDA graph can replay it.

    Raises
    ------
    ValueError
        If `hflip` is no probability, `shift` no integers of at least 0, or not less than the height
        and width of the images.

    References
    ----------
    He et al. (2016), "Deep residual learning for image recognition", section 4.2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.vision import RandomFlipShift
    >>> X, y = torch.arange(6.0).reshape(1, 1, 2, 3), torch.tensor([7])
    >>> RandomFlipShift(hflip=1.0, shift=0)(X, y)
    (tensor([[[[2., 1., 0.],
              [5., 4., 3.]]]]), tensor([7]))
    """

    capturable = True

    def __init__(self, hflip: float = 0.5, shift: int | tuple[int, int] = 2):
        super().__init__()
        check_probability("hflip", hflip)
        pair = shift if isinstance(shift, tuple | list) else (shift, shift)
        if len(pair) != 2 or not all(isinstance(most, Integral) and most >= 0 for most in pair):
            raise ValueError(
                f"shift must be an int or (int, int) of at least 0, in pixels, got {shift!r}."
            )
        self.hflip, self.shift = hflip, shift

    def forward(self, X, y, generator=None):
        """Changed X, (n, channels, height, width), and y, (n, ...)."""
        n, _, height, width = X.shape
        shifts = (self.shift, self.shift) if isinstance(self.shift, Integral) else self.shift
        if shifts[0] >= height or shifts[1] >= width:
            raise ValueError(
                f"shift={self.shift} must be less than the images' height and width, "
                f"{height} and {width}."
            )
        moved = [
            torch.randint(-most, most + 1, (n, 1), device=X.device, generator=generator)
            for most in shifts
        ]
        rows, columns = (reflected(size, by) for size, by in zip((height, width), moved))
        flip = torch.rand(n, 1, device=X.device, generator=generator) < self.hflip
        columns = torch.where(flip, columns.flip(1), columns)
        if is_boxes(y):
            y = move_boxes(y, self._theta(flip, moved, X), height, width)
        image = torch.arange(n, device=X.device)[:, None, None]
        rows, columns = rows[:, :, None], columns[:, None, :]
        X = X.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)  # channels last
        return X, y[image, rows, columns] if y.ndim == 3 and not is_boxes(y) else y

    def _theta(self, flip, moved, X):
        """The same as an affine map, (n, 2, 3), without what the border's mirror adds."""
        down, right = moved
        mirror = torch.where(flip[:, 0], -1.0, 1.0)
        theta = torch.zeros(len(X), 2, 3, device=X.device)
        theta[:, 0, 0], theta[:, 1, 1] = mirror, 1.0
        theta[:, 0, 2], theta[:, 1, 2] = 2 * right[:, 0] / X.shape[3], 2 * down[:, 0] / X.shape[2]
        return theta

    def __repr__(self):
        return f"RandomFlipShift(hflip={self.hflip}, shift={self.shift})"


def check_probability(name: str, p) -> None:
    """Refuse what is no number from 0 to 1."""
    if not isinstance(p, Real) or not 0 <= p <= 1:
        raise ValueError(f"{name} must be a probability, from 0 to 1, got {p!r}.")


def reflected(size: int, by):
    """Which pixel of an axis each is taken from when it is shifted, mirrored at the border.

    Parameters
    ----------
    size : int
        Pixels of the axis.
    by : tensor of shape (1,) or (n, 1)
        Pixels to shift by, less than `size`.

    Returns
    -------
    tensor of shape (size,) or (n, size)
    """
    at = (torch.arange(size, device=by.device) + by).abs()
    return (size - 1) - ((size - 1) - at).abs()


class RandomZoom(Augmentation):
    """Zoom into or out of images at random places, mirror them, change brightness and contrast.

    What zooming out uncovers is filled by the image mirrored at its border, with boxes by its mean
    color. Masks, one label for every pixel, and boxes go along; labels stay as they are.

    Parameters
    ----------
    hflip : float, default=0.0
        Probability of a horizontal flip.
    scale : (float, float), default=(0.75, 1.5)
        Least and greatest factor of the zoom.
    jitter : float, default=0.2
        Greatest change of brightness, in standard deviations of the image's pixels, and of the
        logarithm of the contrast; a third of it for each channel on its own.
    vflip : float, default=0.0
        Probability of a vertical flip.

    Attributes
    ----------
    capturable : bool
        Always True: nothing is drawn on the host, so that a CUDA graph can replay it.

    Raises
    ------
    ValueError
        If `hflip` or `vflip` is no probability, `scale` no pair of 0 < least <= greatest, or
        `jitter` negative.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.vision import RandomZoom
    >>> X, masks = torch.rand(2, 3, 16, 20), torch.zeros(2, 16, 20, dtype=torch.int16)
    >>> [t.shape for t in RandomZoom()(X, masks)]
    [torch.Size([2, 3, 16, 20]), torch.Size([2, 16, 20])]
    """

    capturable = True

    def __init__(
        self,
        hflip: float = 0.0,
        scale: tuple[float, float] = (0.75, 1.5),
        jitter: float = 0.2,
        vflip: float = 0.0,
    ):
        super().__init__()
        check_probability("hflip", hflip)
        check_probability("vflip", vflip)
        numbers = isinstance(scale, tuple | list) and all(isinstance(s, Real) for s in scale)
        if not numbers or len(scale) != 2 or not 0 < scale[0] <= scale[1] < math.inf:
            raise ValueError(
                f"scale must be (least, greatest) with 0 < least <= greatest, got {scale!r}."
            )
        if not isinstance(jitter, Real) or not 0 <= jitter < math.inf:
            raise ValueError(f"jitter must be a number of at least 0, got {jitter!r}.")
        self.hflip, self.scale, self.jitter, self.vflip = hflip, scale, jitter, vflip

    def forward(self, X, y, generator=None):
        """Changed X, (n, channels, height, width), floating point, and y, (n, ...)."""
        n, channels, height, width = X.shape
        X = X if X.dtype == torch.float64 else X.float()  # half is too coarse for places

        def uniform(*shape):  # from -1 to 1
            return 2 * torch.rand(shape, device=X.device, dtype=X.dtype, generator=generator) - 1

        low, high = (math.log(s) for s in self.scale)
        shown = torch.exp(-(low + high) / 2 - (high - low) / 2 * uniform(n))  # share of the image
        mirror = torch.where(uniform(n) < 2 * self.hflip - 1, -1.0, 1.0).to(X.dtype)
        theta = X.new_zeros(n, 2, 3)
        theta[:, 0, 0], theta[:, 1, 1] = shown * mirror, shown
        if self.vflip:  # without it nothing is drawn for it
            theta[:, 1, 1] *= torch.where(uniform(n) < 2 * self.vflip - 1, -1.0, 1.0).to(X.dtype)
        theta[:, :, 2] = (1 - shown).abs()[:, None] * uniform(n, 2)
        grid = F.affine_grid(theta, (n, 1, height, width), align_corners=False)
        options = {"padding_mode": "reflection", "align_corners": False}
        if is_boxes(y):  # a mirrored border would show objects that have no box: it gets the mean
            options["padding_mode"], mean = "zeros", X.mean((2, 3), keepdim=True)
            X = F.grid_sample(X - mean, grid, mode="bilinear", **options) + mean
            y = move_boxes(y, theta, height, width)
        else:
            X = F.grid_sample(X, grid, mode="bilinear", **options)
        if y.ndim == 3 and not is_boxes(y):
            y = F.grid_sample(y[:, None].to(X.dtype), grid, mode="nearest", **options)[:, 0].to(y)
        deviation, mean = torch.std_mean(X, (1, 2, 3), correction=0, keepdim=True)
        contrast = torch.exp(self.jitter * (uniform(n, 1, 1, 1) + uniform(n, channels, 1, 1) / 3))
        brightness = self.jitter * deviation * uniform(n, 1, 1, 1)
        return (X - mean) * contrast + mean + brightness, y

    def __repr__(self):
        vflip = f", vflip={self.vflip}" if self.vflip else ""
        return f"RandomZoom(hflip={self.hflip}, scale={self.scale}, jitter={self.jitter}{vflip})"


def is_of_torchvision(augment, version: str = "") -> bool:
    """Whether it is a transform of torchvision's (of ".v2") that takes images one by one."""
    mixes = hasattr(augment, "num_classes")  # MixUp and CutMix take batches
    modules = [base.__module__ for base in type(augment).__mro__]
    return not mixes and any(m.startswith("torchvision.transforms" + version) for m in modules)


class EachImage:
    """A transform of torchvision's, drawn anew for each image of a batch.

    Of a batch torchvision would draw once, and mirror all of its images or none.

    Parameters
    ----------
    transform : callable
        Of one image, (channels, height, width); of ``torchvision.transforms.v2`` if `masks`.
    masks : bool, default=False
        Whether y holds masks, class indices or -1 for no label, which go along. What is filled in
        has no label.
    """

    def __init__(self, transform, masks: bool = False):
        self.transform, self.masks = transform, masks

    def __call__(self, X, y):
        """Changed X, (n, channels, height, width), and y, (n, ...)."""
        if not self.masks:  # other targets are not its business; version 1 would take none
            return torch.stack([self.transform(image) for image in X]), y
        from torchvision.tv_tensors import Image, Mask

        codes = y + 1  # torchvision fills masks with 0
        pairs = [self.transform(Image(image), Mask(code)) for image, code in zip(X, codes)]
        X, moved = (torch.stack(tensors) for tensors in zip(*pairs))
        return X, torch.where(moved > codes.max(), 0, moved) - 1  # or with the images' `fill`


def auto_augmentation(height: int, width: int, hflip: bool) -> RandomFlipShift | None:
    """The augmentation of images of this size: shifts by up to 1/14 of a side, flips if `hflip`.

    None where there is nothing to change: sides below 8 pixels, and no flips.

    Examples
    --------
    >>> from sklearn_nets.modules.augment import auto_augmentation
    >>> auto_augmentation(28, 28, hflip=False), auto_augmentation(8, 4, hflip=True)
    (RandomFlipShift(hflip=0.0, shift=(2, 2)), RandomFlipShift(hflip=0.5, shift=(1, 0)))
    """
    shift = tuple(round(side / 14) if side >= 8 else 0 for side in (height, width))
    if not hflip and not any(shift):
        return None
    return RandomFlipShift(hflip=0.5 if hflip else 0.0, shift=shift)
