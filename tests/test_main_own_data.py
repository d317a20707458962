"""The command line on one's own files: from tables, photos and masks to a page, or to an error."""

import inspect
import json
import os
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sklearn_nets._cli import main as cli
from sklearn_nets._cli.read_data import _scaled
from sklearn_nets.comparison import compare
from sklearn_nets.datasets import from_coco, load_masks, to_coco

pytest.importorskip("skrub")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
KNOWN = inspect.signature(compare).parameters


def needs(*parameters):
    """For arguments of `compare` that this command hands on."""
    missing = [name for name in parameters if name not in KNOWN]
    return pytest.mark.skipif(bool(missing), reason=f"compare has no {', '.join(missing)}")


def make_table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.choice(["cat", "dog"], n)
    return pd.DataFrame({
        "weight": np.where(kind == "dog", 20, 4) + rng.normal(size=n),
        "born": pd.date_range("2020-01-01", periods=n).strftime("%Y-%m-%d"),
        "color": rng.choice(["red", "black", None], n),
        "owner": np.arange(n) % 12,
        "price": rng.normal(100, 10, n),
        "kind": kind,
    })  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run in an empty folder with a table; return code, page, standard output and error."""
    monkeypatch.chdir(tmp_path)
    make_table().to_csv("pets.csv", index=False)
    make_table(30, seed=1).to_csv("more.csv", index=False)

    def run(*arguments):
        try:
            code = cli.main(["compare", *map(str, arguments), "--out", "page.html"])
        except SystemExit as left:
            code = left.code
        page = tmp_path / "page.html"
        captured = capsys.readouterr()
        text = page.read_text(encoding="utf-8") if page.exists() else None
        return code, text, captured.out, captured.err

    return run


def make_photos(folder, n=10, size=(12, 12)):
    """Dark and light images."""
    rng = np.random.default_rng(0)
    for name, low in {"dark": 0, "light": 150}.items():
        (folder / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(low, low + 100, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def make_scenes(folder, n=8):
    """Images with a light square, and masks of it."""
    rng = np.random.default_rng(0)
    for i in range(n):
        mask = np.zeros((12, 16), np.uint8)
        mask[3:9, i % 8 : i % 8 + 6] = 1
        pixels = rng.integers(0, 80, (12, 16, 3)) + 150 * mask[..., None]
        for name, array in {"images": pixels, "masks": mask}.items():
            (folder / name).mkdir(exist_ok=True, parents=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / name / f"{i}.png")


def make_boxes(folder, n=8, height=12, **changes):
    """Images with a light square, and a file in COCO's format with its box."""
    make_scenes(folder, n)
    y = [{"boxes": [[i % 8, 3, i % 8 + 6, 9]], "labels": ["square"]} for i in range(n)]
    file_names = [f"{i}.png" for i in range(n)]
    data = to_coco(y, [(height, 16)] * n, file_names=file_names) | changes
    (folder / "boxes.json").write_text(json.dumps(data))


def test_a_table_goes_to_a_page_with_everything_said(run):
    code, page, out, err = run("pets.csv", "--target", "kind", "--cv", 2)
    assert code == 0
    assert not [line for line in err.splitlines() if not line.startswith("warning: ")]
    for text in (page, out):
        for words in [
            "Classification, because kind holds words.", "1 of dates (born)", "1 of text (color)",
            "are missing", "missing values are filled with the mean", "pets.csv", "dummy", "kNN", "linear SVM", "MLP", "HistGradientBoosting",
            "60 samples, 2 classes, 2 folds",
        ]:  # fmt: skip
            assert words in text
    assert "Wrote page.html" in out


def test_models_are_chosen_and_the_dummy_stays(run):
    code, page, out, _ = run("pets.csv", "--target", "kind", "--models", "svm,knn", "--folds", 2)
    assert code == 0
    assert "Models: dummy, linear SVM, kNN." in out
    assert "MLP" not in page


def test_findings_are_printed_and_on_the_page(run):
    table = make_table()
    table["copy of kind"] = table["kind"].str.upper()
    table.to_csv("pets.csv", index=False)
    _, page, out, _ = run("pets.csv", "--target", "kind", "--models", "knn", "--cv", 2)
    for text in (page, out):
        assert "copy of kind (balanced accuracy 1.000) each alone predict y." in text


def test_a_folder_of_photos(run, tmp_path):
    make_photos(tmp_path / "photos")
    code, page, out, _ = run("photos", "--models", "knn,svm", "--cv", 2, "--size", "8x10")
    assert code == 0
    for text in (page, out):
        assert "20 color images of 2 classes, 10 images each." in text
        assert "Images of 12 x 12 pixels are scaled to 8 x 10 pixels" in text


