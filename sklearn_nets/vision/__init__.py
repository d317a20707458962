"""Estimators for images: classifiers, regressors, and what turns images into rows."""

from ..modules.augment import RandomFlipShift, RandomZoom
from ._classification import CNNClassifier, ViTClassifier
from ._features import FeatureExtractor, FlattenImages
from ._regression import CNNRegressor, ViTRegressor

__all__ = [
    "CNNClassifier",
    "CNNRegressor",
    "FeatureExtractor",
    "FlattenImages",
    "RandomFlipShift",
    "RandomZoom",
    "ViTClassifier",
    "ViTRegressor",
]
