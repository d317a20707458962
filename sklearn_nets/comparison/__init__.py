"""Judge any scikit-learn estimators alike, by their public interface."""

from ._compare import compare
from ._result import Comparison

__all__ = ["Comparison", "compare"]
