"""All frames of a video at once, that none is missing, and a frame rate that is said twice. Knows nothing of actions."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from worldsim.data.video import read_video, video_fps
from worldsim.errors import DamagedFile

OFF = 0.02  # share by which the two frame rates that a file states may differ


@dataclass(frozen=True)
class Footage:
    """The frames uint8 `[T, H, W, 3]` of a video file, and the frame rate that its compressed stream states beside the file's (or None)."""

    path: Path
    frames: np.ndarray
    stream_fps: float | None

    def fps(self) -> float:
        """Frames per second as the file states it.

        Raises:
            DamagedFile: it states none, or its stream another: nothing else in a file tells a wrong rate.
        """
        rate = video_fps(self.path)
        told = self.stream_fps or rate
        if min(abs(told / rate - 1), abs(told / rate / 2 - 1)) > OFF:  # a stream may count half frames
            raise DamagedFile(f"{self.path} says {rate:.3g} frames per second, its stream {told:.3g}; say which is right with rate=")
        return rate


def whole_video(path: Path) -> Footage:
    """A video, decoded.

    Raises:
        DamagedFile: it is missing or torn, its frames change their size, or fewer come out than it says it holds.
    """
    try:
        frames = list(read_video(path))
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            stated = video.frames  # 0 where the file does not say
            fps = float(video.codec_context.framerate or 0) or None
    except (av.FFmpegError, MemoryError, OverflowError, IndexError, ZeroDivisionError) as error:
        raise DamagedFile(f"{path} cannot be read as a video ({type(error).__name__}); copy it again from where it came") from error
    if not frames or (stated and len(frames) != stated):
        raise DamagedFile(f"{path} says that it holds {stated} frames, {len(frames)} could be read; copy it again from where it came")
    if len({frame.shape for frame in frames}) > 1:
        raise DamagedFile(f"{path} changes its frame size on the way; encode it again at one size")
    return Footage(path, np.stack(frames), fps)
