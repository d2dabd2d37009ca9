"""Synthetic recordings in the layout of Ctrl-World's DROID: videos by camera and one annotation per episode."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from worldsim.data.video import write_video

STATES = np.cumsum(np.random.default_rng(0).normal(0, 0.1, (4, 7)), axis=0)


def add_episode(
    root: Path, name: str, *, split: str = "train", states: np.ndarray = STATES, shade: int = 0, cameras: Sequence[str] = ("0",)
) -> None:
    """An episode of 4 frames 32 x 48 that brighten to the right, each camera's a little darker than the one's before."""
    for place, camera in enumerate(cameras):
        frames = np.broadcast_to(np.linspace(shade, 200 - 30 * place, 48)[:, None].astype(np.uint8), (4, 32, 48, 3))
        write_video(root / "videos" / split / name / f"{camera}.mp4", frames, fps=5)
    note = root / "annotation" / split / f"{name}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"texts": [f"do {name}"], "states": states.tolist()}))
