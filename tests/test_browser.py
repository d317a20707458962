"""The page of a comparison in a real browser: Debian's Chromium, driven by playwright."""

import shutil

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from sklearn_nets.comparison import compare

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"
)
X, Y = load_iris(return_X_y=True)
X = X + np.random.default_rng(0).normal(scale=0.8, size=X.shape)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    net = MLPClassifier((4,), max_iter=200, tol=1.0, random_state=0)
    models = {"Bayes": GaussianNB(), "net": net, "kNN": KNeighborsClassifier()}
    models["dummy"] = DummyClassifier()
    result = compare(models, X, np.array(["setosa", "versicolor", "virginica"])[Y], random_state=0)
    result.to_html(path, title="Iris", images=np.random.default_rng(0).random((150, 8, 8)))
    return path.as_uri()


def open_page(browser, address, **options):
    """The page, with everything that it asks for and complains about."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(address)
    return page


def column(page, table: int, index: int) -> list[str]:
    return page.evaluate(
        "([t, i]) => [...document.querySelectorAll('table.sortable')[t].tBodies[0].rows]"
        ".map(row => row.cells[i].innerText.trim())",
        [table, index],
    )


def test_it_asks_for_nothing_but_itself_and_complains_of_nothing(browser, address):
    page = open_page(browser, address)
    assert [url for url in page.asked if not url.startswith("data:")] == [address]
    assert page.complaints == []
    pictures = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert pictures
    assert all(width > 0 for width in pictures)
    figures = page.evaluate(
        "[...document.querySelectorAll('svg.figure')].map(f => f.getBoundingClientRect().height)"
    )
    assert len(figures) >= 4
    assert all(height > 100 for height in figures)


def test_a_table_is_sorted_by_mouse_and_by_keyboard(browser, address):
    page = open_page(browser, address)
    given = column(page, 0, 0)
    assert given == ["Bayes", "net", "kNN", "dummy"]
    head = page.locator("table.sortable").first.locator("thead th")
    head.nth(0).locator("button").click()
    assert column(page, 0, 0) == sorted(given, key=str.lower)
    assert head.nth(0).get_attribute("aria-sort") == "ascending"
    head.nth(1).locator("button").focus()
    page.keyboard.press("Enter")
    scores = [float(text.split()[0]) for text in column(page, 0, 1)]
    assert scores == sorted(scores)
    assert head.nth(0).get_attribute("aria-sort") is None
    page.keyboard.press("Enter")
    scores = [float(text.split()[0]) for text in column(page, 0, 1)]
    assert scores == sorted(scores, reverse=True)
    names = [h.inner_text() for h in head.all()]
    parameters = next(i for i, name in enumerate(names) if name.startswith("parameters"))
    for _ in range(2):  # what is unknown comes last both ways
        head.nth(parameters).locator("button").click()
        assert column(page, 0, parameters)[-1] == "-"


def test_it_is_complete_without_javascript(browser, address):
    page = open_page(browser, address, java_script_enabled=False)
    text = page.locator("body").inner_text()
    for word in ("Bayes", "95 % interval", "Which is better?", "Confusion matrices", "folds"):
        assert word in text
    assert page.locator("button").count() == 0
    page.locator("summary", has_text="All metrics").click()
    assert page.locator("td", has_text="balanced accuracy").first.is_visible()


@pytest.mark.parametrize("width", [360, 390, 768])
def test_a_phone_scrolls_in_one_direction_only(browser, address, width):
    page = open_page(browser, address, viewport={"width": width, "height": 800})
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    cards = page.evaluate(
        "[...document.querySelectorAll('.card')].map(c => c.getBoundingClientRect())"
        ".filter(r => r.width).map(r => [r.left, r.right])"
    )
    assert all(left >= 0 and right <= width for left, right in cards)
    size = page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
    assert size >= 16


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2 of ``rgb(r, g, b)``."""
    parts = [float(p) / 255 for p in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(browser, address, scheme):
    page = open_page(browser, address, color_scheme=scheme)
    paper, ink = (
        luminance(page.evaluate(f"getComputedStyle(document.body).{name}"))
        for name in ("backgroundColor", "color")
    )
    assert (paper > 0.5) == (scheme == "light")
    contrasts = {}
    for selector in ("body", "p", ".std", ".interval", "figcaption", "svg.figure text", ".best"):
        prop = "fill" if selector.startswith("svg") else "color"
        color = page.evaluate(f"getComputedStyle(document.querySelector({selector!r})).{prop}")
        pair = sorted([luminance(color), paper])
        contrasts[selector] = (pair[1] + 0.05) / (pair[0] + 0.05)
    assert min(contrasts.values()) >= 4.5, contrasts
    assert abs(ink - paper) > 0.5
