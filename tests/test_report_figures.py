"""The figures of a report: right by hand where they compute, the same bytes for the same rows, and harmless whatever a policy is called."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from worldsim.report import figures
from worldsim.report.figures import Estimate, Row
from worldsim.report.figures.inline import ATTRIBUTES, ELEMENTS, inline_svg
from worldsim.statistics import wilson_interval

NASTY = ("$x_", "<script>alert(1)</script>", "--><img src=x onerror=alert(1)>", "a\x1b[2J\x00b", "x" * 300, "политика 日本", "&amp;]]>")


def estimate(k, n):
    return Estimate(k / n, tuple(wilson_interval(k, n)), k, n)


def rows_of(*counts, n=20, names=()):
    """Rows from (simulated, real) successes of n; a real of None has none."""
    named = [*names, *(f"policy{number}" for number in range(len(names), len(counts)))]
    return [Row(name, estimate(s, n), None if r is None else estimate(r, n), "a") for name, (s, r) in zip(named, counts, strict=True)]


ROWS = rows_of((20, 20), (19, 18), (15, 13), (12, 7), (10, 8), (9, 9), (8, 8), (6, 5), (0, 1), (0, 0), (7, None))
OPEN_LOOP = {"steps": [1, 2, 3], "psnr": [30.0, 28.0, 25.0], "copy_psnr": [28.0, 22.0, 20.0], "psnr_interval": [[29, 31], [27, 29], None]}
BINS = {"bins": [{"mean_score": 0.1, "share_true": 0.0, "interval": [0, 0.2], "cases": 12}]}
MAKERS = {
    "scatter": lambda: figures.scatter(ROWS),
    "tasks": lambda: figures.small_multiples({"one": ROWS, "two": ROWS[:1], "three": ROWS[2:5], "four": []}),
    "bland_altman": lambda: figures.bland_altman(ROWS),
    "posteriors": lambda: figures.posteriors(ROWS),
    "horizon": lambda: figures.horizon(OPEN_LOOP),
    "reliability": lambda: figures.reliability_curve(BINS),
}


def drawn(svg):
    return ElementTree.fromstring(svg)


# --- bytes ---


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_rows_give_the_same_bytes(name):
    first, second = MAKERS[name](), MAKERS[name]()
    assert figures.png_of(first) == figures.png_of(second)
    assert figures.pdf_of(first) == figures.pdf_of(second)
    assert figures.svg_of(first, name, "x") == figures.svg_of(second, name, "x")
    assert figures.png_of(first).startswith(b"\x89PNG")
    assert figures.pdf_of(first).startswith(b"%PDF")


def test_film_strips_and_pairs_are_the_same_bytes_too():
    frames = np.random.default_rng(0).integers(0, 255, (6, 16, 16, 3), dtype=np.uint8)
    assert figures.png_of(figures.film_strip([frames], ["imagined"])) == figures.png_of(figures.film_strip([frames], ["imagined"]))


def test_no_id_of_one_plot_is_in_another_and_every_reference_resolves():
    page = [drawn(figures.svg_of(make(), name, "x")) for name, make in MAKERS.items()]
    ids = [element.get("id") for svg in page for element in svg.iter() if element.get("id")]
    assert len(ids) == len(set(ids)) > 0
    references = {
        found
        for svg in page
        for element in svg.iter()
        for value in element.attrib.values()
        for found in re.findall(r"#([\w-]+)\)?$", value)
    }
    references = {found for found in references if not re.fullmatch("[0-9a-f]{6}", found)}  # colours
    assert references <= set(ids)


# --- harmless ---


@pytest.mark.parametrize("name", NASTY)
def test_any_policy_name_can_be_drawn_and_stays_text(name):
    rows = rows_of((20, 20), (3, 4), names=(name, name))
    for figure in (figures.scatter(rows), figures.small_multiples({name: rows}), figures.posteriors(rows)):
        svg = figures.svg_of(figure, "plot", name)
        assert {element.tag for element in drawn(svg).iter()} <= ELEMENTS
        assert "<!--" not in svg
        assert figures.png_of(figure)


@given(st.text(max_size=40))
@settings(max_examples=15, deadline=None)
def test_any_text_stays_one_text_element(name):
    svg = drawn(figures.svg_of(figures.posteriors(rows_of((2, 1), names=(name,))), "plot", name))
    assert svg.get("aria-label").split() == name.split() or not name.isprintable()
    assert {element.tag for element in svg.iter()} <= ELEMENTS


def test_what_is_not_drawing_does_not_pass():
    svg = inline_svg(
        b"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" onload="alert(1)">
        <script>alert(1)</script><style>* {color: red}</style><metadata>m</metadata><foreignObject><p/></foreignObject>
        <a href="javascript:alert(1)"><path d="M0 0"/></a><image href="https://example.org/x"/><!-- note -->
        <defs><path id="p" d="M 1.23456 0"/></defs><g id="unused"><use xlink:href="#p" onclick="alert(1)"/>
        <use xlink:href="https://example.org/x#p"/><rect style="fill: url(https://example.org/x)"/></g></svg>""",
        "plot",
        "what it means",
    )
    root = drawn(svg)
    assert {element.tag for element in root.iter()} == {"svg", "defs", "path", "g", "use", "rect"}
    assert {key for element in root.iter() for key in element.attrib} <= ATTRIBUTES | {"role", "aria-label"}
    assert [element.attrib for element in root.iter("use")] == [{"href": "#plot-p"}, {}]
    assert [element.attrib for element in root.iter("path")] == [{"id": "plot-p", "d": "M 1.23 0"}]
    assert "example.org" not in svg
    assert "alert" not in svg


