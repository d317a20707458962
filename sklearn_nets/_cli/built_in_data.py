"""The built-in data sets of the main job, each with its models."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler


def digits(random_state: int = 0):
    """Five readers of handwritten digits, on scikit-learn's 1797 images of 8 x 8 pixels.

    Parameters
    ----------
    random_state : int, default=0
        Seeds every estimator.

    Returns
    -------
    estimators : dict of str to Pipeline
    X : ndarray of shape (1797, 64)
        Flat images, from 0 (white) to 16.
    y : ndarray of shape (1797,)
        The digits 0 to 9.
    """
    from ..neighbors import KNeighborsClassifier
    from ..neural_network import MLPClassifier
    from ..svm import LinearSVC
    from ..vision import CNNClassifier, ViTClassifier

    image = {"image_shape": (1, 8, 8), "random_state": random_state}
    estimators = {
        "kNN": make_pipeline(MinMaxScaler(), KNeighborsClassifier(3)),
        "linear SVM": make_pipeline(MinMaxScaler(), LinearSVC(C=0.1, random_state=random_state)),
        "MLP": make_pipeline(
            MinMaxScaler(),
            MLPClassifier(learning_rate_init=0.005, tol=1e-3, random_state=random_state),
        ),
        "CNN": make_pipeline(CNNClassifier(max_iter=6, **image)),
        "ViT": make_pipeline(ViTClassifier(max_iter=7, **image)),
    }
    return estimators, *load_digits(return_X_y=True)


def scenes(random_state: int = 0, n_samples: int = 240):
    """Three segmenters, on digits pasted on photographs: a class for every pixel.

    Parameters
    ----------
    random_state : int, default=0
        Seeds the scenes and every estimator.
    n_samples : int, default=240
        How many scenes to make.

    Returns
    -------
    estimators : dict of str to estimator
    X : ndarray of uint8 and shape (n_samples, height, width, 3)
    y : ndarray of str and shape (n_samples, height, width)
        The class of every pixel, ``"background"`` or a digit.
    """
    from ..datasets import make_digit_scenes
    from ..neighbors import KNeighborsClassifier
    from ..segmentation import PixelClassifier, SegmentationNet
    from ..svm import LinearSVC

    svm = make_pipeline(MinMaxScaler(), LinearSVC(C=0.1, random_state=random_state))
    pixels = {"max_pixels": 4000, "random_state": random_state}
    estimators = {
        "kNN": PixelClassifier(KNeighborsClassifier(), **pixels),
        "linear SVM": PixelClassifier(svm, **pixels),
        # smaller and sooner done than the defaults, for the sake of those who wait
        "SegmentationNet": SegmentationNet(
            (32, 64, 128), max_iter=32, progressive_resizing=True, random_state=random_state
        ),
    }
    data = make_digit_scenes(n_samples, random_state=random_state)
    return estimators, data.images, np.array(data.class_names)[data.masks]


def boxes(random_state: int = 0, n_samples: int = 144):
    """Three detectors, on digits pasted on photographs: a box around every digit.

    Parameters
    ----------
    random_state : int, default=0
        Seeds the scenes and every estimator.
    n_samples : int, default=144
        How many scenes to make.

    Returns
    -------
    estimators : dict of str to estimator
    X : ndarray of uint8 and shape (n_samples, height, width, 3)
    y : list of n_samples dicts
        ``"boxes"`` and ``"labels"``, the digits as str.
    """
    from ..datasets import make_digit_scenes
    from ..detection import DetectionNet, PixelDetector
    from ..neighbors import KNeighborsClassifier
    from ..svm import LinearSVC

    svm = make_pipeline(MinMaxScaler(), LinearSVC(C=0.1, random_state=random_state))
    pixels = {"max_pixels": 4000, "random_state": random_state}
    estimators = {
        "kNN": PixelDetector(KNeighborsClassifier(), **pixels),
        "linear SVM": PixelDetector(svm, **pixels),
        "DetectionNet": DetectionNet(random_state=random_state),
    }
    data = make_digit_scenes(n_samples, random_state=random_state)
    names = np.array(data.class_names)
    y = [{"boxes": b, "labels": names[codes]} for b, codes in zip(data.boxes, data.labels)]
    return estimators, data.images, y
