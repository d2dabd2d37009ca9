"""The frames that belong to given moments of a video, or that a column of pictures holds: each the right one, or a named error."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from worldsim.data.lerobot.tables import AGAIN, require_file
from worldsim.errors import DamagedFile

MARGIN = 16  # frames that h264 may show in another order than it stores them: those before a keyframe may stand behind it, and need others


def frames_at(root: Path, name: str, times: np.ndarray, fps: float) -> np.ndarray:
    """The frame nearest to each of `times`, less than half a frame away; no frame serves twice.

    Decoding begins at a keyframe shortly before the first time and ends with the last, so little else of a long file is touched.

    Args:
        root: the data set's folder.
        name: the video, below it.
        times: float64 `[T]`, seconds, increasing.
        fps: frames per second, which says how long half a frame is.

    Returns:
        uint8 `[T, H, W, 3]`, RGB.

    Raises:
        DamagedFile: the video is missing or torn, does not decode without error, or has no frame for one of the times.
    """
    require_file(root, name)
    half, closest, frames = 0.5 / fps, np.full(len(times), np.inf), Frames(name, len(times))
    with _opened(root / name, name) as container:
        for time, frame in _decoded(container, times[0] - MARGIN / fps):
            place = int(np.abs(times - time).argmin())
            distance = abs(times[place] - time)
            if frame.is_corrupt:  # guessed by the decoder; those after it may be built on it
                raise DamagedFile(f"{name} does not decode without error at {time:.3f} s; {AGAIN}")
            if distance < min(half, closest[place]):
                closest[place] = distance
                frames.put(place, frame.to_ndarray(format="rgb24"))
            if time >= times[-1] + half:
                break
    lost = np.flatnonzero(~np.isfinite(closest))
    if len(lost):
        raise DamagedFile(f"{name} has no frame of its own for {len(lost)} of {len(times)} rows, first at {times[lost[0]]:.3f} s")
    return frames.array


def pictures(column: Sequence[Any], name: str) -> np.ndarray:
    """Pictures {"bytes": a PNG or JPEG file} as uint8 `[T, H, W, 3]`, RGB. Raises DamagedFile where one cannot be decoded."""
    frames = Frames(name, len(column))
    for place, cell in enumerate(column):
        frames.put(place, _picture(cell, f"picture {place} of {name}"))
    return frames.array


class Frames:
    """`count` frames that arrive one by one, in one array uint8 `[count, H, W, 3]` whose sides are those of the first."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count, self.array = name, count, np.empty((0, 0, 0, 3), np.uint8)

    def put(self, place: int, frame: np.ndarray) -> None:
        """Frame number `place`, uint8 `[H, W, 3]`. Raises DamagedFile where it is of another size."""
        if not len(self.array):
            self.array = np.empty((self.count, *frame.shape), np.uint8)
        if frame.shape != self.array.shape[1:]:
            raise DamagedFile(f"{self.name} changes its frame size on the way")
        self.array[place] = frame


def _picture(cell: Any, what: str) -> np.ndarray:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise DamagedFile(f"{what} is not in the parquet file; write the data set with its pictures embedded")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.open(io.BytesIO(data)).verify()  # the checksums of a PNG
            return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DamagedFile(f"{what} cannot be decoded ({type(error).__name__}); {AGAIN}") from error


def _decoded(container: Any, begin: float) -> Iterator[tuple[float, Any]]:
    """(seconds, frame) from the last keyframe before `begin` on, in the order in which they are shown."""
    stream = container.streams.video[0]
    if begin > 0:
        container.seek(int(begin / stream.time_base), stream=stream, backward=True)
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield float(frame.pts * stream.time_base), frame


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Any]:
    """An open container with a video stream; whatever goes wrong inside is told as a damaged file."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video or container.streams.video[0].codec_context is None:
                raise DamagedFile(f"{name} holds no video that can be decoded; {AGAIN}")
            yield container
    except (av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DamagedFile(f"{name} cannot be read as a video ({reason}); {AGAIN}") from error
