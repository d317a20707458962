"""What detectors share: the reading of images, boxes out, and the score."""

from __future__ import annotations

from .._base.images import check_n_channels, to_channels_first, validate_images
from .._base.ragged import as_arrays, by_size, pad_images
from .._utils.images import as_images
from .._utils.sklearn_compat import check_is_fitted
from .._utils.validation import is_ragged
from ..metrics import mean_average_precision_score


class DetectorMixin:
    """What detectors share: boxes out, and the mean average precision as score."""

    def score(self, X, y, sample_weight=None):
        """Mean average precision of the predicted boxes at an IoU of 0.5.

        Parameters
        ----------
        X : array-like, torch.Tensor or list of images
        y : list of n_samples dicts, or DataFrame
            True boxes, as in `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images.

        Returns
        -------
        float
            Of `sklearn_nets.metrics.mean_average_precision_score`; NaN without any true box.
        """
        return mean_average_precision_score(
            y, self.predict(X), iou_threshold=0.5, sample_weight=sample_weight
        )

    def _read_images(self, X, *, reset):
        """Images of one size as an array, and the sizes that they had."""
        X = as_images(X)
        several = is_ragged(X)
        if several:
            X = as_arrays(X)
            sizes = [tuple(to_channels_first(image[None]).shape[2:]) for image in X]
            X = pad_images(X, lambda image: validate_images(self, image, reset=reset))
        else:
            X = validate_images(self, X, reset=reset)
        check_n_channels(self, X, reset=reset)
        return X, sizes if several else [tuple(X.shape[2:])] * len(X)

    def predict(self, X):
        """Predict what is in each image and where.

        Parameters
        ----------
        X : array-like, torch.Tensor or list of images
            Images of as many channels as in `fit`, of any size; of several sizes as a list.

        Returns
        -------
        y : list of n_samples dicts
            ``"boxes"`` of shape (k, 4), x0 y0 x1 y1 in pixels within the image, ``"labels"`` of
            shape (k,) and ``"scores"`` of shape (k,), the highest score first; tensors where X
            holds tensors, but for labels that are strings.
        """
        check_is_fitted(self)
        X = as_images(X)
        of_a_list = isinstance(X, list | tuple) and len(X) > 0
        return (
            by_size(self._predict_boxes, X) if of_a_list or is_ragged(X) else self._predict_boxes(X)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        tags.target_tags.one_d_labels = False
        return tags
