"""Random changes of training images, drawn and made on the device for every image on its own."""

from __future__ import annotations

import torch
from torch import nn


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
    pixel, go along; labels stay as they are.

    Parameters
    ----------
    hflip : float, default=0.5
        Probability of a horizontal flip; 0 where left and right matter, as for digits.
    shift : int, default=2
        Greatest shift, in pixels, up or down and left or right; less than height and width.

    Attributes
    ----------
    capturable : bool
        Always True: nothing is drawn on the host, so that a CUDA graph can replay it.

    Raises
    ------
    ValueError
        If `shift` is not less than the height and width of the images.

    References
    ----------
    He et al. (2016), "Deep residual learning for image recognition", section 4.2.

    Examples
    --------
    >>> import torch
    >>> X, y = torch.arange(6.0).reshape(1, 1, 2, 3), torch.tensor([7])
    >>> RandomFlipShift(hflip=1.0, shift=0)(X, y)
    (tensor([[[[2., 1., 0.],
              [5., 4., 3.]]]]), tensor([7]))
    """

    capturable = True

    def __init__(self, hflip: float = 0.5, shift: int = 2):
        super().__init__()
        self.hflip, self.shift = hflip, shift

    def forward(self, X, y, generator=None):
        """Changed X, (n, channels, height, width), and y, (n, ...)."""
        n, _, height, width = X.shape
        if self.shift >= min(height, width):
            raise ValueError(
                f"shift={self.shift} must be less than the images' height and width, "
                f"{height} and {width}."
            )
        rows, columns = (self._shifted(n, size, X.device, generator) for size in (height, width))
        flip = torch.rand(n, 1, device=X.device, generator=generator) < self.hflip
        columns = torch.where(flip, columns.flip(1), columns)
        image = torch.arange(n, device=X.device)[:, None, None]
        rows, columns = rows[:, :, None], columns[:, None, :]
        X = X.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)  # channels last
        return X, y[image, rows, columns] if y.ndim == 3 else y

    def _shifted(self, n, size, device, generator):
        """Which pixel each pixel of an axis is taken from, (n, size)."""
        low, high = -self.shift, self.shift + 1
        shift = torch.randint(low, high, (n, 1), device=device, generator=generator)
        at = (torch.arange(size, device=device) + shift).abs()
        return (size - 1) - ((size - 1) - at).abs()

    def __repr__(self):
        return f"RandomFlipShift(hflip={self.hflip}, shift={self.shift})"
