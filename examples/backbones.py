"""From LeNet to Swin on one data set: accuracy against cost.

All start from random weights: on a few thousand small images the large ones cannot show what they
are for. With weights at hand, ``pretrained=True`` or a file of them changes the picture.
"""

# %%
import time

import matplotlib.pyplot as plt
from data import SMALL, fashion_mnist

from sklearn_nets import CNNClassifier, ViTClassifier

X, X_test, y, y_test = fashion_mnist(2000, 2000)
training = {"max_iter": 1 if SMALL else 10, "random_state": 0}

# %% Any name of timm's will do: timm.list_models().
names = ["lenet", "small"] if SMALL else [
    "lenet", "small", "mobilenetv3_small_050", "resnet18", "efficientnet_b0",
]  # fmt: skip
transformers = [] if SMALL else ["small", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
estimators = {f"CNN {name}": CNNClassifier(architecture=name, **training) for name in names}
estimators |= {f"ViT {name}": ViTClassifier(architecture=name, **training) for name in transformers}

results = {}
for name, estimator in estimators.items():
    start = time.perf_counter()
    estimator.fit(X, y)
    seconds = time.perf_counter() - start
    results[name] = seconds, estimator.score(X_test, y_test), estimator.n_parameters_
    print(f"{name:36} {estimator.n_parameters_:>12,} weights {seconds:7.1f} s "
          f"accuracy {results[name][1]:.3f}")  # fmt: skip

# %%
fig, ax = plt.subplots(figsize=(8, 5), layout="constrained")
for name, (seconds, score, n_parameters) in results.items():
    ax.scatter(seconds, score, s=n_parameters**0.5 / 8)
    ax.annotate(name, (seconds, score), xytext=(6, 6), textcoords="offset points", fontsize=8)
ax.set(xscale="log", xlabel="seconds of fit", ylabel="test accuracy")
ax.set_title(f"{len(X):,} images of clothes; area: number of weights")
fig.savefig("backbones.png", dpi=150)
