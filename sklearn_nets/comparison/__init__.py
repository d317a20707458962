"""Judge any scikit-learn estimators alike, by their public interface."""

from ._across import ComparisonAcrossDatasets
from ._compare import compare
from ._result import Comparison

__all__ = ["Comparison", "ComparisonAcrossDatasets", "compare"]
