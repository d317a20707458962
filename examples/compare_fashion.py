"""Is a convolutional net worth its time? Clothes of Fashion-MNIST, with a test set held out."""

# %%
import time

import matplotlib.pyplot as plt
from data import SMALL, fashion_mnist
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_nets import (
    CNNClassifier,
    FlattenImages,
    KNeighborsClassifier,
    LinearSVC,
    MLPClassifier,
    ViTClassifier,
)

X, X_test, y, y_test = fashion_mnist()

# %% Images go into the nets as they are; the others get rows of numbers from 0 to 1.
rows = make_pipeline(FlattenImages(), MinMaxScaler())
estimators = {
    "kNN": make_pipeline(rows, KNeighborsClassifier()),
    "linear SVM": make_pipeline(rows, LinearSVC(C=0.01)),
    "MLP": make_pipeline(rows, MLPClassifier(max_iter=20, tol=1e-3, random_state=0)),
    "ViT": ViTClassifier(max_iter=2 if SMALL else 20, random_state=0),
    "CNN": CNNClassifier(max_iter=2 if SMALL else 12, random_state=0),
}
scores, seconds = {}, {}
for name, estimator in estimators.items():
    start = time.perf_counter()
    estimator.fit(X, y)
    seconds[name] = time.perf_counter() - start
    scores[name] = estimator.score(X_test, y_test)
    print(f"{name:10} accuracy {scores[name]:.3f}, fitted in {seconds[name]:.0f} s")

# %%
fig, ax = plt.subplots(layout="constrained")
for name in estimators:
    ax.scatter(seconds[name], scores[name])
    ax.annotate(name, (seconds[name], scores[name]), xytext=(5, 5), textcoords="offset points")
ax.set(xscale="log", xlabel="seconds of fit", ylabel="test accuracy", title="Fashion-MNIST")
fig.savefig("compare_fashion.png", dpi=150)
