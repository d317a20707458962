"""Which reader of handwritten digits is best? Five of them on the same folds."""

# %% 1,797 images of 8x8 pixels, as rows: what every estimator of scikit-learn takes.
import matplotlib.pyplot as plt
from data import SMALL
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_nets import (
    CNNClassifier,
    KNeighborsClassifier,
    LinearSVC,
    MLPClassifier,
    ViTClassifier,
    compare,
)

X, y = load_digits(return_X_y=True)
if SMALL:
    X, y = X[:200], y[:200]

# %% The nets of images take raw pixels, and are told what a row stands for.
image = {"image_shape": (1, 8, 8), "random_state": 0, **({"max_iter": 3} if SMALL else {})}
estimators = {
    "kNN": KNeighborsClassifier(3),
    "linear SVM": make_pipeline(MinMaxScaler(), LinearSVC(C=0.1)),
    "MLP": make_pipeline(MinMaxScaler(), MLPClassifier(tol=1e-3, random_state=0)),
    "CNN": CNNClassifier(**image),
    "ViT": ViTClassifier(**image),
}
result = compare(estimators, X, y, cv=5, random_state=0)
print(result)

# %%
result.plot()
plt.savefig("compare_digits.png", dpi=150)
