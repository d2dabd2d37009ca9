"""mp4 files and frame sizes: uint8 RGB frames in, the same frames (up to compression) out. Knows nothing of actions or episodes."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain

import av
import numpy as np
from PIL import Image

from worldsim.data.files import written_whole
from worldsim.errors import DamagedFile, InvalidInput

CRF = "18"  # h264's constant quality: visually lossless
MOST_EXPECTED = 4096  # frames that room is made for at once, whatever a file says it holds


def write_video(path: str | os.PathLike, frames: np.ndarray, fps: float) -> None:
    """Write an h264 mp4 that any browser plays; it appears under its name only when it is complete.

    Args:
        path: where to write.
        frames: uint8 `[T, H, W, 3]`, RGB, T at least 1.
        fps: frames per second.

    Raises:
        InvalidInput: frames of another dtype or shape, or a rate that is not above 0.
    """
    frames = _checked(frames)
    with streamed_video(path, frames.shape[1], frames.shape[2], fps) as add:
        for frame in frames:
            add(frame)


@contextmanager
def streamed_video(path: str | os.PathLike, height: int, width: int, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that adds a frame uint8 `[height, width, 3]`, RGB, to an h264 mp4; no more than the encoder's few frames are held.

    The file appears under its name when the block ends, and not at all when it ends with an error. yuv420p halves the
    colour resolution and needs even sides, so an odd side grows by one repeated row or column.

    Args:
        path: where to write.
        height: rows of every frame.
        width: columns of every frame.
        fps: frames per second.

    Raises:
        InvalidInput: a frame of another dtype or shape, none at all, or a rate that is not above 0.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise InvalidInput(f"a video at {fps} frames per second cannot be written; give a number above 0")
    margins = ((0, height % 2), (0, width % 2), (0, 0))
    with written_whole(path) as aside, av.open(str(aside), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": CRF})
        stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"

        def add(frame: np.ndarray) -> None:
            if frame.dtype != np.uint8 or frame.shape != (height, width, 3):
                raise InvalidInput(f"a frame is {frame.dtype} {list(frame.shape)}, expected uint8 [{height}, {width}, 3]")
            even = np.ascontiguousarray(np.pad(frame, margins, mode="edge"))  # [H even, W even, 3]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

        yield add
        if not stream.codec_context.is_open:
            raise InvalidInput(f"no frame was added to {path}; a video needs at least one")
        container.mux(stream.encode(None))


def read_video(path: str | os.PathLike) -> Iterator[np.ndarray]:
    """The frames of a video one by one, uint8 `[H, W, 3]` RGB; only one is held at a time.

    mp4 has no checksum. A changed byte is found where the decoder stumbles over it; one that only changes a picture is not.

    Raises:
        DamagedFile: while iterating, where the file is missing, torn, holds no video, or a frame that the decoder could not make out.
    """
    with _opened(path) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if frame.is_corrupt:  # the decoder has guessed it
                raise DamagedFile(f"{path} cannot be read as a video (frame {number} is damaged); copy it again from where it came")
            yield frame.to_ndarray(format="rgb24")


def gather_frames(frames: Iterable[np.ndarray], expected: int) -> np.ndarray:
    """Frames uint8 `[H, W, 3]` as they come, in one array `[T, H, W, 3]` that is filled in place: none is held twice.

    Args:
        frames: at least one.
        expected: how many there will probably be; where more come, the array grows by copying.

    Raises:
        DamagedFile: there is none, or one has another size than the first.
    """
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise DamagedFile("the video has no frames; copy it again from where it came")
    gathered, count = np.empty((max(1, min(expected, MOST_EXPECTED)), *first.shape), dtype=np.uint8), 0
    for count, frame in enumerate(chain([first], stream), start=1):
        if frame.shape != first.shape:
            raise DamagedFile("the video changes its frame size on the way; encode it again at one size")
        if count > len(gathered):
            gathered = np.concatenate([gathered, np.empty_like(gathered)])
        gathered[count - 1] = frame
    return gathered[:count]


def video_fps(path: str | os.PathLike) -> float:
    """Average frames per second, as the file states it.

    Raises:
        DamagedFile: the file is missing, torn, holds no video, or states no rate.
    """
    with _opened(path) as container:
        rate = container.streams.video[0].average_rate
    if not rate:
        raise DamagedFile(f"{path} states no frame rate; encode it again at a constant rate")
    return float(rate)


def parse_size(text: str | int) -> tuple[int, int] | None:
    """What a wanted frame size is as (height, width): "64" is a square, "240x320" that shape, "none" None, the recorded size.

    Raises:
        InvalidInput: anything else.
    """
    if str(text) == "none":
        return None
    found = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", str(text))
    size = found and (int(found[1]), int(found[2] or found[1]))
    if not size or min(size) < 1:
        raise InvalidInput(f'frames cannot be resized to "{text}"; type resize=64, resize=240x320 (height x width) or resize=none')
    return size


def resize_frames(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Frames at another size, undistorted: the largest centred part of the wanted shape, resized with antialiasing.

    Args:
        frames: uint8 `[T, H, W, 3]`.
        height: wanted rows.
        width: wanted columns.

    Returns:
        uint8 `[T, height, width, 3]`; the very same array where the size is already right.

    Raises:
        InvalidInput: frames of another dtype or shape, or a wanted size below 1.
    """
    frames = _checked(frames)
    if min(height, width) < 1:
        raise InvalidInput(f"frames cannot be {height} x {width} pixels; give at least 1 x 1")
    if frames.shape[1:3] == (height, width):
        return frames
    box = _centre(frames.shape[1], frames.shape[2], height / width)
    shrinks = box[2] - box[0] >= width
    filter = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR  # the mean over each pixel's area; between pixels, linear
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height), filter, box=box)) for frame in frames])


def _centre(height: int, width: int, ratio: float) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the largest centred box whose height is `ratio` times its width."""
    rows, columns = min(height, width * ratio), min(width, height / ratio)
    left, top = (width - columns) / 2, (height - rows) / 2
    return left, top, left + columns, top + rows


def _checked(frames: np.ndarray) -> np.ndarray:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise InvalidInput(f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 [T, H, W, 3] with at least one frame")
    return frames


@contextmanager
def _opened(path: str | os.PathLike) -> Iterator[av.container.InputContainer]:
    """An open container with a video stream; whatever goes wrong inside is told as a damaged file."""
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise DamagedFile(f"{path} holds no video stream; give an mp4 file with one")
            yield container
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DamagedFile(f"{path} cannot be read as a video ({reason}); copy it again from where it came") from error