def test_photos_with_masks(run, tmp_path):
    make_scenes(tmp_path)
    code, page, out, _ = run("images", "--masks", "masks", "--models", "svm", "--cv", 2)
    assert code == 0
    for text in (page, out):
        assert "8 color images with masks, 2 classes: 0, 1." in text
        assert "mean IoU" in text
    code, _, _, err = run("images", "--masks", "masks", "--ignore-index", "9")
    assert code == 2
    assert "no pixel has this value" in err


def test_photos_with_boxes(run, tmp_path):
    make_boxes(tmp_path)
    code, page, out, _ = run("images", "--coco", "boxes.json", "--models", "knn", "--cv", 2)
    assert code == 0
    for text in (page, out):
        assert "8 boxes in 8 images, of square." in text
        assert "mAP@0.5" in text
        assert "kNN and dummy differ by +100.0 points" in text  # on every fold, so no interval
    assert page.count("<image id=") == 4


def test_photos_with_boxes_are_scaled_and_need_not_have_one_size(run, tmp_path):
    make_boxes(tmp_path, n=9)
    data = json.loads((tmp_path / "boxes.json").read_text())
    data["images"][0]["height"] = 10
    data["annotations"].pop()
    (tmp_path / "boxes.json").write_text(json.dumps(data))
    Image.open(tmp_path / "images/0.png").crop((0, 0, 16, 10)).save(tmp_path / "images/0.png")
    arguments = ["images", "--coco", "boxes.json", "--models", "knn", "--cv", 3]
    code, page, out, _ = run(*arguments)
    assert code == 0
    assert "1 of the images have no box." in out
    code, page, out, _ = run(*arguments, "--size", "24x32")
    assert code == 0
    assert "Images and boxes are scaled to 24 x 32 pixels" in out
    assert 'viewBox="0 0 32 24"' in page
    scores = re.findall(r"kNN[ │]+([01]\.\d+)", out)
    assert float(scores[0]) > 0.9  # mAP@0.5, in the first table


def test_photos_with_boxes_are_scaled_as_those_with_masks(tmp_path):
    make_boxes(tmp_path)
    photos = load_masks(tmp_path / "images", tmp_path / "masks", size=(8, 10), progress=False)
    data = from_coco(tmp_path / "boxes.json", tmp_path / "images")
    scaled, _ = _scaled(data.images, data.target, (8, 10))
    np.testing.assert_array_equal(scaled, photos.images)


@needs("task")
def test_regression_is_recognized_and_overridden(run):
    code, page, out, _ = run("pets.csv", "--target", "price", "--models", "knn,svm", "--cv", 2)
    assert code == 0
    assert "Regression, because price holds numbers with a fractional part" in page
    assert "classes" not in out.split("Models:")[1]
    code, _, out, _ = run("pets.csv", "--target", "owner", "--models", "knn", "--cv", 2)
    assert code == 0
    assert "Classification, because owner holds the 12 whole numbers from 0 to 11" in out
    code, _, out, _ = run(
        "pets.csv", "--target", "owner", "--task", "regression", "--models", "knn", "--cv", 2
    )
    assert code == 0
    assert "Regression of owner, as asked for." in out


@needs("test")
def test_a_held_out_table(run):
    code, page, _, _ = run("pets.csv", "--target", "kind", "--test", "more.csv", "--models", "knn")
    assert code == 0
    assert "more.csv" in page
    assert "60" in page
    assert "30" in page


@needs("test")
def test_a_group_is_left_out_where_the_test_set_is_given(run):
    arguments = ["--target", "kind", "--group", "owner", "--test", "more.csv", "--models", "knn"]
    code, page, _, _ = run("pets.csv", *arguments)
    assert code == 0
    assert "owner is left out; which rows are tested, the files say." in page


@needs("test", "task")
def test_a_held_out_table_for_regression(run):
    code, _, _, _ = run(
        "pets.csv", "--target", "price", "--test", "more.csv", "--models", "knn,mlp"
    )
    assert code == 0


@needs("test")
def test_held_out_photos_of_another_size(run, tmp_path):
    make_photos(tmp_path / "photos")
    make_photos(tmp_path / "others", n=4, size=(20, 20))
    code, page, _, _ = run("photos", "--test", "others", "--models", "knn")
    assert code == 0
    assert "Images of 20 x 20 pixels are scaled to 12 x 12 pixels" in page


