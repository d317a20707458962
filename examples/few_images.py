"""Few images: does a net still pay with a thousand clothes, or with a hundred streets?

The page of each comparison says by how much, and how sure that is.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from data import SMALL, fashion_mnist, streets
from sklearn.pipeline import make_pipeline

from sklearn_nets import (
    CNNClassifier,
    FlattenImages,
    KNeighborsClassifier,
    PixelClassifier,
    SegmentationNet,
    compare,
)

# %% A thousand clothes, a hundred of each kind or so.
X, X_test, y, y_test = fashion_mnist(1000)
clothes = compare(
    {
        "kNN": make_pipeline(FlattenImages(), KNeighborsClassifier(3)),
        "CNN": CNNClassifier(random_state=0, **({"max_iter": 2} if SMALL else {})),
    },
    X, y, test=(X_test, y_test),
)  # fmt: skip
print(clothes)
clothes.to_html("few_clothes.html")

# %% A hundred streets, spread over the drives, in which every pixel has a class.
X, X_test, y, y_test = streets()
few = np.linspace(0, len(X) - 1, min(100, len(X))).astype(int)
void = {"ignore_index": "Unlabelled", "random_state": 0}
scenes = compare(
    {
        "kNN of patches": PixelClassifier(
            KNeighborsClassifier(), max_pixels=1000 if SMALL else 10_000, **void
        ),
        "net": SegmentationNet(max_iter=1 if SMALL else 40, **void),
    },
    X[few], y[few], test=(X_test, y_test), ignore_index="Unlabelled",
)  # fmt: skip
print(scenes)
scenes.to_html("few_streets.html")

# %%
clothes.plot()
plt.savefig("few_images.png", dpi=150)
