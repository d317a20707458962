"""Search over a whole pipeline: what stands before the net, its architecture, its training."""

# %%
import matplotlib.pyplot as plt
import pandas as pd
from data import SMALL
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_nets import MLPClassifier

X, y = load_digits(return_X_y=True)
if SMALL:
    X, y = X[:200], y[:200]

# %% Every parameter of every step has a name: step, two underscores, parameter.
pipeline = Pipeline(
    [
        ("scale", StandardScaler()),
        ("reduce", PCA(random_state=0)),
        ("net", MLPClassifier(max_iter=3 if SMALL else 30, tol=1e-3, random_state=0)),
    ]
)
grid = {
    "reduce": ["passthrough", PCA(20, random_state=0)],
    "net__hidden_layer_sizes": [(25,), (100,), (100, 100)],
    "net__learning_rate_init": [0.001, 0.003, 0.01],
}
search = GridSearchCV(pipeline, grid, cv=2 if SMALL else 5).fit(X, y)
print(f"best: {search.best_params_}, accuracy {search.best_score_:.3f}")

# %%
results = pd.DataFrame(search.cv_results_)
results["layers"] = results["param_net__hidden_layer_sizes"].astype(str)
fig, ax = plt.subplots(layout="constrained")
for layers, rows in results[results["param_reduce"] == "passthrough"].groupby("layers"):
    ax.errorbar(
        rows["param_net__learning_rate_init"], rows["mean_test_score"],
        yerr=rows["std_test_score"], marker="o", capsize=3, label=layers,
    )  # fmt: skip
ax.set(xscale="log", xlabel="learning rate", ylabel="accuracy, mean ± sd over the folds")
ax.legend(title="hidden layers")
fig.savefig("grid_search.png", dpi=150)
