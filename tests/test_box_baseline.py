"""The baseline of detection, boxes in COCO's format, and pictures of boxes."""

import json
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.neighbors import KNeighborsClassifier
from small_boxes import assert_same_boxes, squares

from sklearn_nets import DetectionDisplay, PixelDetector
from sklearn_nets.datasets import from_coco, load_images, to_coco
from sklearn_nets.detection._display import draw_boxes
from sklearn_nets.inspection._drawing import make_axes
from sklearn_nets.metrics import box_scores
from sklearn_nets.metrics._boxes import hit_boxes, read_boxes


@pytest.fixture
def no_open_figures():
    plt = pytest.importorskip("matplotlib.pyplot")
    yield
    plt.close("all")


def test_regions_of_pixels_become_boxes():
    X, y = squares(12)
    model = PixelDetector(max_pixels=1000, random_state=0).fit(X, y)
    assert isinstance(model.pixels_.estimator_, KNeighborsClassifier)
    X_new, y_new = squares(8, seed=1)
    assert model.score(X_new, y_new) > 0.9
    for image in model.predict(X_new):
        assert (np.diff(image["scores"]) <= 0).all()
        assert ((image["scores"] > 0) & (image["scores"] <= 1)).all()
    words = [{"boxes": t["boxes"], "labels": np.array(["b", "a"])[t["labels"]]} for t in y]
    named = PixelDetector(max_pixels=1000, random_state=0).fit(X, words)
    assert named.score(X, words) == pytest.approx(model.score(X, y), abs=0.05)
    few = PixelDetector(max_pixels=1000, random_state=0, min_pixels=1000).fit(X, y).predict(X)
    assert not sum(len(image["boxes"]) for image in few)


def test_tensors_are_answered_by_tensors():
    X, y = squares(8)
    model = PixelDetector(max_pixels=1000, random_state=0).fit(X, y)
    tensors = model.predict(torch.from_numpy(X))
    assert all(torch.is_tensor(value) for image in tensors for value in image.values())
    assert_same_boxes([{k: v.numpy() for k, v in t.items()} for t in tensors], model.predict(X))
    assert model.score(torch.from_numpy(X), y) == model.score(X, y)
    masks = model.pixels_.predict(torch.from_numpy(X))
    assert torch.is_tensor(masks)
    np.testing.assert_array_equal(masks, model.pixels_.predict(X))


def test_baseline_takes_images_of_several_sizes():
    X, y = squares(12)
    crops = [image if i % 2 else image[:, :31] for i, image in enumerate(X)]
    inside = [(t["boxes"][:, 3] <= image.shape[1]) for t, image in zip(y, crops)]
    target = [{n: a[k] for n, a in t.items()} for t, k in zip(y, inside)]
    model = PixelDetector(max_pixels=1000, random_state=0).fit(crops, target)
    found = model.predict(crops)
    assert_same_boxes(found, [model.predict(image[None])[0] for image in crops])
    assert model.score(crops, target) > 0.8
    with pytest.raises(ValueError, match="Image 0, row 0"):
        model.fit(X[:1], [{"boxes": [[5, 5, 4, 9]], "labels": [1]}])


def test_coco_and_back(tmp_path):
    X, y = squares(6)
    names = np.array(["dark", "light"])
    y = [{"boxes": t["boxes"], "labels": names[t["labels"]]} for t in y]
    image_module = pytest.importorskip("PIL.Image")
    files = [f"{i}.png" for i in range(6)]
    for name, image in zip(files, X):
        image_module.fromarray(image.transpose(1, 2, 0)).save(tmp_path / name)
    path = tmp_path / "boxes.json"
    written = to_coco(y, [(32, 32)] * 6, file_names=files, path=path)
    assert json.loads(path.read_text()) == written
    data = from_coco(path, tmp_path)
    assert_array_equal(data.images, X.transpose(0, 2, 3, 1))
    assert data.class_names == ["dark", "light"]
    assert data.file_names == files
    for read, image in zip(data.target, y):
        assert_array_equal(read["boxes"], image["boxes"])
        assert read["labels"].tolist() == image["labels"].tolist()
    scored = [{**t, "scores": np.full(len(t["labels"]), 0.5)} for t in y]
    assert all(a["score"] == 0.5 for a in to_coco(scored, [(32, 32)] * 6)["annotations"])


