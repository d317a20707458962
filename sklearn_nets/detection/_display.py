"""Pictures of boxes: what is in the images, and what was found."""

from __future__ import annotations

import math

import numpy as np

from .._base.images import to_channels_first
from .._base.ragged import as_arrays
from .._utils.array_api import to_numpy
from .._utils.images import to_display
from .._utils.optional import require
from ..metrics._boxes import frame_to_boxes, hit_boxes, read_boxes


class DetectionDisplay:
    """Images with true and predicted boxes.

    True boxes are drawn as dashed white lines; predictions in green where they hit a true box of
    their label (IoU of at least 0.5, each true box being hit once, by the highest score), else in
    red, with label and score. It is made by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    images : list of ndarrays of shape (height, width, channels)
    y_true : list of dicts or None
    y_pred : list of dicts

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes, one for each image

    Examples
    --------
    >>> from sklearn_nets.datasets import make_digit_scenes
    >>> from sklearn_nets.detection import DetectionDisplay, PixelDetector
    >>> scenes = make_digit_scenes(4, random_state=0)
    >>> y = [{"boxes": b, "labels": l} for b, l in zip(scenes.boxes, scenes.labels)]
    >>> model = PixelDetector(max_pixels=500, random_state=0).fit(scenes.images, y)
    >>> display = DetectionDisplay.from_estimator(model, scenes.images[:2], y[:2])
    >>> len(display.axes_)
    2
    """

    def __init__(self, images, y_true, y_pred):
        self.images, self.y_true, self.y_pred = images, y_true, y_pred

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, score_threshold=0.5, n_columns=4):
        """Draw what a fitted detector finds in images.

        Parameters
        ----------
        estimator : fitted detector
        X : array-like, torch.Tensor or list of images
        y : list of dicts or DataFrame, default=None
            True boxes; without them every prediction is drawn in green.
        score_threshold : float, default=0.5
            Predictions of a lower score are not drawn.
        n_columns : int, default=4
            Images in a row.

        Returns
        -------
        display : DetectionDisplay
        """
        found = estimator.predict(X)
        return cls.from_predictions(
            X, y, found, score_threshold=score_threshold, n_columns=n_columns
        )

    @classmethod
    def from_predictions(cls, X, y_true, y_pred, *, score_threshold=0.5, n_columns=4):
        """Draw images with boxes.

        Parameters
        ----------
        X : array-like, torch.Tensor or list of images
        y_true : list of dicts or DataFrame or None
        y_pred : list of dicts
        score_threshold, n_columns
            As in `from_estimator`.

        Returns
        -------
        display : DetectionDisplay

        Raises
        ------
        ValueError
            If images and boxes differ in number, or there is no image.
        """
        if isinstance(X, list | tuple):
            images = [
                np.asarray(to_numpy(to_channels_first(image[None])))[0] for image in as_arrays(X)
            ]
        else:
            images = list(to_numpy(to_channels_first(X)))
        if hasattr(y_true, "columns"):
            y_true = frame_to_boxes(y_true, len(images))
        for name, y in (("y_true", y_true), ("y_pred", y_pred)):
            if y is not None and len(y) != len(images):
                raise ValueError(f"{name} holds the boxes of {len(y)} images, X {len(images)}.")
        if not images:
            raise ValueError("X holds no image to draw.")
        images = [image.transpose(1, 2, 0) for image in images]
        return cls(images, y_true, y_pred).plot(score_threshold, n_columns)

    def plot(self, score_threshold: float = 0.5, n_columns: int = 4):
        """Draw the figure.

        Parameters
        ----------
        score_threshold : float, default=0.5
        n_columns : int, default=4

        Returns
        -------
        display : DetectionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = require("matplotlib.pyplot", "DetectionDisplay", extra="report")
        n_columns = min(n_columns, len(self.images))
        n_rows = math.ceil(len(self.images) / n_columns)
        size = (3 * n_columns, 3 * n_rows)
        self.figure_, axes = plt.subplots(
            n_rows, n_columns, figsize=size, squeeze=False, layout="constrained"
        )
        axes = axes.ravel()
        self.axes_ = axes[: len(self.images)]
        for ax in axes:
            ax.set_axis_off()
        for i, (ax, image) in enumerate(zip(self.axes_, self.images)):
            ax.imshow(to_display(image), cmap="gray")
            true = None if self.y_true is None else self.y_true[i]
            draw_boxes(ax, true, self.y_pred[i], score_threshold)
        return self


def draw_boxes(ax, true, found, score_threshold: float = 0.5) -> None:
    """Draw the boxes of one image.

    Parameters
    ----------
    ax : matplotlib Axes
    true : dict or None
        Its true boxes.
    found : dict
        Predicted ones.
    score_threshold : float, default=0.5
    """
    (found,) = read_boxes([found], scores=True)
    shown = found["scores"] >= score_threshold
    found = {name: values[shown] for name, values in found.items()}
    hit = np.ones(len(found["boxes"]), bool)
    if true is not None:
        (true,) = read_boxes([true])
        hit = hit_boxes(true, found)
        for box in true["boxes"]:
            _rectangle(ax, box, edgecolor="white", linestyle="--")
    for box, label, score, right in zip(found["boxes"], found["labels"], found["scores"], hit):
        color = "limegreen" if right else "red"
        _rectangle(ax, box, edgecolor=color)
        ax.text(box[0], box[1] - 1, f"{label} {score:.2f}", color=color, fontsize=6, clip_on=True)


def _rectangle(ax, box, **style):
    from matplotlib.patches import Rectangle

    x0, y0, x1, y1 = box - 0.5  # pixels are drawn around their centers
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, linewidth=1, **style))
