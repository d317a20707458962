"""
Double descent: the test error over the width of a net
======================================================

A net with more weights than it needs to fit the training data, wrong labels included, overfits the
most where it can only just fit them; wider ones generalize better again (Belkin et al. 2019,
"Reconciling modern machine-learning practice and the classical bias-variance trade-off"). The curve
takes many nets, each width with several seeds: `sklearn_nets.stacked` trains those of one width
together, and scikit-learn's `GridSearchCV` does not know of it.
"""

# %%
# Digits, a part of whose training labels is wrong.
from time import perf_counter

import numpy as np
from data import SMALL
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from sklearn_nets import MLPClassifier, stacked

N_WIDTHS, N_SEEDS, N_EPOCHS = (3, 2, 2) if SMALL else (14, 10, 200)
rng = np.random.RandomState(0)
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
(train, test), *_ = ShuffleSplit(1, train_size=600, random_state=0).split(X)
wrong = rng.choice(train, len(train) // 5, replace=False)
y[wrong] = rng.randint(10, size=len(wrong))

# %%
# One fit for each width and seed. The solver runs on until nothing changes any more: the peak is
# there only where nets are trained to the end.
widths = np.unique(np.geomspace(1, 1000, N_WIDTHS).round().astype(int))
net = MLPClassifier(
    alpha=0, learning_rate_init=0.01, max_iter=N_EPOCHS, tol=0, n_iter_no_change=N_EPOCHS
)
grid = {"hidden_layer_sizes": [(int(w),) for w in widths], "random_state": range(N_SEEDS)}
search = GridSearchCV(net, grid, cv=[(train, test)], refit=False, return_train_score=True)
start = perf_counter()
with stacked():
    search.fit(X, y)
print(f"{len(widths) * N_SEEDS} nets in {perf_counter() - start:.1f} s")

# %%
# Means over the seeds, and their spread.
errors = {
    name: 1 - search.cv_results_[f"mean_{name}_score"].reshape(len(widths), N_SEEDS)
    for name in ("train", "test")
}
figure, axes = plt.subplots(layout="constrained")
for name, values in errors.items():
    mean, spread = values.mean(1), values.std(1)
    axes.plot(widths, mean, "o-", label=name)
    axes.fill_between(widths, mean - spread, mean + spread, alpha=0.2)
axes.set(xscale="log", xlabel="hidden units", ylabel="error")
axes.legend()
figure.savefig("double_descent.png", dpi=150)
