"""What both segmenters share."""

from __future__ import annotations

from .._utils.array_api import to_numpy
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
            True masks; pixels labelled `ignore_index` are not judged.
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        tags.target_tags.one_d_labels = False
        return tags
