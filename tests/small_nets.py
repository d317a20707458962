"""Small data and small nets for the tests of training."""

from sklearn.datasets import load_digits

from sklearn_nets import CNNClassifier, MLPClassifier

X, Y = load_digits(return_X_y=True)
X, Y = X[:330] / 16, Y[:330]
IMAGES = X.reshape(-1, 8, 8)


def mlp(**settings):
    return MLPClassifier(**{"hidden_layer_sizes": 9, "max_iter": 4, "random_state": 0, **settings})


def cnn(**settings):
    defaults = {"channels": (4, 6), "max_iter": 3, "augment": None, "random_state": 0}
    return CNNClassifier(**{**defaults, **settings})
