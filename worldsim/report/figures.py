"""Pictures for a report: two plots and film strips. Knows the form of results.json and of frames, nothing of HTML.

Plots are matplotlib Figure objects made without pyplot, so no window system and no global state is involved.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

INK, MUTED, ACCENT, SECOND = "#22303c", "#7b8894", "#2a6f97", "#c8793f"
PAPER = 255
TOP, GAP = 22, 4  # pixels above the first row of a film strip and between its frames
STYLE = {"color": ACCENT, "ecolor": MUTED, "elinewidth": 1, "markersize": 6, "fmt": "o"}


def scatter(results: dict[str, Any]) -> Figure:
    """Simulated against real success rate, one point per policy with both, intervals in both directions, and the line of equality."""
    figure, axes = _axes(4.6, 4.4)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    both = [policy for policy in results["policies"] if policy["scored"] and policy["real"] and policy["real"]["scored"]]
    for policy in both:
        real = policy["real"]
        x, y = real["success_rate"], policy["success_rate"]
        axes.errorbar([x], [y], xerr=_arms(x, real["interval"]), yerr=_arms(y, policy["interval"]), **STYLE)
        left = x > 0.6
        offset = (-7 if left else 7, 6)
        name = axes.annotate(
            policy["name"], (x, y), xytext=offset, textcoords="offset points", fontsize=8.5, ha="right" if left else "left"
        )
        name.set_parse_math(False)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xlabel="real success rate", ylabel="simulated success rate", aspect="equal")
    return figure


def reliability_curve(block: dict[str, Any]) -> Figure:
    """Share of true successes against the judge's mean score, one point per bin of a calibration, and the line of honest probabilities."""
    figure, axes = _axes(4.2, 3.9)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    for each in block["bins"]:
        axes.errorbar([each["mean_score"]], [each["share_true"]], yerr=_arms(each["share_true"], each["interval"]), **STYLE)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xlabel="score of the judge", ylabel="share that is a true success", aspect="equal")
    return figure


def psnr_curve(open_loop: dict[str, Any]) -> Figure:
    """PSNR over the imagined step when recorded actions are replayed, against repeating the last real frame."""
    figure, axes = _axes(5.6, 3.2)
    for key, label, color in (("psnr", "world model", ACCENT), ("copy_psnr", "copying the last frame", SECOND)):
        axes.plot(open_loop["steps"], open_loop[key], color=color, linewidth=1.8, label=label)
    axes.set(xlabel="step", ylabel="PSNR (dB)")
    axes.legend(frameon=False, fontsize=9)
    return figure


def png_of(picture: Figure | np.ndarray) -> bytes:
    """A plot, or an image uint8 `[H, W, 3]`, as PNG bytes that are the same for the same picture."""
    stream = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(stream, format="png", dpi=160, metadata={"Software": None})
    else:
        Image.fromarray(picture).save(stream, format="png", optimize=True)
    return stream.getvalue()


def film_strip(rows: Sequence[np.ndarray], labels: Sequence[str], every: int = 1, height: int = 96) -> np.ndarray:
    """Frame sequences one above the other, every k-th frame and the last, the step number above each column.

    Args:
        rows: frame sequences uint8 `[T, H, W, 3]` of one frame size, T at least 1; a shorter one leaves its last places empty.
        labels: one per row, written at the left.
        every: k.
        height: wanted height of a frame in pixels; frames grow by the nearest whole factor, without smoothing.

    Returns:
        The image, uint8 `[height, width, 3]`.
    """
    longest = max(map(len, rows))
    steps = sorted({*range(0, longest, every), longest - 1})
    tall, wide = enlarge(rows[0][:1], height).shape[1:3]
    left = 14 + max(map(_text_width, labels))
    corners = [(TOP + row * (tall + GAP), left + column * (wide + GAP)) for row in range(len(rows)) for column in range(len(steps))]
    canvas = np.full((corners[-1][0] + tall, corners[-1][1] + wide, 3), PAPER, np.uint8)
    for (y, x), (row, step) in zip(corners, ((row, step) for row in rows for step in steps), strict=True):
        if step < len(row):
            canvas[y : y + tall, x : x + wide] = enlarge(row[step : step + 1], height)[0]
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    for (y, _), label in zip(corners[:: len(steps)], labels, strict=True):
        pen.text((left - 8, y + tall / 2), label, fill=INK, font=_font(), anchor="rm")
    for (y, x), step in zip(corners, steps, strict=False):
        pen.text((x + wide / 2, y - 6), str(step), fill=MUTED, font=_font(), anchor="ms")
    return np.asarray(image)


def side_by_side(left: np.ndarray, right: np.ndarray, height: int = 256) -> np.ndarray:
    """Two sequences as one: uint8 `[T, H, W, 3]` each, enlarged, with a white bar between; the shorter one holds its last frame."""
    length = max(len(left), len(right))
    held = [enlarge(side[np.minimum(np.arange(length), len(side) - 1)], height) for side in (left, right)]
    bar = np.full((*held[0].shape[:2], 8, 3), PAPER, np.uint8)
    return np.concatenate([held[0], bar, held[1]], axis=2)


def enlarge(frames: np.ndarray, height: int) -> np.ndarray:
    """Frames `[T, H, W, 3]` enlarged by the whole factor that brings H nearest to `height`; never made smaller."""
    factor = max(1, round(height / frames.shape[1]))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e8ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def _arms(value: float, interval: Sequence[float]) -> list[list[float]]:
    """Lengths of the error bar below and above, `[[below], [above]]`."""
    return [[max(value - interval[0], 0.0)], [max(interval[1] - value, 0.0)]]


def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=15)


def _text_width(text: str) -> int:
    return int(_font().getlength(text)) + 1
