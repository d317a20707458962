"""Photographs in ten classes (CIFAR-10): what do pixels tell, and what does a net find in them?"""

# %%
import matplotlib.pyplot as plt
from data import SMALL, photographs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_nets import (
    CNNClassifier,
    FlattenImages,
    KNeighborsClassifier,
    LinearSVC,
    compare,
)

X, X_test, y, y_test = photographs()
print(f"{len(X)} photographs to learn from, {len(X_test)} to judge by")

# %% A test set held out, as it comes with the data, in the place of a cross-validation.
rows = make_pipeline(FlattenImages(), MinMaxScaler())
estimators = {
    "kNN": make_pipeline(rows, KNeighborsClassifier()),
    "linear SVM": make_pipeline(rows, LinearSVC(C=0.001)),
    "CNN": CNNClassifier(max_iter=1 if SMALL else 16, random_state=0),
}
result = compare(estimators, X, y, test=(X_test, y_test))
print(result)

# %% Was training mirrored? Only where the photographs show that it is harmless.
cnn = CNNClassifier(max_iter=1, random_state=0).fit(X, y)
print("mirrored:", cnn.mirrored_)

# %%
result.plot()
plt.savefig("compare_photographs.png", dpi=150)
