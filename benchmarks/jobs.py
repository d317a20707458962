"""The table of jobs: who competes at what, and what is held equal."""

from __future__ import annotations

import copy
import tempfile
import warnings
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from unittest import mock

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from sklearn_nets._utils.device import threads

from . import by_hand, data
from .timing import Job

MLP_SIZES = {  # name -> (data, hidden units, batch size, epochs)
    "digits, h=100, batch 200": (data.digits, 100, 200, 20),
    "digits, h=100, batch 32": (data.digits, 100, 32, 8),
    "50,000 x 50, h=256, batch 256": (partial(data.synthetic, 50_000, 50, 5), 256, 256, 2),
    "Fashion-MNIST, h=256, batch 256": (data.fashion, 256, 256, 1),
}
MLP_OTHERWISE = {  # name -> (data, settings)
    "Fashion-MNIST, h=256, early stopping": (
        data.fashion,
        {"hidden_layer_sizes": 256, "batch_size": 256, "max_iter": 2, "early_stopping": True},
    ),
    "Fashion-MNIST, h=256, L-BFGS": (
        data.fashion,
        {"hidden_layer_sizes": 256, "solver": "lbfgs", "max_iter": 5},
    ),
    "digits, h=100, L-BFGS": (data.digits, {"solver": "lbfgs", "max_iter": 50}),
    "5,000 texts of 20,000 words, sparse, h=100": (data.words, {"max_iter": 3}),
}
PREDICT_SIZES = {  # name -> (data, hidden units, rows, calls, aim)
    "10,000 row(s) of Fashion-MNIST, h=256": (data.fashion, 256, 10_000, 5, 0.95),
    "1 row(s) of Fashion-MNIST, h=256": (data.fashion, 256, 1, 200, 1.0),
    "20 rows of digits, h=100": (data.digits, 100, 20, 200, 1.0),
    "5,000 sparse texts of 20,000 words, h=100": (data.words, 100, 5000, 5, 1.0),
}
KNN_SIZES = {  # name -> (rows, features, queries, k)
    "60,000 x 784, k=1": (60_000, 784, 2000, 1),
    "60,000 x 784, k=5": (60_000, 784, 2000, 5),
    "17,000 x 784, k=5": (17_000, 784, 3000, 5),
    "20,000 x 32, k=5": (20_000, 32, 5000, 5),
    "200,000 x 16, k=5": (200_000, 16, 2000, 5),
    "1,437 x 64, k=5": (1437, 64, 360, 5),
}
SVM_DATA = {
    "Fashion-MNIST 20,000 x 784": data.fashion,
    "digits": data.digits,
    "20,000 x 200, 2 classes": partial(data.synthetic, 20_000, 200, 2),
}


def fitting(estimator, *arguments):
    """Fit quietly; the loss at the end is the figure of quality."""

    def work():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(*arguments)
        return float(getattr(estimator, "loss_", np.nan))

    work.of = (estimator, *arguments)
    return work


def mlp_fit(load, hidden, batch_size, epochs, dtype, device="cpu"):
    from sklearn.neural_network import MLPClassifier as Reference
    from skorch import NeuralNetClassifier

    from sklearn_nets.neural_network import MLPClassifier

    X, y = load()
    X = X.astype(dtype)
    n_classes = len(np.unique(y))
    settings = {
        "hidden_layer_sizes": hidden, "batch_size": batch_size, "max_iter": epochs,
        "random_state": 0, "tol": 0, "n_iter_no_change": epochs + 1,
    }  # fmt: skip
    X_t = torch.from_numpy(X).to(device)
    y_t = torch.from_numpy(y).long().to(device)

    def module():
        layers = nn.Linear(X.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, n_classes)
        return nn.Sequential(*layers).to(device, X_t.dtype)

    def with_skorch():
        net = NeuralNetClassifier(
            module(), criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=1e-3,
            batch_size=batch_size, max_epochs=epochs, train_split=None, verbose=0,
            iterator_train__shuffle=True, device=device,
        )  # fmt: skip
        return float(net.fit(X, y.astype(np.int64)).history[-1, "train_loss"])

    return {
        "ours": fitting(MLPClassifier(**settings, device=device), X, y),
        "scikit-learn": fitting(Reference(**settings), X, y),
        "by hand": lambda: by_hand.train(
            module(), X_t, y_t, F.cross_entropy, epochs=epochs, batch_size=batch_size, lr=1e-3,
            alpha=1e-4,
        ),
        "skorch": with_skorch,
        "products only": products_only(
            len(X), (X.shape[1], hidden, n_classes), batch_size, epochs, X_t.dtype, device
        ),
    }  # fmt: skip


