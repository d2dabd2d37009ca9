"""An episode as a browser plays it: an mp4 with its first and last frame, without a word about who acted in it. Knows no files of a run."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldsim.data.video import write_video
from worldsim.labelling.label import content_of
from worldsim.serving.pictures import png
from worldsim.types import Trajectory

HEIGHT = 256  # pixels that small frames are enlarged to, nearly: h264 halves the resolution of colours
DEFAULT_FPS = 5.0


@dataclass(frozen=True)
class Clip:
    """What a rater is shown of one episode, all from one reading of it.

    Attributes:
        instruction: what was asked, or the task's id.
        content: the hash that labels of it carry.
        video: an h264 mp4.
        first: the first frame as PNG.
        last: the last frame as PNG.
    """

    instruction: str
    content: str
    video: bytes
    first: bytes
    last: bytes


def clip_of(trajectory: Trajectory) -> Clip:
    """The clip of an episode."""
    frames = _enlarged(trajectory.frames)
    instruction = str(trajectory.metadata.get("instruction") or trajectory.task_id)
    video = _mp4(frames, float(trajectory.metadata.get("fps") or DEFAULT_FPS))
    return Clip(instruction, content_of(trajectory), video, png(frames[0]), png(frames[-1]))


def _enlarged(frames: np.ndarray) -> np.ndarray:
    """Frames `[T, H, W, 3]` enlarged by the whole factor that brings H nearest to `HEIGHT`; never made smaller."""
    factor = max(1, round(HEIGHT / frames.shape[1]))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def _mp4(frames: np.ndarray, fps: float) -> bytes:
    with tempfile.TemporaryDirectory(prefix="worldsim-label-") as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, frames, fps)
        return path.read_bytes()
