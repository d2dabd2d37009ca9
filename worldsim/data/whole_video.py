"""All frames of a video at once, that none is missing, and a frame rate that is said twice. Knows nothing of actions."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from worldsim.data.video import gather_frames, read_video, video_fps
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
            raise DamagedFile(f"{self.path} says {rate:.3g} frames per second, its stream {told:.3g}; type options='{{rate: HZ}}'")
        return rate


def whole_video(path: Path) -> Footage:
    """A video, decoded: T * H * W * 3 bytes, once, at its recorded size, such as 0.9 GB for 1000 frames of 640 x 480.

    Raises:
        DamagedFile: it is missing or torn, its frames change their size, or fewer come out than it says it holds.
    """
    try:
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            stated = video.frames  # 0 where the file does not say
            fps = float(video.codec_context.framerate or 0) or None
        frames = gather_frames(read_video(path), stated)
    except (av.FFmpegError, MemoryError, ArithmeticError, IndexError, ValueError, AttributeError) as error:  # PyAV checks little
        raise DamagedFile(f"{path} cannot be read as a video ({type(error).__name__}); copy it again from where it came") from error
    if stated and len(frames) != stated:
        raise DamagedFile(f"{path} says that it holds {stated} frames, {len(frames)} could be read; copy it again from where it came")
    return Footage(path, frames, fps)
