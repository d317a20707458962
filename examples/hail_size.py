"""The size of hailstones from radar images: a number from an image.

The images are simulated: a storm is a blob of high reflectivity (dBZ) in noise, and the larger the
stones the stronger and the more compact its core; where it is says nothing.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from data import SMALL
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_nets import CNNRegressor, FlattenImages


def radar_images(n, rng, side=32):
    """Reflectivity from 0 to 75 dBZ and the diameter of the largest stone in mm."""
    rows, columns = np.mgrid[:side, :side]
    images, sizes = np.empty((n, side, side), np.float32), rng.gamma(3.0, 8.0, n)
    for image, size in zip(images, sizes):
        top, left = rng.uniform(side * 0.25, side * 0.75, 2)
        distance = np.hypot(rows - top, (columns - left) * rng.uniform(0.7, 1.4))
        rain = 35 * np.exp(-((distance / rng.uniform(6, 12)) ** 2))
        core = (15 + 7 * np.log1p(size)) * np.exp(-((distance / (2 + 12 / (4 + size))) ** 2))
        image[:] = np.clip(np.maximum(rain, core) + rng.normal(0, 4, (side, side)), 0, 75)
    return images, sizes


X, y = radar_images(120 if SMALL else 3000, np.random.default_rng(0))
X, X_test, y, y_test = train_test_split(X, y, random_state=0)

# %%
models = {
    "ridge on pixels": make_pipeline(FlattenImages(), Ridge(1e4)),
    "ridge on the brightest pixel": Ridge(),
    "CNN": CNNRegressor(max_iter=2 if SMALL else 20, random_state=0),
}
fig, axes = plt.subplots(1, 3, figsize=(11, 4), sharex=True, sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, models.items()):
    inputs = [A.max((1, 2))[:, None] if "brightest" in name else A for A in (X, X_test)]
    model.fit(inputs[0], y)
    error = np.mean(np.abs(model.predict(inputs[1]) - y_test))
    print(f"{name}: R² {model.score(inputs[1], y_test):.3f}, mean error {error:.1f} mm")
    ax.scatter(y_test, model.predict(inputs[1]), s=4)
    ax.plot([0, 80], [0, 80], color="black", lw=1)
    ax.set(title=f"{name}: {error:.1f} mm off", xlabel="true size in mm")
axes[0].set_ylabel("predicted size in mm")
fig.savefig("hail_size.png", dpi=150)
