"""Judge any scikit-learn estimators alike, by their public interface."""

from ._compare import Comparison, compare

__all__ = ["Comparison", "compare"]
