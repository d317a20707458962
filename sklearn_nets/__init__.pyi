from .accel import patch_sklearn as patch_sklearn
from .accel import unpatch_sklearn as unpatch_sklearn
from .comparison import Comparison as Comparison
from .comparison import compare as compare
from .datasets import make_digit_scenes as make_digit_scenes
from .detection import DetectionDisplay as DetectionDisplay
from .detection import DetectionNet as DetectionNet
from .detection import PixelDetector as PixelDetector
from .neighbors import KNeighborsClassifier as KNeighborsClassifier
from .neighbors import KNeighborsRegressor as KNeighborsRegressor
from .neighbors import NearestNeighbors as NearestNeighbors
from .neural_network import MLPClassifier as MLPClassifier
from .neural_network import MLPRegressor as MLPRegressor
from .segmentation import PixelClassifier as PixelClassifier
from .segmentation import SegmentationDisplay as SegmentationDisplay
from .segmentation import SegmentationNet as SegmentationNet
from .svm import LinearSVC as LinearSVC
from .vision import CNNClassifier as CNNClassifier
from .vision import CNNRegressor as CNNRegressor
from .vision import FeatureExtractor as FeatureExtractor
from .vision import FlattenImages as FlattenImages
from .vision import RandomFlipShift as RandomFlipShift
from .vision import RandomZoom as RandomZoom
from .vision import ViTClassifier as ViTClassifier
from .vision import ViTRegressor as ViTRegressor

__version__: str