def test_images_of_boxes_are_read_as_folders_of_images_are(tmp_path):
    """Of 16 bits, with hidden colors under transparent pixels, and from a camera held upright."""
    image_module = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    deep = [rng.integers(0, top, (12, 16)).astype(np.uint16) for top in (200, 65536)]
    clear = rng.integers(0, 256, (12, 16, 4), dtype=np.uint8)
    turned = image_module.Exif()
    turned[0x0112] = 6
    folder = tmp_path / "a"
    folder.mkdir()
    for i, image in enumerate(deep):
        image_module.fromarray(image).save(folder / f"{i}.png")
    image_module.fromarray(clear).save(folder / "2.png")
    upright = rng.integers(0, 256, (16, 12, 3), dtype=np.uint8)
    image_module.fromarray(upright).save(folder / "3.png", exif=turned)
    (tmp_path / "b").mkdir()
    image_module.new("RGB", (16, 12)).save(tmp_path / "b" / "black.png")
    files = [f"{i}.png" for i in range(4)]
    y = [{"boxes": [[0, 0, 5, 5]], "labels": ["a"]}] * 4
    images = from_coco(to_coco(y, [(12, 16)] * 4, file_names=files), folder).images
    assert_array_equal(images, load_images(tmp_path).images[:4])


def test_coco_files_are_read_as_the_tools_write_them():
    y = [{"boxes": [[0, 0, 5, 5], [2, 2, 9, 9], [3, 3, 6, 6]], "labels": ["a", "b", "a"]}]
    data = to_coco(y, [(8, 8)])
    data["annotations"][2]["iscrowd"] = 1
    assert from_coco(data).images is None
    assert from_coco(data).target[0]["boxes"].tolist() == [[0, 0, 5, 5], [2, 2, 8, 8]]
    data["annotations"][0]["category_id"] = 9
    with pytest.raises(ValueError, match="number 0 belongs to category 9"):
        from_coco(data)
    with pytest.raises(ValueError, match="categories is missing"):
        from_coco({"images": [], "annotations": []})
    with pytest.raises(ValueError, match=r"labels \['b'\]"):
        to_coco(y, [(8, 8)], class_names=["a"])
    with pytest.raises(ValueError, match="2 sizes"):
        to_coco(y, [(8, 8)] * 2)


