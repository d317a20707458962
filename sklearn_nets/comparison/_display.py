"""How a comparison is shown: as text, as figures, as a page, in files."""

from __future__ import annotations

from html import escape

from . import _html, _plots, _storage, _tables


class DisplayMixin:
    """What :class:`Comparison` can be turned into."""

    def __repr__(self) -> str:
        classes = getattr(self.problem, "classes", None)
        kind = self.problem.name if classes is None else f"{len(classes)} classes"
        names = ", ".join(map(str, self.names))
        return f"Comparison({names}: n={len(self.y)}, {_tables.folds(self)}, {kind})"

    def __str__(self) -> str:
        parts = [_tables.describe(self), _tables.summary(self).to_string(), self.verdict()]
        return "\n".join([*parts, *self.remarks()])

    def _repr_html_(self) -> str:
        remarks = "".join(f"<p>{escape(remark)}</p>" for remark in self.remarks())
        described, verdict = escape(_tables.describe(self)), escape(self.verdict())
        table = _tables.summary(self).to_html()
        return f"<p>{described}</p>{table}<p><b>{verdict}</b></p>{remarks}"

    def remarks(self) -> list[str]:
        """What could not be judged, and why, and what is odd about the folds.

        Returns
        -------
        list of str
            A sentence for each estimator that failed, one for an interrupted run, and those of
            ``design_remarks``.
        """
        remarks = [
            f"{name} failed: {type(error).__name__}: {error} {' '.join(error.__notes__)}"
            for name, error in self.failures.items()
        ]
        if self.left_out:
            names = ", ".join(map(str, self.left_out))
            remarks.append(f"Interrupted; not judged on every fold: {names}.")
        return remarks + self.design_remarks

    def plot(self, kind: str | None = None, *, ax=None):
        """Draw a figure.

        Parameters
        ----------
        kind : str, optional
            One of ``metrics``: every fold, the mean and its interval; by default of the metric that
            ranks the estimators. Or ``"precision_recall"``, ``"calibration"`` (labels),
            ``"predicted"`` (amounts), ``"loss"`` and ``"score"`` over epochs, ``"learning_curve"``
            (see `learning_curve`), ``"cost"`` (score against fit time) or ``"confusion"``.
        ax : matplotlib Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If `kind` is none of these, or there is nothing to draw.
        """
        return _plots.plot(self, kind, ax)

    def to_markdown(self) -> str:
        """The table of estimators in Markdown, with the verdict below.

        Returns
        -------
        str
        """
        return f"{_tables.markdown(_tables.summary(self))}\n\n{self.verdict()}\n"

    def to_latex(self) -> str:
        """The table of estimators in LaTeX, for the package booktabs.

        Returns
        -------
        str
        """
        return _tables.latex(_tables.summary(self), self.verdict())

    def to_html(self, path, *, title: str = "Comparison", images=None) -> None:
        """Write all there is as one page that needs no other file, no network and no JavaScript.

        Parameters
        ----------
        path : str or path-like
            The file to write; an existing one is replaced.
        title : str, default="Comparison"
            The heading.
        images : array-like of shape (n_samples, height, width) or (n_samples, height, width, 3), \
                or list of such images, optional
            Pictures of the samples, to show the most misclassified (labels) or the first (masks,
            boxes).
        """
        _html.write_html(path, [(title, self, images)])

    def save(self, path) -> None:
        """Write everything but samples and estimators to a zip of JSON and arrays, without pickle.

        Parameters
        ----------
        path : str or path-like
            The file to write; an existing one is replaced.

        Raises
        ------
        ValueError
            If a name, a label or an answer could only be stored by pickle.
        """
        _storage.save(self, path)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file to read.

        Returns
        -------
        Comparison

        Raises
        ------
        ValueError
            If the file is of another kind or of a later version, or damaged.
        """
        return _storage.load(cls, path)