@needs("groups")
def test_groups_stay_together(run):
    arguments = ["--target", "kind", "--group", "owner", "--models", "knn", "--cv", 3]
    code, page, _, _ = run("pets.csv", *arguments)
    assert code == 0
    assert "owner is set apart: 12 groups of rows that belong together." in page


def write(name, text):
    def prepare(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return prepare


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (None, ["nothing.csv", "--target", "y"], "'nothing.csv' does not exist: expected a table, a folder of images, or one of digits, scenes, boxes"),
        (None, ["pets.csv"], "--target is missing: which column of pets.csv is to be predicted? Its columns: weight, born"),
        (None, ["pets.csv", "--target", "kinds"], "no column 'kinds' (target). Did you mean 'kind'?"),
        (write("a.csv", "x,y\n1,a\n2\n"), ["a.csv", "--target", "y"], "a.csv, line 3: expected 2 fields"),
        (write("a.csv", "x,y\n1,a\n2\n"), ["a.csv"], "a.csv, line 3: expected 2 fields"),
        (write("a.csv", "x,y\n1,a\n2,a\n"), ["a.csv", "--target", "y"], "the target 'y' is a in all 2 rows"),
        (write("a.csv", "x,y\n1,a\n2,b\n3,c\n"), ["a.csv", "--target", "y", "--cv", "2"], "the largest class, a, has 1 of 3 samples"),
        (write("a.csv", "x,y\n1,a\n2,b\n3,c\n"), ["a.csv", "--target", "y"], "a.csv has 3 samples: too few for 5 folds"),
        (write("a.csv", "weight,kind\n1,cat\n2,cow\n"), ["pets.csv", "--target", "kind", "--test", "a.csv"], "a.csv lacks columns of pets.csv: born"),
        (
            lambda folder: make_table().assign(kind=["cow", "pig"] * 30).to_csv("a.csv"),
            ["pets.csv", "--target", "kind", "--test", "a.csv"],
            "a.csv holds classes that there is nothing to learn of: cow, pig. Known are cat, dog",
        ),
        (
            lambda folder: make_table().assign(weight="heavy").to_csv("a.csv"),
            ["pets.csv", "--target", "kind", "--test", "a.csv"],
            "a.csv: the column 'weight' holds numbers in pets.csv, and not here",
        ),
        (None, ["pets.csv", "--target", "kind", "--task", "regression"], "line 2: the target 'kind' is"),
        (None, ["pets.csv", "--target", "kind", "--task", "segmentation"], "needs a folder of images with --masks"),
        (None, ["pets.csv", "--target", "kind", "--models", "cnn"], "cnn does not suit classification of a table"),
        (None, ["pets.csv", "--target", "kind", "--models", "xgb"], "--models: expected names separated by commas"),
        (None, ["pets.csv", "--target", "kind", "--cv", "3", "--test", "more.csv"], "--test: not allowed with argument --cv"),
        (None, ["pets.csv", "--target", "kind", "--masks", "m"], "--masks needs a folder of images"),
        (None, ["pets.csv", "--target", "kind", "--device", "abacus"], "--device: device must be 'auto', 'cpu', 'cuda', 'cuda:<index>' or 'mps', got 'abacus'"),
        (None, ["pets.csv", "--target", "kind", "--device", "meta"], "--device: device must be on 'cpu', 'cuda' or 'mps', got 'meta'"),
        (None, ["pets.csv", "--target", "kind", "--size", "8x8x8"], "--size: expected pixels"),
        (None, ["pets.csv", "--target", "kind", "--size", "8"], "--size is for images; pets.csv is a table"),
        (None, ["digits", "--target", "kind"], "--target is for data of your own"),
        (None, ["digits", "--models", "hgb"], "none of the models hgb is in digits"),
        (lambda folder: (folder / "empty").mkdir(), ["empty"], "expected a folder of images per class"),
        (lambda folder: make_photos(folder / "p"), ["p", "--target", "x"], "--target is for a table"),
        (lambda folder: make_photos(folder / "p"), ["p/dark"], "got no folder and 10 images beside it"),
        (lambda folder: make_photos(folder / "p"), ["p", "--masks", "p/dark"], "have no mask of the same name"),
        (lambda folder: make_photos(folder / "p"), ["p", "--task", "detection"], "Add --coco"),
        (lambda folder: make_photos(folder / "p"), ["p", "--coco", "b.json"], "b.json does not exist"),
        (lambda folder: [make_photos(folder / "p"), write("b.json", "{")(folder)], ["p", "--coco", "b.json"], "b.json is no JSON file in COCO's format"),
        (lambda folder: [make_photos(folder / "p"), write("b.json", "[]")(folder)], ["p", "--coco", "b.json"], "b.json: COCO's format has images, categories, annotations"),
        (make_boxes, ["images", "--coco", "boxes.json", "--masks", "m"], "--masks is for masks, and --coco for boxes"),
        (make_boxes, ["images", "--coco", "boxes.json", "--target", "x"], "--target is for a table"),
        (make_boxes, ["images", "--coco", "boxes.json", "--test", "images"], "--test is for a table or a folder per class"),
        (make_boxes, ["images", "--coco", "boxes.json", "--task", "segmentation"], "--task segmentation does not fit --coco"),
        (make_boxes, ["images", "--coco", "boxes.json", "--models", "vit"], "vit does not suit detection of images: choose from knn, svm, cnn, hgb"),
        (make_boxes, ["images", "--coco", "boxes.json", "--cv", "9"], "images has 8 samples: too few for 9 folds"),
        (lambda folder: make_boxes(folder, annotations=[]), ["images", "--coco", "boxes.json"], "boxes.json holds no boxes of its 8 images"),
        (lambda folder: make_boxes(folder, annotations=[{"image_id": 1}]), ["images", "--coco", "boxes.json"], "boxes.json: number 0 of annotations lacks category_id, bbox"),
        (lambda folder: make_boxes(folder, annotations=[{"image_id": 1, "category_id": 1, "bbox": [1, 2, "x", 4]}]), ["images", "--coco", "boxes.json"], "annotation number 0 has the bbox"),
        (lambda folder: make_boxes(folder, height=13), ["images", "--coco", "boxes.json"], "images/0.png is 12 x 16 pixels (height x width), and the boxes were drawn on 13 x 16"),
        (lambda folder: [make_boxes(folder), (folder / "images/3.png").unlink()], ["images", "--coco", "boxes.json"], "1 of 8 images are not in images: 3.png"),
        (lambda folder: [make_boxes(folder), write("images/3.png", "x")(folder)], ["images", "--coco", "boxes.json"], "1 of 8 images cannot be read: images/3.png (no image, or damaged)"),
        (None, ["pets.csv", "--target", "kind", "--coco", "b.json"], "--coco needs a folder of images"),
        (None, ["boxes", "--coco", "b.json"], "--coco is for data of your own"),
        (lambda folder: make_photos(folder / "p"), ["p", "--task", "segmentation"], "Add --masks"),
        (
            lambda folder: [make_photos(folder / "p"), write("p/dark/3.png", "x")(folder)],
            ["p"],
            "p/dark/3.png (no image, or damaged)",
        ),
    ],
)  # fmt: skip
def test_mistakes_leave_with_two_a_message_and_no_page(run, tmp_path, prepare, arguments, message):
    if prepare:
        prepare(tmp_path)
    code, page, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert page is None
    assert not list(tmp_path.glob("*.html*"))


