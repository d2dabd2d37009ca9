"""Names beside points where they cover the least: each is tried at places around its point, nearest first. Knows no statistics."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from worldsim.report.figures.drawing import drawing, settle
from worldsim.report.figures.style import INK, MUTED, plainly, shown

NEAR, FAR = (8, 14, 22, 32, 44), 14  # distances in points, and the one from which a line leads to the name
SIDES = ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
ALIGN = {-1: ("right", "top"), 0: ("center", "center"), 1: ("left", "bottom")}
SLANT = 0.8  # share of the distance that a name moves along each axis
DOT = 5  # half the side of the square in points that a point is taken to cover
LINE = 2  # thickness in points that a bar is taken to have
Span = tuple[float, float, float, float]  # x and y of one end of a bar and of the other


def label_points(
    figure: Figure, axes: Any, points: Sequence[tuple[str, float, float]], bars: Sequence[Span] = (), size: float = 8.5
) -> None:
    """Write the name of each point (name, x, y) next to it, off the bars where that can be; the same points give the same places.

    The limits of the axes must be final; the figure is laid out here.
    """
    settle(figure)
    scale = figure.dpi / 72
    taken = [_covered(axes, (x, y, x, y), DOT * scale) for _, x, y in points] + [_covered(axes, bar, LINE / 2 * scale) for bar in bars]
    room = axes.get_window_extent()
    for name, x, y in sorted(points, key=lambda point: (point[2], point[1], point[0])):
        text = axes.annotate(shown(name), (x, y), xytext=(0, 0), textcoords="offset points", fontsize=size, color=INK)
        plainly([text])
        with drawing():
            taken.append(_place(text, axes.transData.transform((x, y)), taken, room))


def _covered(axes: Any, span: Span, margin: float) -> Bbox:
    """What a bar, or a point, covers in pixels."""
    return Bbox([axes.transData.transform(span[:2]) - margin, axes.transData.transform(span[2:]) + margin])


def _place(text: Any, dot: np.ndarray, taken: Sequence[Bbox], room: Bbox) -> Bbox:
    """Move a name to that of the places around `dot` that covers the least, lead a line to it where that is far, and return its box."""
    extent, scale = text.get_window_extent(), text.figure.dpi / 72
    boxes = {
        (near, side): _beside(dot + np.array(side) * near * SLANT * scale, extent.width, extent.height, side)
        for near in NEAR
        for side in SIDES
    }
    near, side = min(boxes, key=lambda place: _cost(boxes[place], taken, room))  # of several that cover as little the first
    text.set(position=(side[0] * near * SLANT, side[1] * near * SLANT), ha=ALIGN[side[0]][0], va=ALIGN[side[1]][1])
    if near >= FAR:
        line = {"arrowstyle": "-", "color": MUTED, "lw": 0.6}
        text.axes.annotate("", text.xy, xytext=text.get_position(), textcoords="offset points", arrowprops=line)
    return boxes[near, side]


def _beside(anchor: np.ndarray, width: float, height: float, side: tuple[int, int]) -> Bbox:
    """A box of this size that touches the anchor with the edge or corner that looks back to the point."""
    corner = anchor - np.array([width * (1 - side[0]) / 2, height * (1 - side[1]) / 2])
    return Bbox.from_bounds(*corner, width, height)


def _cost(box: Bbox, taken: Sequence[Bbox], room: Bbox) -> float:
    """Square pixels that the box shares with others, and ten times those outside the axes."""
    shared = sum(_area(Bbox.intersection(box, other)) for other in taken)
    return round(shared + 10 * (_area(box) - _area(Bbox.intersection(box, room))), 3)


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else box.width * box.height
