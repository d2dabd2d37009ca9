"""All frames of a video at once, and that none is missing. Knows nothing of actions."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from worldsim.data.video import read_video, video_fps
from worldsim.errors import DamagedFile


@dataclass(frozen=True)
class Footage:
    """The frames uint8 `[T, H, W, 3]` of a video file."""

    path: Path
    frames: np.ndarray

    def fps(self) -> float:
        """Frames per second as the file states it. Raises DamagedFile where it states none."""
        return video_fps(self.path)


def whole_video(path: Path) -> Footage:
    """A video, decoded.

    Raises:
        DamagedFile: it is missing or torn, its frames change their size, or fewer come out than it says it holds.
    """
    try:
        frames = list(read_video(path))
        with av.open(str(path)) as container:
            stated = container.streams.video[0].frames  # 0 where the file does not say
    except (av.FFmpegError, MemoryError, OverflowError) as error:
        raise DamagedFile(f"{path} cannot be read as a video ({type(error).__name__}); copy it again from where it came") from error
    if not frames or (stated and len(frames) != stated):
        raise DamagedFile(f"{path} says that it holds {stated} frames, {len(frames)} could be read; copy it again from where it came")
    if len({frame.shape for frame in frames}) > 1:
        raise DamagedFile(f"{path} changes its frame size on the way; encode it again at one size")
    return Footage(path, np.stack(frames))
