"""Images, their masks and what a segmenter makes of them, side by side."""

from __future__ import annotations

import numpy as np

from .._base.images import to_channels_first
from .._utils.array_api import to_numpy
from .._utils.images import to_display
from .._utils.optional import require
from ..metrics._scorers import ignored_label

COLUMNS = ("image", "truth", "prediction", "errors")


class SegmentationDisplay:
    """A row for each image: image, truth, prediction and errors.

    Parameters
    ----------
    images : sequence of ndarray of shape (height, width) or (height, width, channels)
    y_true, y_pred : sequence of ndarray of shape (height, width)
        Masks.
    classes : ndarray of shape (n_classes,)
        All labels, sorted.
    ignore_index : label or None, default=None
        Pixels of this label are left blank.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes of shape (n_images, 4)

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_nets import PixelClassifier, SegmentationDisplay, make_digit_scenes
    >>> X, y = make_digit_scenes(4, random_state=0, return_X_y=True)
    >>> model = PixelClassifier(GaussianNB()).fit(X, y)
    >>> SegmentationDisplay.from_estimator(model, X, y, n_images=2).axes_.shape
    (2, 4)
    """

    def __init__(self, images, y_true, y_pred, classes, ignore_index=None):
        self.images, self.y_true, self.y_pred = images, y_true, y_pred
        self.classes, self.ignore_index = classes, ignore_index

    @classmethod
    def from_estimator(cls, estimator, X, y, *, n_images=3):
        """Predict the first images and draw them.

        Parameters
        ----------
        estimator : fitted segmenter
        X : array-like or list
            Images, as the segmenter reads them.
        y : array-like or list
            True masks.
        n_images : int, default=3
            How many images to draw.

        Returns
        -------
        SegmentationDisplay
        """
        X, y = X[:n_images], [np.asarray(to_numpy(mask)) for mask in y[:n_images]]
        ignore_index = ignored_label(estimator)
        return cls.from_predictions(X, y, estimator.predict(X), ignore_index=ignore_index)

    @classmethod
    def from_predictions(cls, X, y_true, y_pred, *, ignore_index=None):
        """Draw images and masks.

        Parameters
        ----------
        X, y_true, y_pred : array-like or list
            Images, true and predicted masks.
        ignore_index : label or None, default=None
            Pixels of this label are left blank.

        Returns
        -------
        SegmentationDisplay

        Raises
        ------
        ValueError
            If their numbers or sizes differ, or there is no image.
        """
        y_true, y_pred = ([np.asarray(to_numpy(m)) for m in masks] for masks in (y_true, y_pred))
        images = [np.asarray(to_channels_first(np.asarray(to_numpy(i))[None]))[0] for i in X]
        images = [to_display(image.transpose(1, 2, 0)) for image in images]
        if not images:
            raise ValueError("X holds no image to draw.")
        shapes = [[a.shape[:2] for a in arrays] for arrays in (images, y_true, y_pred)]
        if not shapes[0] == shapes[1] == shapes[2]:
            raise ValueError(
                "Images and masks must have the same sizes, got (height, width) of "
                f"{shapes[0][:3]}, {shapes[1][:3]} and {shapes[2][:3]}."
            )
        classes = np.unique(np.concatenate([m.ravel() for m in (*y_true, *y_pred)]))
        if ignore_index is not None:
            classes = classes[classes != ignore_index]
        return cls(images, y_true, y_pred, classes, ignore_index).plot()

    def plot(self):
        """Draw the figure.

        Returns
        -------
        SegmentationDisplay
        """
        plt = require("matplotlib.pyplot", "SegmentationDisplay", extra="report")
        n = len(self.images)
        self.figure_, self.axes_ = plt.subplots(
            n, len(COLUMNS), squeeze=False, figsize=(11, 2.6 * n + 0.6), layout="constrained"
        )
        colors = plt.get_cmap("tab20" if len(self.classes) > 10 else "tab10")
        for row, image, true, predicted in zip(
            self.axes_, self.images, self.y_true, self.y_pred, strict=True
        ):
            labeled = self._labeled(true)
            wrong = np.ma.masked_where((true == predicted) | ~labeled, np.ones(true.shape))
            row[0].imshow(image, cmap="gray")
            row[1].imshow(self._colored(true, labeled, colors))
            row[2].imshow(self._colored(predicted, self._labeled(predicted), colors))
            row[3].imshow(image, cmap="gray", alpha=0.35)
            row[3].imshow(wrong, cmap="Reds", vmin=0, vmax=1, interpolation="nearest")
            share = wrong.count() / max(labeled.sum(), 1)
            row[3].set_xlabel(f"{share:.1%} of the pixels")
            for ax in row:
                ax.set(xticks=[], yticks=[])
        for ax, title in zip(self.axes_[0], COLUMNS, strict=True):
            ax.set_title(title)
        handles = [
            plt.Rectangle((0, 0), 1, 1, color=colors(i % colors.N))
            for i in range(len(self.classes))
        ]
        self.figure_.legend(
            handles, [str(c) for c in self.classes], loc="outside lower center",
            ncols=max(1, min(6, len(handles))),
        )  # fmt: skip
        return self

    def _labeled(self, mask):
        """Which pixels have a label."""
        return np.isin(mask, self.classes)

    def _colored(self, mask, labeled, colors):
        picture = np.ones((*mask.shape, 4))  # blank
        picture[labeled] = colors(np.searchsorted(self.classes, mask[labeled]) % colors.N)
        return picture
