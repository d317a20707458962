"""Images and masks from folders: right pixels, one size, and bad files named."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from sklearn_nets.datasets import load_images, load_masks


def save(path, shape=(12, 16, 3), seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


@pytest.fixture
def photos(tmp_path):
    """Three classes of unequal number, with the pixels by path."""
    folder = tmp_path / "photos"
    pixels = {}
    for k, (name, count) in enumerate({"dog": 3, "cat": 2, "a b": 4}.items()):
        for i in range(count):
            path = folder / name / f"{i}.png"
            pixels[f"{name}/{i}.png"] = save(path, seed=10 * k + i)
    return folder, pixels


def test_pixels_labels_and_order(photos):
    folder, pixels = photos
    data = load_images(folder)
    assert data.filenames == sorted(pixels)
    np.testing.assert_array_equal(data.images, [pixels[name] for name in data.filenames])
    assert data.images.dtype == np.uint8
    assert data.target.tolist() == [name.split("/")[0] for name in data.filenames]
    assert data.class_names == ["a b", "cat", "dog"]
    assert data.notes == [
        "9 color images of 3 classes, 2 to 4 images each.",
        "All images have 12 x 16 pixels (height x width).",
    ]
    images, target = load_images(folder, return_X_y=True, n_jobs=1)
    np.testing.assert_array_equal(images, data.images)
    np.testing.assert_array_equal(target, data.target)


def test_kinds_of_pixels_become_eight_bits_of_red_green_blue(tmp_path):
    """Gray, 16 bits, palette, transparency, CMYK, and a camera held upright."""
    gray = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)
    kinds = {
        "gray.png": Image.fromarray(gray),
        "deep.png": Image.fromarray(gray.astype(np.uint16) * 257),
        "palette.png": Image.fromarray(gray).convert("P"),
        "clear.png": Image.merge("LA", [Image.fromarray(gray), Image.new("L", (20, 12), 0)]),
        "print.tif": Image.fromarray(gray).convert("RGB").convert("CMYK"),
    }
    for name, image in kinds.items():
        path = tmp_path / ("x" if name < "f" else "y") / name
        path.parent.mkdir(exist_ok=True)
        image.save(path)
    turned = Image.fromarray(
        np.rot90(gray, k=1).copy()
    )  # upright again after a quarter to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "y" / "turned.png", exif=exif)
    data = load_images(tmp_path)
    assert data.images.shape == (6, 12, 20, 3)
    for name, image in zip(data.filenames, data.images):
        expected = np.full_like(gray, 255) if "clear" in name else gray
        np.testing.assert_array_equal(image, np.dstack([expected] * 3), err_msg=name)


def save_deep(path, pixels, mode="I;16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "I;16":
        Image.fromarray(pixels.astype(np.uint16)).save(path)
    else:
        Image.fromarray(pixels.astype({"I": np.int32, "F": np.float32}[mode])).save(path)


@pytest.mark.parametrize(("mode", "suffix"), [("I;16", "png"), ("I", "tif"), ("F", "tif")])
def test_sixteen_bits_keep_the_order_of_brightness_in_a_folder(tmp_path, mode, suffix):
    """A dark image, of small numbers, is no brighter than one of large numbers."""
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(0, top, (12, 16)) for top in (200, 20000, 65536)])
    names = [f"a/0.{suffix}", f"a/1.{suffix}", f"b/0.{suffix}"]
    for name, image in zip(names, pixels):
        save_deep(tmp_path / name, image, mode)
    data = load_images(tmp_path, n_jobs=2)
    assert data.filenames == names
    np.testing.assert_array_equal(data.images, np.rint(pixels / 257))


def test_eight_bits_stored_as_sixteen_keep_their_values(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 12, 16))
    for name, image in zip("ab", pixels):
        save_deep(tmp_path / name / "0.png", image)
    np.testing.assert_array_equal(load_images(tmp_path).images, pixels)


def test_links_to_folders_are_followed_and_loops_are_not(photos, tmp_path):
    folder, pixels = photos
    more = tmp_path / "elsewhere"
    pixels["dog/more/7.png"] = save(more / "7.png", seed=77)
    (folder / "dog" / "more").symlink_to(more)
    (more / "back").symlink_to(folder / "dog")
    (more / "self").symlink_to(more)
    (folder / "cat" / "self").symlink_to(folder / "cat")
    data = load_images(folder)
    assert data.filenames == sorted(pixels)
    np.testing.assert_array_equal(data.images, [pixels[name] for name in data.filenames])


def test_gray_folders_have_no_axis_of_channels(tmp_path):
    a, b = save(tmp_path / "a" / "1.png", (8, 8)), save(tmp_path / "b" / "1.png", (8, 8), 1)
    np.testing.assert_array_equal(load_images(tmp_path).images, [a, b])


def test_sizes_are_made_equal_and_said(tmp_path):
    flat = Image.new("RGB", (300, 200), (10, 200, 30))
    for name, size in {"a/1.jpg": (300, 200), "a/2.jpg": (280, 200), "b/1.jpg": (300, 220)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        flat.resize(size).save(tmp_path / name, quality=95)
    data = load_images(tmp_path)
    assert data.images.shape == (3, 43, 64, 3)  # the median's shape, 64 pixels at most
    assert np.abs(data.images.astype(int) - [10, 200, 30]).max() <= 3
    assert "200-220 x 280-300 pixels are scaled to 43 x 64 pixels" in data.notes[1]
    assert "changes the ratio" in data.notes[1]
    assert load_images(tmp_path, size=20).images.shape == (3, 20, 20, 3)
    assert load_images(tmp_path, size=(10, 20)).images.shape == (3, 10, 20, 3)


def test_shrinking_takes_means(tmp_path):
    """A checkerboard of single pixels becomes gray: no pixel is skipped."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(board).save(tmp_path / name / "1.png")
    inner = load_images(tmp_path, size=8).images[:, 1:-1, 1:-1].astype(int)
    assert np.abs(inner - 127).max() <= 2


