"""What is road, what is car? A class for every pixel of street scenes (CamVid)."""

# %%
import matplotlib.pyplot as plt
from data import SMALL, streets

from sklearn_nets import (
    KNeighborsClassifier,
    PixelClassifier,
    SegmentationDisplay,
    SegmentationNet,
)
from sklearn_nets.metrics import get_scorer

X, X_test, y, y_test = streets()
print(f"{len(X)} images of {X.shape[1]} x {X.shape[2]} pixels to learn from")

# %% Pixels without a label are named, and are neither learned from nor judged.
void = {"ignore_index": "Unlabelled", "random_state": 0}
estimators = {
    "kNN of patches": PixelClassifier(
        KNeighborsClassifier(), max_pixels=1000 if SMALL else 10_000, **void
    ),
    "net": SegmentationNet(max_iter=1 if SMALL else 40, **void),
}
for name, estimator in estimators.items():
    estimator.fit(X, y)
    scores = {
        metric: get_scorer(metric)(estimator, X_test, y_test)
        for metric in ("mean_iou", "dice", "pixel_accuracy")
    }
    print(name, {metric: round(score, 3) for metric, score in scores.items()})

# %%
SegmentationDisplay.from_estimator(estimators["net"], X_test[::40], y_test[::40], n_images=4)
plt.savefig("compare_streets.png", dpi=150)