BAD_COCO = {
    "no list": ("images", None, "images is of type NoneType, expected a list of dictionaries"),
    "a dict": ("annotations", {"0": {}}, "annotations is of type dict, expected a list"),
    "no dict": ("categories", ["a"], "number 0 of categories is 'a', expected a dictionary with id, name"),
    "mixed images": ("images", [{"id": 0}, {"id": "1"}], "ids of images must be all numbers.*got int, str"),
    "no id": ("images", [{"id": None}], "ids of images must be all numbers.*got NoneType"),
    "mixed categories": ("categories", [{"id": "1"}, {"id": 2}], "ids of categories must be all numbers"),
    "other type": ("annotations", [{"image_id": "0"}], "ids of images .* also in annotations; got int, str"),
    "a list": ("annotations", [{"category_id": [1]}], "ids of categories .* got int, list"),
    "same image": ("images", [{}, {}], "1 ids are of several images: 0. Give each an id of its own"),
    "same category": ("categories", [{}, {"name": "b"}], "1 ids are of several categories: 1"),
    "no height": ("images", [{"height": None}], "number 0 of images has the height None, expected pixels"),
    "text": ("images", [{"width": "8"}], "number 0 of images has the width '8', expected pixels"),
    "no width": ("images", [{"width": 0}], "number 0 of images has the width 0, expected pixels"),
    "no name": ("images", [{"file_name": 3}], "number 0 of images has the file_name 3, expected a string"),
    "unknown": ("images", [], "number 0 belongs to image 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_COCO)
def test_what_is_odd_in_a_coco_file_is_named(case):
    part, entries, message = BAD_COCO[case]
    data = to_coco([{"boxes": [[0, 0, 5, 5]], "labels": ["a"]}], [(8, 8)])
    if isinstance(entries, list):
        good = data[part][0]
        entries = [good | entry if isinstance(entry, dict) else entry for entry in entries]
    with pytest.raises(ValueError, match=message):
        from_coco(data | {part: entries})


def test_names_that_are_numbers_are_their_words():
    data = to_coco([{"boxes": [[0, 0, 5, 5]], "labels": [7]}], [(8, 8)])
    data["categories"][0]["name"] = 7
    read = from_coco(data)
    assert read.class_names == read.target[0]["labels"].tolist() == ["7"]


def test_ids_may_be_strings():
    data = to_coco([{"boxes": [[0, 0, 5, 5]], "labels": ["a"]}] * 2, [(8, 8)] * 2)
    words = {
        "images": [image | {"id": f"i{image['id']}"} for image in data["images"]],
        "categories": [{"id": "c1", "name": "a"}],
        "annotations": [
            a | {"image_id": f"i{a['image_id']}", "category_id": "c1"} for a in data["annotations"]
        ],
    }
    for ours, theirs in zip(from_coco(words).target, from_coco(data).target):
        assert_array_equal(ours["boxes"], theirs["boxes"])
        assert_array_equal(ours["labels"], theirs["labels"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_boxes_in_tensors_are_written_as_arrays_are(dtype):
    boxes, scores = np.array([[0, 0, 5, 5], [1, 2, 8, 8]], float), np.array([0.5, 0.25])
    numbers = {"boxes": boxes, "scores": scores, "labels": np.array([3, 7])}
    tensors = {
        "boxes": torch.tensor(boxes, dtype=dtype, requires_grad=True),
        "scores": torch.tensor(scores, dtype=dtype, requires_grad=True),
        "labels": torch.tensor([3, 7]),
    }
    assert to_coco([tensors], [(8, 8)]) == to_coco([numbers], [(8, 8)])


def test_drawn_hits_are_those_of_the_metric():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 12, (2, 60, 2))
    boxes = np.concatenate([corners.min(axis=0), corners.max(axis=0) + 4], axis=1)
    true = {"boxes": boxes[:30], "labels": rng.integers(0, 3, 30)}
    found = {"boxes": boxes[15:], "labels": rng.integers(0, 3, 45), "scores": rng.random(45)}
    hits = hit_boxes(*read_boxes([true]), *read_boxes([found], scores=True))
    scores = box_scores([true], [found], score_threshold=0)
    expected = scores["precision"] * scores["n_predicted"]
    assert expected.sum() > 5
    np.testing.assert_allclose(np.bincount(found["labels"], hits), expected)


def test_a_box_of_swapped_corners_is_drawn_as_the_metric_counts_it():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    true = {"boxes": [[0, 0, 8, 8]], "labels": ["a"]}
    draw_boxes(ax, true, {"boxes": [[8, 8, 0, 0]], "labels": ["a"], "scores": [0.9]})
    assert [text.get_color() for text in ax.texts] == ["limegreen"]


@pytest.mark.usefixtures("no_open_figures")
def test_display_draws_hits_green_and_the_rest_red():
    X, y = squares(5)
    found = [{**t, "scores": np.full(len(t["labels"]), 0.9)} for t in y]
    extra = {"boxes": [[0, 0, 2, 2]], "labels": [1], "scores": [0.8]}
    found[0] = {n: np.concatenate([found[0][n], extra[n]]) for n in extra}
    display = DetectionDisplay.from_predictions(X, y, found, n_columns=3)
    assert len(display.axes_) == 5
    counts = {"green": 0, "red": 0}
    for ax in display.axes_:
        for text in ax.texts:
            counts["red" if text.get_color() == "red" else "green"] += 1
    scores = box_scores(y, found)
    assert counts["red"] == 1
    assert counts["green"] == scores["n_predicted"].sum() - 1
    none = DetectionDisplay.from_predictions(X, None, found, score_threshold=0.95)
    assert not any(ax.patches for ax in none.axes_)
    model = PixelDetector(random_state=0, max_pixels=300).fit(X, y)
    again = DetectionDisplay.from_estimator(model, [*X[:2], X[2][:, :30]])
    assert len(again.axes_) == 3
    nested = DetectionDisplay.from_predictions([image.tolist() for image in X], y, found)
    assert_array_equal(nested.images, display.images)
    masks = DetectionDisplay.from_predictions(X > 100, y, found)
    for ax, image in zip(masks.axes_, X):
        assert_array_equal(ax.images[0].get_array(), 255 * (image.transpose(1, 2, 0) > 100))
    with pytest.raises(ValueError, match="no image to draw"):
        DetectionDisplay.from_predictions(X[:0], [], [])
    with pytest.raises(ValueError, match="y_true holds the boxes of 4 images"):
        DetectionDisplay.from_predictions(X, y[:4], found)


def test_displays_say_alike_what_to_install(monkeypatch):
    X, y = squares(2)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = r"needs matplotlib, which is not installed: pip install 'sklearn-nets\[report\]'"
    with pytest.raises(ImportError, match=f"DetectionDisplay {message}"):
        DetectionDisplay.from_predictions(X, y, y)
    with pytest.raises(ImportError, match=f"A display {message}"):
        make_axes(None)
