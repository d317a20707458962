"""`sklearn.neighbors`: exact search in torch where that is faster, all else scikit-learn's own."""

from .._utils.sklearn_compat import mirror
from ._classification import KNeighborsClassifier
from ._embedding import EmbeddingNet
from ._memory import MemoryClassifier, MemoryRegressor
from ._regression import KNeighborsRegressor
from ._unsupervised import NearestNeighbors

__getattr__, __dir__, __all__ = mirror(
    "neighbors",
    [
        KNeighborsClassifier,
        KNeighborsRegressor,
        NearestNeighbors,
        EmbeddingNet,
        MemoryClassifier,
        MemoryRegressor,
    ],
)
