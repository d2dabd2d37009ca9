"""Which frames of an episode are shown, and how they travel: chosen, shrunk, as JPEG data URLs. Knows no prompt and no model."""

import base64
import io
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput

MOST_FRAMES = 64
RULES = ("last_step", "ever")


def checked_count(frames: Any) -> int:
    """How many frames `frames` asks for: "last" is 1.

    Raises:
        InvalidInput: neither "last" nor a number from 1 to 64.
    """
    count = 1 if frames == "last" else frames
    if type(count) is not int or not 1 <= count <= MOST_FRAMES:
        raise InvalidInput(f"frames is {frames}, expected last or a number from 1 to {MOST_FRAMES}")
    return count


def picked(length: int, count: int, stride: int | None) -> list[int]:
    """Indices, ascending, of at most `count` of `length` frames; the last is always among them.

    With a stride, every stride-th counted back from the last; without, evenly spread from the first to the last.
    """
    last = length - 1
    if stride is not None:
        return [last - stride * back for back in reversed(range(count)) if last >= stride * back]
    return sorted({last} if count == 1 else {round(last * step / (count - 1)) for step in range(count)})


def windows(indices: list[int], rule: str, window: int) -> list[list[int]]:
    """What is asked about together.

    `last_step`: all picked frames, once, about the last. `ever`: each picked frame ends one window of at most `window` picked frames.
    """
    if rule == "last_step":
        return [indices]
    return [indices[max(0, end - window) : end] for end in range(1, len(indices) + 1)]


def blank(frame: np.ndarray) -> np.ndarray:
    """A mid-grey picture of the size of `frame`: nothing can have been done in it."""
    return np.full_like(frame, 128)


def shrunk(frame: np.ndarray, most: int) -> Any:
    """A frame uint8 `[H, W, 3]` as a PIL image whose longer side has at most `most` pixels; nothing is enlarged."""
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((most, most), Image.Resampling.LANCZOS)
    return image


def data_url(frame: np.ndarray, most: int, quality: int) -> str:
    """A frame uint8 `[H, W, 3]` as a JPEG data URL."""
    file = io.BytesIO()
    shrunk(frame, most).save(file, format="JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