def test_what_is_no_image_is_left_out_and_said(photos):
    folder, pixels = photos
    (folder / "cat" / "notes.txt").write_text("a list")
    (folder / "cat" / ".hidden.png").write_text("no image")
    (folder / ".thumbnails").mkdir()
    save(folder / "cover.png")
    save(folder / "cat" / "more" / "9.PNG", seed=99)
    data = load_images(folder)
    assert len(data.images) == len(pixels) + 1
    assert "1 files that are no images are left out." in data.notes
    assert "1 images outside of the classes' folders are left out." in data.notes


def test_progress_is_shown_on_a_terminal_only(photos, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for terminal, progress, shown in [
        (True, True, True),
        (True, False, False),
        (False, True, False),
    ]:
        stream = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        load_images(photos[0], progress=progress)
        assert ("Reading images" in stream.getvalue()) == shown


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "cat" / "0.png").write_bytes(b"no image"), r"1 of 9 images .*cat.0\.png \(no image, or damaged\)"),
        (lambda f: (f / "cat" / "0.png").write_bytes(b""), r"cat.0\.png \(the file is empty\)"),
        (lambda f: (f / "dog" / "1.png").write_bytes((f / "dog" / "1.png").read_bytes()[:300]), r"dog.1\.png \("),
        (lambda f: save(f / "dog" / "1.png", (1, 1, 3)), r"dog.1\.png: an image of 1 x 1 pixels"),
        (lambda f: save(f / "dog" / "1.png", (8, 200, 3)), r"dog.1\.png: an image of 8 x 200 .*distorted"),
        (lambda f: (f / "empty").mkdir(), "empty holds no image"),
    ],
)  # fmt: skip
def test_bad_files_are_named(photos, damage, message):
    folder, _ = photos
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load_images(folder)


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_any_number_of_threads_reads_the_same(photos, n_jobs):
    X, _ = load_images(photos[0], return_X_y=True, n_jobs=n_jobs)
    np.testing.assert_array_equal(X, load_images(photos[0], return_X_y=True)[0])


def test_many_bad_files_are_counted(photos):
    folder, pixels = photos
    for name in pixels:
        (folder / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"9 of 9 images cannot be read: .* and 4 more\. Replace"):
        load_images(folder)


def test_folders_that_are_none_of_classes(tmp_path, photos):
    folder, _ = photos
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_images(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="is a file, expected a folder"):
        load_images(folder / "cat" / "0.png")
    with pytest.raises(ValueError, match="got no folder and 2 images beside it"):
        load_images(folder / "cat")
    save(tmp_path / "one" / "a" / "1.png")
    with pytest.raises(ValueError, match=r"two or more, got one folder \(a\)"):
        load_images(tmp_path / "one")
    for names, hint in {("train", "test"): "--test", ("images", "masks"): "--masks"}.items():
        for name in names:
            save(tmp_path / names[1] / name / "x" / "1.png")
        with pytest.raises(ValueError, match=f"not a folder per class.*{hint}"):
            load_images(tmp_path / names[1])
    for size in (2, (8,), "8x8", 8.5):
        with pytest.raises(ValueError, match="size must be an integer or a pair"):
            load_images(folder, size=size)


