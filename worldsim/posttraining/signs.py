"""Signs that post-training went astray: chosen clips become less likely too, or pictures change in sharpness. Knows no network."""

from collections.abc import Mapping, Sequence

import numpy as np

WATCHED = "winner_error_change"


def sharpness(frames: np.ndarray) -> float:
    """Gradient energy of frames uint8 `[..., H, W, 3]`: the mean squared difference of neighbouring pixels, in units of full range."""
    x = frames.astype(np.float32) / 255
    return float((np.diff(x, axis=-3) ** 2).mean() + (np.diff(x, axis=-2) ** 2).mean())


def displaced(rows: Sequence[Mapping[str, float]]) -> str | None:
    """A line of warning where the loss falls and the error of the chosen clips rises (likelihood displacement); None elsewhere.

    Means of the first and the last third of a log's `rows` are compared.
    """
    third = len(rows) // 3
    if third < 1 or WATCHED not in rows[0]:
        return None
    first, last = ({key: np.mean([row[key] for row in part]) for key in ("loss", WATCHED)} for part in (rows[:third], rows[-third:]))
    if last["loss"] < first["loss"] and last[WATCHED] > max(0.0, first[WATCHED]):
        risen = last[WATCHED] - first[WATCHED]
        return f"the loss fell while the error of the chosen clips rose by {risen:.2g}: both sides are pushed away; raise lambda_sft"
    return None
