"""Training as a curve."""

from __future__ import annotations

import numpy as np

from ._drawing import last_step, make_axes


class LossCurveDisplay:
    """Loss of training and validation, epoch by epoch, and where the net was best.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter,)
        Training loss of every epoch.
    validation_loss_curve : array-like of shape (n_iter,), default=None
        Loss of the validation set.
    validation_scores : array-like of shape (n_iter,), default=None
        Score of the validation set, drawn against an axis of its own.
    best_iter : int, default=None
        The best epoch, counted from 1.
    stopped : bool, default=False
        Whether training ended before its last epoch.
    estimator_name : str, default=None

    Attributes
    ----------
    ax_ : matplotlib Axes
    score_ax_ : matplotlib Axes or None
        The axis of the scores.
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Artist

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_nets import MLPClassifier
    >>> from sklearn_nets.inspection import LossCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier(early_stopping=True, tol=1e-2, random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(clf)
    >>> len(display.loss_curve) == clf.n_iter_, display.stopped
    (True, True)
    """

    def __init__(
        self,
        loss_curve,
        *,
        validation_loss_curve=None,
        validation_scores=None,
        best_iter=None,
        stopped=False,
        estimator_name=None,
    ):
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.validation_scores = validation_scores
        self.best_iter, self.stopped = best_iter, stopped
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **kwargs):
        """Draw the curves of a fitted net, or of scikit-learn's perceptron.

        Parameters
        ----------
        estimator : estimator
            A fitted net, or a pipeline that ends with one.
        ax : matplotlib Axes, default=None
        **kwargs
            Of the line of the training loss.

        Returns
        -------
        display : LossCurveDisplay
            The best epoch is that of the best validation score, or else of the least loss.

        Raises
        ------
        NotFittedError
            If the net is not fitted.
        ValueError
            If it keeps no loss of its epochs.
        ImportError
            If matplotlib is not installed.
        """
        net = last_step(estimator)
        curve = getattr(net, "loss_curve_", None)
        if curve is None and hasattr(net, "history_"):  # 'lbfgs'
            curve = net.history_[:, "train_loss"]
        if not curve:
            raise ValueError(
                f"{type(net).__name__} keeps no loss of its epochs: expected a net with "
                "loss_curve_, such as MLPClassifier."
            )
        scores = getattr(net, "validation_scores_", None) or None
        best = int(np.nanargmax(scores) if scores else np.nanargmin(curve)) + 1
        if scores:  # of the last epochs, where an earlier fit was warm started without any
            best += len(curve) - len(scores)
        display = cls(
            list(curve),
            validation_loss_curve=getattr(net, "validation_loss_curve_", None),
            validation_scores=scores,
            best_iter=best,
            stopped=net.n_iter_ < net.max_iter,
            estimator_name=type(net).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
        **kwargs
            Of the line of the training loss.

        Returns
        -------
        display : LossCurveDisplay
        """
        (self.ax_,) = make_axes(ax)
        self.figure_, self.score_ax_ = self.ax_.figure, None
        epochs = np.arange(1, len(self.loss_curve) + 1)
        self.lines_ = self.ax_.plot(epochs, self.loss_curve, **{"label": "training loss", **kwargs})
        if self.validation_loss_curve is not None:
            line = self.ax_.plot(
                epochs[-len(self.validation_loss_curve) :],
                self.validation_loss_curve,
                label="validation loss",
            )
            self.lines_ += line
        if self.validation_scores is not None:
            self.score_ax_ = self.ax_.twinx()
            self.score_ax_.set_ylabel("validation score")
            self.lines_ += self.score_ax_.plot(
                epochs[-len(self.validation_scores) :],
                self.validation_scores,
                "C2--",
                label="validation score",
            )
        if self.best_iter is not None:
            self.lines_.append(
                self.ax_.axvline(
                    self.best_iter, color="gray", linestyle=":", label=f"best: {self.best_iter}"
                )
            )
        end = f"stopped after {len(epochs)}" if self.stopped else f"{len(epochs)} epochs"
        self.ax_.set(xlabel=f"epoch ({end})", ylabel="loss", title=self.estimator_name or "")
        self.ax_.legend(handles=self.lines_)
        return self
