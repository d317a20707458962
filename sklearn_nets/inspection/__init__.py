"""`sklearn.inspection`, and training made visible: curves, filters, attention, steps of descent.

The displays work as scikit-learn's: ``from_estimator`` computes and draws, the object holds what
was drawn. They need matplotlib (``pip install "sklearn-nets[report]"``).
"""

from .._utils.sklearn_compat import mirror
from ._attention import AttentionDisplay
from ._filters import FilterDisplay
from ._loss_curve import LossCurveDisplay
from ._weights import WeightRecorder

__getattr__, __dir__, __all__ = mirror(
    "inspection", [LossCurveDisplay, FilterDisplay, AttentionDisplay, WeightRecorder]
)