# --- what is drawn ---


def test_limits_of_agreement_by_hand():
    rows = rows_of((12, 10), (10, 10), (8, 10), (9, None), n=20)  # differences .1, 0, -.1: mean 0, standard deviation .1
    assert figures.limits_of_agreement(rows) == pytest.approx((0, -0.196, 0.196))
    assert figures.limits_of_agreement(rows[:1]) is None


def test_a_policy_without_a_twin_is_in_no_scatter_and_one_without_counts_has_no_violin():
    texts = [text.get_text() for text in figures.scatter(ROWS).axes[0].texts]
    assert "policy9" in texts
    assert "policy10" not in texts
    published = [Row("a", Estimate(0.5), Estimate(0.4)), Row("b", estimate(3, 10))]
    assert len(figures.posteriors(published).axes[0].collections) == 1
    figures.png_of(figures.scatter(published))


def test_names_do_not_lie_on_one_another():
    figure = figures.scatter(ROWS)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent() for text in names]
    assert len(boxes) == 10
    for one, other in combinations(boxes, 2):
        shared = Bbox.intersection(one, other)
        assert shared is None or shared.width * shared.height < 0.1 * min(one.width * one.height, other.width * other.height)
    room = figure.bbox
    assert all(room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1 for box in boxes)


def test_violins_stand_in_the_order_given():
    places = [text.get_position()[1] for text in figures.posteriors(ROWS[:4]).axes[0].texts if text.get_text() == "a"]
    assert all(one < other for one, other in pairwise(places))
    low, high = figures.posteriors(ROWS[:4]).axes[0].get_ylim()
    assert low > high  # the first on top


def test_film_strip_takes_every_kth_frame_and_the_last_enlarged_without_smoothing():
    frames = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.full((1, 16, 16, 3), 20, np.uint8)
    strip = figures.film_strip([frames, frames[:4]], ["truth", "imagined"], every=3, height=32)
    assert strip.dtype == np.uint8
    columns = [strip.shape[1] - 32 - 36 * place for place in (3, 2, 1, 0)]
    rows = [strip.shape[0] - 32 - 36 * place for place in (1, 0)]
    shown = [[np.unique(strip[y : y + 32, x : x + 32]).tolist() for x in columns] for y in rows]
    assert shown == [[[0], [60], [120], [140]], [[0], [60], [255], [255]]]  # the shorter row leaves its last places white


def test_side_by_side_holds_the_last_frame_of_the_shorter():
    left, right = np.zeros((5, 16, 16, 3), np.uint8), np.full((2, 16, 16, 3), 9, np.uint8)
    both = figures.side_by_side(left, right, height=32)
    assert both.shape == (5, 32, 72, 3)
    assert (both[:, :, :32] == 0).all()
    assert (both[:, :, 40:] == 9).all()
