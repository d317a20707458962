"""
A deep ensemble: a hundred nets at once, and how far to trust them
==================================================================

A net that has learned its training data by heart is too sure of itself. The mean of many nets, each
from other first weights and another bootstrap sample, is more often right, and knows better when it
may be wrong (Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation
using deep ensembles"). scikit-learn's `BaggingClassifier` is that ensemble; inside
`sklearn_nets.stacked` its nets train together.
"""

# %%
# Odd and even digits, few of them to learn from.
from time import perf_counter

from data import SMALL
from matplotlib import pyplot as plt
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_nets import MLPClassifier, stacked

N_NETS, N_EPOCHS = (4, 2) if SMALL else (100, 100)
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y % 2, train_size=300, random_state=0, stratify=y
)
net = make_pipeline(
    StandardScaler(),
    MLPClassifier(
        50, learning_rate_init=0.01, max_iter=N_EPOCHS, n_iter_no_change=N_EPOCHS, random_state=0
    ),
)

# %%
# Nothing is new but the line with ``stacked``.
single = net.fit(X_train, y_train)
start = perf_counter()
with stacked():
    ensemble = BaggingClassifier(net, N_NETS, random_state=0).fit(X_train, y_train)
print(f"{N_NETS} nets in {perf_counter() - start:.1f} s")

# %%
# Proper scores, the lower the better, and the share of odd digits against the predicted one.
figure, axes = plt.subplots(layout="constrained")
for name, model in {"one net": single, "ensemble": ensemble}.items():
    p = model.predict_proba(X_test)[:, 1]
    accuracy, brier = model.score(X_test, y_test), brier_score_loss(y_test, p)
    print(f"{name}: accuracy {accuracy:.3f}, log loss {log_loss(y_test, p):.3f}, Brier {brier:.4f}")
    CalibrationDisplay.from_predictions(y_test, p, n_bins=8, name=name, ax=axes)
axes.set(xlabel="predicted probability of an odd digit", ylabel="share of odd digits")
figure.savefig("deep_ensemble.png", dpi=150)