def products_only(n, sizes, batch_size, epochs, dtype, device):
    """The matrix products of all steps and nothing else, on as many threads as take least."""
    n_in, hidden, n_out = sizes
    X, W1, W2 = (
        torch.randn(shape, dtype=dtype, device=device)
        for shape in ((batch_size, n_in), (n_in, hidden), (hidden, n_out))
    )
    H, D, Z = X @ W1, X @ W1, X @ W1 @ W2
    G1, G2 = torch.empty_like(W1), torch.empty_like(W2)

    def steps(count):
        start = perf_counter()
        for _ in range(count):
            torch.mm(X, W1, out=H)
            torch.mm(H, W2, out=Z)
            torch.mm(H.T, Z, out=G2)
            torch.mm(Z, W2.T, out=D)
            torch.mm(X.T, D, out=G1)
        return perf_counter() - start

    def on(n_threads, count=20):
        with threads(n_threads):
            return steps(count)

    best = min(range(1, torch.get_num_threads() + 1), key=lambda k: min(on(k), on(k), on(k)))
    return lambda: on(best, epochs * -(-n // batch_size)) and None


def mlp_fit_otherwise(load, settings, dtype):
    """A fit by other than the default settings, of which scikit-learn knows as much."""
    from sklearn.neural_network import MLPClassifier as Reference

    from sklearn_nets.neural_network import MLPClassifier

    X, y = load()
    settings = {"random_state": 0, "tol": 0, "n_iter_no_change": 1000, **settings}
    return {
        name: fitting(M(**settings), X.astype(dtype), y)
        for name, M in (("ours", MLPClassifier), ("scikit-learn", Reference))
    }


def mlp_predict(load, hidden, n_rows, calls, dtype, method="predict"):
    from sklearn.neural_network import MLPClassifier as Reference

    from sklearn_nets.neural_network import MLPClassifier

    X, y = load()
    X = X.astype(dtype)
    settings = {"hidden_layer_sizes": hidden, "max_iter": 1, "random_state": 0}
    models = {"ours": MLPClassifier(**settings), "scikit-learn": Reference(**settings)}
    for model in models.values():
        fitting(model, X, y)()
    rows = X[np.arange(n_rows) % X.shape[0]]

    def predict(model):
        for _ in range(calls):
            getattr(model, method)(rows)

    return {name: partial(predict, model) for name, model in models.items()}


def image_fit(kind, device="cpu", n=2000, n_scenes=100, epochs=4):
    """Our plain defaults against a hand-written loop over the same module, by the same recipe."""
    from sklearn_nets import CNNClassifier, RandomZoom, SegmentationNet, ViTClassifier
    from sklearn_nets._utils.array_api import dtype_of
    from sklearn_nets.modules.augment import auto_augmentation

    settings = {"max_iter": epochs, "random_state": 0, "device": device}
    settings["progressive_resizing"] = False  # loop against loop: both see whole images
    if kind == "SegmentationNet":
        X, y = data.camvid(n_scenes)
        estimator = SegmentationNet(ignore_index=11, **settings)
        target = np.where(y == 11, -1, y.astype(np.int64))
    else:
        X, y = (a[:n] for a in data.fashion_images())
        cls = {"CNNClassifier": CNNClassifier, "ViTClassifier": ViTClassifier}[kind]
        estimator, target = cls(**settings), y.astype(np.int64)
    X_t, y_t = torch.from_numpy(X).to(device), torch.from_numpy(target).to(device)
    fitting(estimator, X, y)()
    net, hflip = estimator.net_, estimator.mirrored_
    if kind == "SegmentationNet":
        augment = RandomZoom(hflip=0.5 * hflip)
    else:
        augment = auto_augmentation(*estimator.image_shape_[1:], hflip)

    def hand():
        return by_hand.train_one_cycle(
            net.module_, X_t, y_t, net.criterion_, augment, epochs=epochs,
            batch_size=net.batch_size, lr=net.lr, alpha=estimator.alpha,
            amp=dtype_of(net.autocast_dtype),
        )  # fmt: skip

    return {"ours": fitting(estimator, X, y), "by hand": hand}


def image_predict(kind, n=2000, n_scenes=60, batch_size=64):
    """One view of each image through our nets, against a loop over the same module."""
    from sklearn_nets import CNNClassifier, SegmentationNet, ViTClassifier

    settings = {"max_iter": 1, "random_state": 0, "test_time_augment": False, "device": "cpu"}
    if kind == "SegmentationNet":
        X, y = data.camvid(n_scenes)
        estimator = SegmentationNet(ignore_index=11, **settings)
    elif kind == "CNNClassifier, resnet18":
        X, y = data.camvid(n_scenes)[0], np.arange(n_scenes) % 3
        estimator = CNNClassifier(architecture="resnet18", **settings)
    else:
        X, y = (a[:n] for a in data.fashion_images())
        cls = {"CNNClassifier": CNNClassifier, "ViTClassifier": ViTClassifier}[kind]
        estimator = cls(**settings)
    estimator.fit(X[:40], y[:40])
    module, batches = estimator.net_.module_.eval(), torch.from_numpy(X).split(batch_size)

    @torch.no_grad()
    def hand():
        torch.cat([module(batch).argmax(1) for batch in batches]).numpy()

    return {"ours": lambda: estimator.predict(X) is None, "by hand": hand}


def knn_data(n, d, queries, dtype):
    X, y, Q = _knn_data(n, d, queries)
    return X.astype(dtype), y, Q.astype(dtype)


@cache
def _knn_data(n, d, queries):
    if d == 784 and n + queries <= 20_000:
        X, _ = data.fashion()
    elif d == 784:  # Fashion-MNIST four times over, with noise, so that no two rows are equal
        X, _ = data.fashion()
        rng = np.random.RandomState(0)
        X = np.concatenate([X + rng.normal(scale=0.05, size=X.shape) for _ in range(4)])
    elif d == 64:
        X = data.digits()[0]
    else:
        X = data.synthetic(n + queries, d, 2)[0]
    X = X[np.random.RandomState(1).permutation(len(X))][: n + queries]
    y = np.random.RandomState(2).randint(0, 10, n)
    return np.ascontiguousarray(X[:n]), y, np.ascontiguousarray(X[n:])


def knn_predict(n, d, queries, k, dtype):
    import faiss
    from sklearn.neighbors import KNeighborsClassifier as Reference

    from sklearn_nets.neighbors import KNeighborsClassifier

    X, y, Q = knn_data(n, d, queries, dtype)
    ours = KNeighborsClassifier(k, device="cpu").fit(X, y)
    theirs = Reference(k, algorithm="brute").fit(X, y)
    index = faiss.IndexFlatL2(d)
    index.add(X.astype(np.float32))

    def with_faiss():
        _, neighbors = index.search(Q.astype(np.float32), k)
        votes = (y[neighbors][:, :, None] == np.arange(10)).sum(1)
        return float(np.mean(votes.argmax(1)))

    return {
        "ours": lambda: float(np.mean(ours.predict(Q))),
        "scikit-learn": lambda: float(np.mean(theirs.predict(Q))),
        "faiss": with_faiss,
    }


def svm_objective(model, X, y):
    """liblinear's objective, summed over classes, the intercept penalized as a weight."""
    w = np.c_[model.coef_, model.intercept_ / model.intercept_scaling]
    X = np.c_[X, np.full(len(X), model.intercept_scaling)]
    classes = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
    signs = np.where(y == classes[:, None], 1.0, -1.0)
    slack = np.maximum(0, 1 - signs * (w @ X.T))
    return float(0.5 * np.sum(w**2) + model.C * np.sum(slack**2))


def svm_fit(load):
    from sklearn.svm import LinearSVC as Reference

    from sklearn_nets.svm import LinearSVC

    X, y = load()

    def work(model):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)
        return svm_objective(model, X, y)

    return {
        "ours": partial(work, LinearSVC(random_state=0, device="cpu")),
        "scikit-learn": partial(work, Reference(random_state=0)),
    }


def cpu_jobs() -> list[Job]:
    jobs = []
    for dtype in (np.float32, np.float64):
        for name, sizes in MLP_SIZES.items():
            jobs.append(
                Job(
                    "MLPClassifier.fit",
                    f"{name}, {dtype.__name__}",
                    partial(mlp_fit, *sizes, dtype),
                    {"scikit-learn": 1.0, "by hand": 1.05, "skorch": 0.4},
                    "layers, batches, epochs, type, Adam, L2 penalty (skorch: none)",
                )
            )
    for name, (load, settings) in MLP_OTHERWISE.items():
        for dtype in (np.float32, np.float64):
            jobs.append(
                Job(
                    "MLPClassifier.fit, other settings", f"{name}, {dtype.__name__}",
                    partial(mlp_fit_otherwise, load, settings, dtype), {"scikit-learn": 1.0},
                    "settings, and so steps and losses",
                )
            )  # fmt: skip
    for method in ("predict", "predict_proba"):
        for dtype in (np.float32, np.float64):
            for name, (load, hidden, rows, calls, limit) in PREDICT_SIZES.items():
                jobs.append(
                    Job(
                        f"MLPClassifier.{method}", f"{name}, {dtype.__name__}",
                        partial(mlp_predict, load, hidden, rows, calls, dtype, method),
                        {"scikit-learn": limit}, "the same net",
                    )
                )  # fmt: skip
    for kind in ("CNNClassifier", "ViTClassifier", "SegmentationNet"):
        what = "CamVid 120x160, 100 images" if kind == "SegmentationNet" else "Fashion-MNIST, 2,000"
        jobs.append(
            Job(
                f"{kind}.fit", what, partial(image_fit, kind), {"by hand": 1.03},
                "module, loss, augmentation, batches, AdamW along one cycle, epochs, uint8 pixels",
            )
        )  # fmt: skip
    for kind in ("CNNClassifier", "ViTClassifier", "CNNClassifier, resnet18", "SegmentationNet"):
        fashion = kind in ("CNNClassifier", "ViTClassifier")
        what = "2,000 of Fashion-MNIST" if fashion else "60 of CamVid, 120x160"
        jobs.append(
            Job(
                "predict, images", f"{kind}, {what}", partial(image_predict, kind),
                {"by hand": 1.05}, "module, one view of each image; by hand in batches of 64",
            )
        )  # fmt: skip
    for dtype in (np.float32, np.float64):
        for name, sizes in KNN_SIZES.items():
            if dtype == np.float64 and name == "60,000 x 784, k=1":
                continue  # as with k=5
            jobs.append(
                Job(
                    "KNeighborsClassifier.predict",
                    f"{name}, {dtype.__name__}",
                    partial(knn_predict, *sizes, dtype),
                    {"scikit-learn": 1.0},
                    "data, k; faiss computes in float32",
                    repeats=15 if sizes[0] < 10_000 else 5,  # some 4 ms each
                )
            )
    for name, load in SVM_DATA.items():
        limit = 0.33 if name.startswith("Fashion") else 1.0
        jobs.append(
            Job(
                "LinearSVC.fit", name, partial(svm_fit, load), {"scikit-learn": limit},
                "squared hinge, l2, C=1, default tol; quality: the objective",
            )
        )  # fmt: skip
    jobs.append(
        Job(
            "memory map", "MLPClassifier.fit, Fashion-MNIST, float32", mapped_fit,
            {"in memory": 1.25}, "the net, bitwise; 1.25 is 0.8 of the throughput",
        )
    )  # fmt: skip
    return jobs


def streamed_fit(kind, device):
    """Training whose batches stream, against the same with its data resident."""
    from sklearn_nets import CNNClassifier, MLPClassifier
    from sklearn_nets._utils import device as _device

    images, y = data.fashion_images()
    settings = {"max_iter": 1, "random_state": 0, "tol": 0, "device": device}
    if kind == "MLPClassifier":
        X = data.fashion()[0].astype(np.float32)
        estimator = MLPClassifier(256, batch_size=256, **settings)
    else:
        X, y = (images, y) if device == "cuda" else (images[:2000], y[:2000])
        estimator = CNNClassifier(batch_size=128, **settings)
    resident = fitting(estimator, X, y)

    def streamed():
        with mock.patch.object(_device, "free_memory", return_value=1):
            return resident()

    return {"streamed": streamed, "resident": resident}


def mapped_fit():
    """An MLP on a memory map against the same on an array in memory."""
    from sklearn_nets import MLPClassifier

    X, y = data.fashion()
    X = X.astype(np.float32)
    path = Path(tempfile.mkdtemp()) / "x.npy"
    np.save(path, X)
    mapped = np.load(path, mmap_mode="r")
    settings = {"max_iter": 1, "random_state": 0, "tol": 0, "batch_size": 256, "device": "cpu"}
    return {
        "mapped": fitting(MLPClassifier(256, **settings), mapped, y),
        "in memory": fitting(MLPClassifier(256, **settings), X, y),
    }


def stream_jobs(device) -> list[Job]:
    return [
        Job(
            "streaming", f"{kind}.fit, Fashion-MNIST, {device}",
            partial(streamed_fit, kind, device), {"resident": 1.25},
            "the net; 1.25 is 0.8 of the throughput",
        )
        for kind in ("MLPClassifier", "CNNClassifier")
    ]  # fmt: skip


@cache
def bf16_peak() -> float:
    """Multiplications and additions a second of a large bfloat16 product on this card."""
    A, B = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(13):
        torch.cuda.synchronize()
        start = perf_counter()
        A @ B
        torch.cuda.synchronize()
        seconds.append(perf_counter() - start)
    return 2 * 8192**3 / float(np.median(seconds[3:]))


def card_figures(seconds, estimator, X, y):
    """Images a second, the share of the card's bfloat16 peak, and the peak of its memory."""
    device = next(estimator.net_.module_.parameters()).device
    module = copy.deepcopy(estimator.net_.module_)
    batch = torch.from_numpy(X[:8]).to(device)
    with FlopCounterMode(display=False) as counter, torch.autocast(device.type, torch.bfloat16):
        module(batch).float().sum().backward()
    rate = estimator.n_iter_ * len(X) / seconds
    torch.cuda.reset_peak_memory_stats()
    fitting(estimator, X, y)()
    return {
        "images/s": rate,
        "share of bf16 peak": rate * counter.get_total_flops() / len(batch) / bf16_peak(),
        "peak memory, GiB": torch.cuda.max_memory_allocated() / 2**30,
    }


def large_cnn(device, n=512):
    """A net of ResNet-18's size (11 million weights) on 32x32 color images."""
    from sklearn_nets import CNNClassifier

    rng = np.random.RandomState(0)
    X, y = rng.randint(0, 256, (n, 3, 32, 32), dtype=np.uint8), np.arange(n) % 10
    settings = {"max_iter": 2, "batch_size": 128, "random_state": 0, "tol": 0}
    settings["progressive_resizing"] = False  # operations are counted on whole images
    return CNNClassifier((64, 128, 256, 512), depth=2, device=device, **settings), X, y


def gpu_over_cpu():
    return {
        device: fitting(estimator, X, y)
        for device in ("cuda", "cpu")
        for estimator, X, y in [large_cnn(device)]
    }


def knn_on_card(rows, features, queries, k):
    from sklearn.neighbors import KNeighborsClassifier as Reference

    from sklearn_nets.neighbors import KNeighborsClassifier

    X, y, Q = knn_data(rows, features, queries, np.float32)
    X_t, Q_t = torch.from_numpy(X).cuda(), torch.from_numpy(Q).cuda()
    ours = KNeighborsClassifier(k).fit(X_t, y)
    theirs = Reference(k, algorithm="brute").fit(X, y)
    return {
        "ours": lambda: ours.predict(Q_t),
        "bare product": lambda: Q_t @ X_t.T,
        "scikit-learn, CPU": lambda: theirs.predict(Q),
    }


def svm_on_card():
    from sklearn.svm import LinearSVC as Reference

    from sklearn_nets.svm import LinearSVC

    X, y = data.fashion()
    X_t = torch.from_numpy(X).cuda()
    return {
        "ours": fitting(LinearSVC(), X_t, y),
        "ours, CPU": fitting(LinearSVC(device="cpu"), X, y),
        "scikit-learn, CPU": fitting(Reference(), X, y),
    }


def gpu_jobs() -> list[Job]:
    jobs = [
        Job(
            "MLPClassifier.fit", f"{name}, float32", partial(mlp_fit, *sizes, np.float32, "cuda"),
            {"by hand": 0.25}, "layers, batches, epochs, type, Adam; scikit-learn on the CPU",
        )
        for name, sizes in MLP_SIZES.items()
    ]  # fmt: skip
    for kind in ("CNNClassifier", "ViTClassifier", "SegmentationNet"):
        jobs.append(image_job(kind))
    jobs.append(
        Job(
            "a net of ResNet-18's size", "CNNClassifier, 11 million weights, 512 images of 32x32",
            gpu_over_cpu, {}, "the net, batches, two epochs; bfloat16 autocast against float32",
            repeats=2,
        )
    )  # fmt: skip
    jobs.append(
        Job(
            "KNeighborsClassifier.predict", "60,000 x 784, 2,000 queries, k=5, float32",
            partial(knn_on_card, 60_000, 784, 2000, 5), {"bare product": 1.3}, "data, k",
        )
    )  # fmt: skip
    jobs.append(
        Job(
            "LinearSVC.fit", "Fashion-MNIST 20,000 x 784", svm_on_card, {},
            "squared hinge, l2, C=1, default tol", repeats=1,
        )
    )  # fmt: skip
    return jobs + stream_jobs("cuda")


def image_job(kind) -> Job:
    """An image net on the card, with its figures; they need the estimator that is timed."""
    timed = []

    def make():
        competitors = image_fit(kind, device="cuda", n=20_000, n_scenes=367, epochs=4)
        timed.extend(competitors["ours"].of)
        return competitors

    what = "CamVid 120x160, 367" if kind == "SegmentationNet" else "Fashion-MNIST, 20,000"
    return Job(
        f"{kind}.fit", f"{what} images, bfloat16 autocast", make, {"by hand": 1.0},
        "module, loss, augmentation, batches, AdamW along one cycle, epochs, uint8 pixels",
        repeats=3, figures=lambda seconds: card_figures(seconds, *timed),
    )  # fmt: skip
