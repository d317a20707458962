"""How many blood cells are in an image, and how sure is the count?

A detector's boxes above a threshold are counted. The threshold comes from images that were held
out; the interval of the total from how far counts were off there, image by image (bootstrap).
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from data import SMALL, cells
from sklearn.model_selection import train_test_split

from sklearn_nets import DetectionDisplay, DetectionNet
from sklearn_nets.metrics import box_scores

X, X_test, y, y_test = cells()
X, X_held, y, y_held = train_test_split(X, y, test_size=0.2, random_state=0)
net = DetectionNet(max_iter=2 if SMALL else 40, random_state=0).fit(X, y)
print(f"mAP at an IoU of 0.5: {net.score(X_test, y_test):.3f}")


# %%
def count(boxes, threshold):
    """Boxes in each image that score at least the threshold."""
    return np.array([np.sum(np.asarray(image["scores"]) >= threshold) for image in boxes])


held, found = net.predict(X_held), net.predict(X_test)
truth_held, truth = (np.array([len(image["labels"]) for image in t]) for t in (y_held, y_test))
thresholds = np.arange(0.1, 0.9, 0.02)
errors = [np.abs(count(held, t) - truth_held).mean() for t in thresholds]
threshold = thresholds[np.argmin(errors)]
counted = count(found, threshold)

# %% the truth is the count plus the errors of as many images drawn from those held out
rng = np.random.default_rng(0)
missed = truth_held - count(held, threshold)
totals = counted.sum() + rng.choice(missed, (2000, len(counted))).sum(1)
low, high = np.percentile(totals, [2.5, 97.5])
print(f"threshold {threshold:.2f}: {counted.sum()} cells counted in {len(counted)} images,")
print(f"95 % interval {low:.0f} to {high:.0f}; annotated are {truth.sum()}")
scores = box_scores(y_test, found, score_threshold=threshold)
for name, precision, recall in zip(scores["classes"], scores["precision"], scores["recall"]):
    print(f"{name}: precision {precision:.2f}, recall {recall:.2f}")

# %%
display = DetectionDisplay.from_predictions(
    X_test[:4], y_test[:4], found[:4], score_threshold=threshold, n_columns=2
)
for ax, n, true in zip(display.axes_, counted, truth):
    ax.set_title(f"{n} counted, {true} annotated")
display.figure_.suptitle(f"{counted.sum()} cells, 95 % interval {low:.0f} to {high:.0f}")
plt.savefig("count_cells.png", dpi=150)
