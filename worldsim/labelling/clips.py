"""Episodes as a browser plays them: an mp4 and its first and last frame, in memory, without a word about who acted in it."""

import io
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from worldsim.data.video import write_video
from worldsim.types import Trajectory

HEIGHT = 256  # pixels that small frames are enlarged to, nearly: h264 halves the resolution of colours
DEFAULT_FPS = 5.0
KEPT = 16  # clips held at a time


class Clips:
    """Files for the browser by episode id; the last few are kept. `read` gives an episode's trajectory.

    Raises, as `read` does:
        DamagedFile: the episode is missing or not what its checksum promises.
    """

    def __init__(self, read: Callable[[str], Trajectory]) -> None:
        self._read = read
        self.video = lru_cache(KEPT)(self._video)
        self.still = lru_cache(2 * KEPT)(self._still)

    def _video(self, episode: str) -> bytes:
        """An h264 mp4."""
        trajectory = self._read(episode)
        with tempfile.TemporaryDirectory(prefix="worldsim-label-") as folder:
            path = Path(folder) / "clip.mp4"
            write_video(path, _enlarged(trajectory.frames), float(trajectory.metadata.get("fps") or DEFAULT_FPS))
            return path.read_bytes()

    def _still(self, episode: str, index: int) -> bytes:
        """One frame as PNG; 0 is the first, -1 the last."""
        stream = io.BytesIO()
        Image.fromarray(_enlarged(self._read(episode).frames[[index]])[0]).save(stream, format="PNG")
        return stream.getvalue()


def _enlarged(frames: np.ndarray) -> np.ndarray:
    """Frames `[T, H, W, 3]` enlarged by the whole factor that brings H nearest to `HEIGHT`; never made smaller."""
    factor = max(1, round(HEIGHT / frames.shape[1]))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)