def test_an_older_page_survives_a_mistake(run, tmp_path):
    (tmp_path / "page.html").write_text("an older page")
    code, page, _, _ = run("pets.csv", "--target", "kinds")
    assert code == 2
    assert page == "an older page"


def test_the_page_is_written_behind_a_symbolic_link(run, tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "page.html").symlink_to("pages/real.html")
    code, page, _, _ = run("pets.csv", "--target", "kind", "--models", "knn", "--cv", 2)
    assert code == 0
    assert (tmp_path / "page.html").is_symlink()
    assert page == (tmp_path / "pages" / "real.html").read_text()


@pytest.mark.parametrize("link", [False, True])
def test_no_page_takes_the_place_of_a_pipe(run, tmp_path, link):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    out = tmp_path / "link" if link else pipe
    if link:
        out.symlink_to(pipe)
    code, _, _, err = run("pets.csv", "--target", "kind", "--output", out)
    assert code == 2
    assert f"{str(out)!r} is no regular file, expected a file to write" in err
    assert pipe.is_fifo()


@pytest.mark.filterwarnings("always::UserWarning")
def test_warnings_are_said_without_lines_of_code(run):
    table = make_table()
    table.loc[0, "kind"] = "bird"  # scikit-learn's splitter warns of such classes
    table.to_csv("pets.csv", index=False)
    _, _, _, err = run("pets.csv", "--target", "kind", "--models", "knn", "--cv", 2)
    told = err.splitlines()
    assert told
    assert all(line.startswith("warning: ") for line in told)
    assert any("least populated class" in line for line in told)