def test_without_pillow_the_error_says_what_to_install(photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-nets\[data\]'"):
        load_images(photos[0])


# --- masks ---------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    pixels = [save(images / f"{i}.png", seed=i) for i in range(3)]
    labels = np.random.default_rng(0).integers(0, 3, (3, 12, 16), dtype=np.uint8)
    masks.mkdir()
    return images, masks, np.array(pixels), labels


@pytest.mark.parametrize("ending", ["", "_mask", "_L"])
@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_of_numbers(scenes, ending, mode):
    images, masks, pixels, labels = scenes
    for i, mask in enumerate(labels):
        picture = Image.fromarray(mask)
        if mode == "P":
            picture = picture.convert("P")
            picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        picture.save(masks / f"{i}{ending}.png")
    data = load_masks(images, masks)
    np.testing.assert_array_equal(data.images, pixels)
    np.testing.assert_array_equal(data.masks, labels)
    assert data.notes[0] == "3 color images with masks, 3 classes: 0, 1, 2."


def test_masks_of_sixteen_bits_keep_every_value(scenes):
    images, masks, _, labels = scenes
    values = np.array([0, 300, 65535])
    for i, mask in enumerate(labels):
        save_deep(masks / f"{i}.png", values[mask])
        save_deep(images / f"{i}.png", values[mask])
    data = load_masks(images, masks)
    np.testing.assert_array_equal(data.masks, values[labels])
    np.testing.assert_array_equal(data.images, np.rint(values / 257)[labels])


def test_masks_of_fractions_are_refused(scenes):
    images, masks, _, labels = scenes
    for values in (np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.6]), np.array([0, 1, np.nan])):
        for i, mask in enumerate(labels):
            Image.fromarray(values.astype(np.float32)[mask]).save(masks / f"{i}.tif")
        if values[2] == 2:
            np.testing.assert_array_equal(load_masks(images, masks).masks, labels)
        else:
            with pytest.raises(
                ValueError, match=r"0\.png \(its mask holds (1\.6|nan), expected whole"
            ):
                load_masks(images, masks)


def test_masks_in_color_are_named_by_color(scenes):
    images, masks, _, labels = scenes
    colors = np.array([[255, 0, 0], [0, 128, 0], [1, 2, 3]], np.uint8)
    for i, mask in enumerate(labels):
        Image.fromarray(colors[mask]).save(masks / f"{i}.png")
    y = load_masks(images, masks, return_X_y=True)[1]
    np.testing.assert_array_equal(y, np.array(["#ff0000", "#008000", "#010203"])[labels])


def test_masks_are_scaled_to_the_nearest_pixel(scenes):
    images, masks, _, labels = scenes
    for i, mask in enumerate(labels):
        Image.fromarray(mask * 100).save(masks / f"{i}.png")
    X, y = load_masks(images, masks, size=(4, 8), return_X_y=True)
    assert X.shape == (3, 4, 8, 3)
    np.testing.assert_array_equal(y, labels[:, 1::3, 1::2] * 100)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda i, m: (m / "1.png").unlink(), r"1 of 3 images have no mask .*1\.png.*Add the masks"),
        (lambda i, m: (i / "2.png").unlink(), r"1 of 3 masks have no image .*2\.png.*Add the images"),
        (lambda i, m: save(m / "0_mask.png", (12, 16)), "has several masks"),
        (lambda i, m: save(m / "1.png", (12, 15)), r"1\.png has 12 x 15 pixels .*expected 12 x 16"),
        (lambda i, m: save(m / "1.jpg", (12, 16)), "JPEG changes them"),
        (lambda i, m: save(m / "1.png", (12, 16, 3)), r"is in color and .* is not"),
        (lambda i, m: (m / "1.png").write_bytes(b"x"), r"1\.png \(no image, or damaged\)"),
        (lambda i, m: [Image.new("L", (16, 12), 7).save(p) for p in m.iterdir()], "are 7: expected two"),
        (lambda i, m: [save(p, (12, 16, 3), k) for k, p in enumerate(m.iterdir())], r"576 different values"),
        (lambda i, m: [p.unlink() for p in m.iterdir()], "masks holds no image"),
    ],
)  # fmt: skip
def test_pairs_that_do_not_fit_are_named(scenes, damage, message):
    images, masks, _, labels = scenes
    for i, mask in enumerate(labels):
        Image.fromarray(mask).save(masks / f"{i}.png")
    load_masks(images, masks)
    damage(images, masks)
    with pytest.raises(ValueError, match=message):
        load_masks(images, masks)
