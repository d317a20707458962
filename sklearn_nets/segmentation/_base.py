"""What both segmenters share."""

from __future__ import annotations

from numbers import Integral

from .._base.images import stack_tensors
from .._base.instances import label_instances
from .._utils.array_api import convert_like, to_numpy
from .._utils.sklearn_compat import check_is_fitted
from .._utils.validation import is_ragged
from ..metrics import mean_iou_score


class SegmenterMixin:
    """What both segmenters share: labels of every pixel out, and the mean IoU as score."""

    def score(self, X, y, sample_weight=None):
        """Mean intersection over union of the predicted masks.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Images.
        y : array-like of shape (n_samples, height, width)
            True masks; pixels labeled `ignore_index` are not judged.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images.

        Returns
        -------
        float
            The mean over the classes that occur in truth or prediction.
        """
        prediction = self.predict(X)
        y = [to_numpy(mask) for mask in y] if is_ragged(y) else to_numpy(y)
        return mean_iou_score(
            y, prediction, ignore_index=self.ignore_index, sample_weight=sample_weight
        )

    def predict_instances(self, X, *, background=None, min_distance=None, min_pixels=1):
        """Predict which object each pixel belongs to.

        Every connected region of one class is an object. With `min_distance`, regions are split
        where objects of one class touch: an object's center is a point farthest from the region's
        border, and pixels go to the object whose inscribed circle they are nearest to.

        Parameters
        ----------
        X : array-like, torch.Tensor or list of images
            Images, as in `predict`.
        background : label, default=None
            Label of pixels that belong to no object; None is the first of `classes_`.
        min_distance : int, default=None
            Pixels between the centers of two objects at least, about the radius of the smallest.
        min_pixels : int, default=1
            Objects of fewer pixels are left out.

        Returns
        -------
        instances : ndarray or torch.Tensor of shape (n_samples, height, width), or list
            0 for the background; the objects of every image are numbered 1, 2, ... A list of one
            for each image where `predict` gives a list.

        Raises
        ------
        ValueError
            If `background` is not among `classes_`, or `min_distance` no positive integer.

        See Also
        --------
        sklearn_nets.metrics.instance_average_precision_score : Judges the answer.
        """
        check_is_fitted(self)
        if background is not None and background not in self.classes_.tolist():
            raise ValueError(
                f"background must be one of classes_, {self.classes_.tolist()}, got {background!r}."
            )
        if min_distance is not None and not (
            isinstance(min_distance, Integral) and min_distance > 0
        ):
            raise ValueError(
                f"min_distance must be a positive integer or None, got {min_distance!r}."
            )
        X = stack_tensors(X)
        masks = self.predict(X)
        background = self.classes_[0] if background is None else background
        options = background, min_distance, min_pixels
        if isinstance(masks, list):
            masks = [to_numpy(mask)[None] for mask in masks]
            return [
                convert_like(label_instances(mask, *options)[0], like=image)
                for mask, image in zip(masks, X)
            ]
        return convert_like(label_instances(to_numpy(masks), *options), like=X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        tags.target_tags.one_d_labels = False
        return tags
