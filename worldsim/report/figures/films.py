"""Frames as pictures: film strips and pairs of clips side by side, enlarged without smoothing. Knows no plots."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldsim.report.figures.style import INK, MUTED

PAPER = 255
GAP = 4  # pixels between the frames of a film strip
LETTERS = 0.2  # height of letters in frames, so that they can be read where a strip is shown small
LEAST = 15  # pixels of a letter


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
    font = ImageFont.load_default(size=max(LEAST, round(LETTERS * tall)))
    left, top = 14 + max(int(font.getlength(label)) + 1 for label in labels), round(1.4 * font.size)
    corners = [(top + row * (tall + GAP), left + column * (wide + GAP)) for row in range(len(rows)) for column in range(len(steps))]
    canvas = np.full((corners[-1][0] + tall, corners[-1][1] + wide, 3), PAPER, np.uint8)
    for (y, x), (row, step) in zip(corners, ((row, step) for row in rows for step in steps), strict=True):
        if step < len(row):
            canvas[y : y + tall, x : x + wide] = enlarge(row[step : step + 1], height)[0]
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    for (y, _), label in zip(corners[:: len(steps)], labels, strict=True):
        pen.text((left - 8, y + tall / 2), label, fill=INK, font=font, anchor="rm")
    for (y, x), step in zip(corners, steps, strict=False):
        pen.text((x + wide / 2, y - 6), str(step), fill=MUTED, font=font, anchor="ms")
    return np.asarray(image)


def stride(rows: Sequence[np.ndarray], columns: int) -> int:
    """The least k for which a film strip of every k-th frame and the last of these sequences has at most so many columns, 2 or more."""
    return max(1, -(-(max(map(len, rows)) - 1) // (columns - 1)))


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
