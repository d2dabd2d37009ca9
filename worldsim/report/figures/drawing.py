"""A picture as bytes that are the same for the same picture: PNG and PDF for papers, SVG to stand inside a page."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from worldsim.report.figures.inline import inline_svg

STYLE = {"svg.fonttype": "none", "pdf.fonttype": 42, "font.family": ["sans-serif"], "svg.hashsalt": "worldsim"}
DPI = 200


def png_of(picture: Figure | np.ndarray) -> bytes:
    """A plot, or an image uint8 `[H, W, 3]`, as PNG."""
    if isinstance(picture, Figure):
        return _saved(picture, "png", {"Software": None})
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="png", optimize=True)
    return stream.getvalue()


def pdf_of(figure: Figure) -> bytes:
    """A plot as PDF, its text as text and its fonts in the file."""
    return _saved(figure, "pdf", {"CreationDate": None, "Creator": None, "Producer": None})


def svg_of(figure: Figure, name: str, meaning: str) -> str:
    """A plot as an `<svg>` element for an HTML page: text as text, no script, no style sheet, no id that another plot could have.

    Args:
        figure: the plot.
        name: what its ids begin with; another for every plot of a page.
        meaning: what is said of it to those who cannot see it.
    """
    return inline_svg(_saved(figure, "svg", {"Date": None, "Creator": None}), name, meaning)


@contextmanager
def drawing() -> Iterator[None]:
    """Settings of all plots; a sign that the font lacks is drawn as a box and warned of nowhere."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def settle(figure: Figure) -> None:
    """Lay the figure out once and for all, so that every picture made of it is laid out alike, and names can be placed by pixel."""
    if not isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        return
    FigureCanvasAgg(figure)
    with drawing():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _saved(figure: Figure, form: str, metadata: dict[str, None]) -> bytes:
    stream = io.BytesIO()
    settle(figure)
    with drawing():
        figure.savefig(stream, format=form, dpi=DPI, metadata=metadata)
    return stream.getvalue()
