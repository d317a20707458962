"""Scorers of masks and boxes, beside scikit-learn's."""

from __future__ import annotations

from sklearn.metrics import get_scorer as get_sklearn_scorer

from ._boxes import BOX_SCORERS
from ._labels import (
    dice_score,
    macro_precision_score,
    macro_recall_score,
    mean_iou_score,
    pixel_accuracy_score,
)


class MaskScorer:
    """A scorer of segmenters, for `cross_validate`, `GridSearchCV` and the like.

    Pixels of the estimator's own `ignore_index` are not judged.

    Parameters
    ----------
    score : callable(y_true, y_pred, *, ignore_index, sample_weight) -> float
    """

    def __init__(self, score):
        self.score = score

    def __call__(self, estimator, X, y, sample_weight=None) -> float:
        """Score the estimator's predictions of X."""
        return self.score(
            y,
            estimator.predict(X),
            ignore_index=ignored_label(estimator),
            sample_weight=sample_weight,
        )

    def __repr__(self):
        return f"MaskScorer({self.score.__name__})"


def ignored_label(estimator):
    """`ignore_index` of the estimator, or of what it passes its data to; None without one."""
    ignore_index = None
    for part in _steps(estimator):
        ignore_index = getattr(part, "ignore_index", ignore_index)
    return ignore_index


def _steps(estimator):
    """The estimator and what it passes its data to, the last step of pipelines."""
    while estimator is not None:
        yield estimator
        steps = getattr(estimator, "steps", None)
        estimator = steps[-1][1] if steps else getattr(estimator, "estimator", None)


_MASK_SCORES = {
    "mean_iou": mean_iou_score,
    "pixel_accuracy": pixel_accuracy_score,
    "dice": dice_score,
    "macro_precision": macro_precision_score,
    "macro_recall": macro_recall_score,
}


def get_scorer(scoring):
    """The scorer of that name: of masks, of boxes, or one of scikit-learn's.

    Parameters
    ----------
    scoring : str or callable
        'mean_iou', 'pixel_accuracy', 'dice', 'macro_precision', 'macro_recall' of masks, 'map' and
        'map_50' of boxes, or what :func:`sklearn.metrics.get_scorer` takes.

    Returns
    -------
    callable(estimator, X, y) -> float

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_nets import PixelClassifier, make_digit_scenes
    >>> from sklearn_nets.metrics import get_scorer
    >>> X, y = make_digit_scenes(6, random_state=0, return_X_y=True)
    >>> scoring = get_scorer("dice")
    >>> cross_val_score(PixelClassifier(GaussianNB()), X, y, scoring=scoring, cv=2).shape
    (2,)
    """
    if scoring in _MASK_SCORES:
        return MaskScorer(_MASK_SCORES[scoring])
    if scoring in BOX_SCORERS:
        return BOX_SCORERS[scoring]
    try:
        return get_sklearn_scorer(scoring)
    except ValueError as error:
        error.add_note(
            f"Scorers of masks: {sorted(_MASK_SCORES)}, of boxes: {sorted(BOX_SCORERS)}."
        )
        raise
