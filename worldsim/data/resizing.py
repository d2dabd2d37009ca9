"""Frames at the size a policy wants, undistorted: the whole picture inside black borders. Knows nothing of policies."""

import numpy as np
from PIL import Image

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean


def resize_with_pad(frames: np.ndarray, height: int, width: int, sampling: str = "area") -> np.ndarray:
    """Whole frames at another size: aspect ratio kept, centred, black around it; what cannot be halved goes below and to the right.

    Args:
        frames: uint8 `[T, H, W, 3]`.
        height: wanted rows.
        width: wanted columns.
        sampling: how pixels are made. "area" is bilinear with antialiasing, rounded, as openpi's client does with Pillow;
            "point" is bilinear between the nearest four pixels, truncated, as `tf.image.resize_with_pad` and a cast to uint8 do,
            which is what RT-1 was trained on.

    Returns:
        uint8 `[T, height, width, 3]`; the very same array where the size is already right.

    Raises:
        InvalidInput: frames of another dtype or shape, or a wanted size below 1.
        UnknownName: no such sampling.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise InvalidInput(f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 [T, H, W, 3] with at least one frame")
    if min(height, width) < 1:
        raise InvalidInput(f"frames cannot be {height} x {width} pixels; give at least 1 x 1")
    if sampling not in SAMPLINGS:
        raise UnknownName(f'unknown sampling "{sampling}"; {did_you_mean(sampling, SAMPLINGS)}')
    if frames.shape[1:3] == (height, width):
        return frames
    real = np.float32 if sampling == "point" else np.float64  # what tensorflow and openpi reckon in decides a pixel now and then
    given, wanted = np.array(frames.shape[1:3], real), np.array([height, width], real)
    fitting = given / (given / wanted).max()
    rows, columns = (int(side) for side in np.maximum(fitting, 1))
    top, left = (int(side) for side in (wanted - (fitting if sampling == "point" else np.floor(fitting))) / 2)
    padded = np.zeros((len(frames), height, width, 3), np.uint8)
    padded[:, top : top + rows, left : left + columns] = SAMPLINGS[sampling](frames, rows, columns)
    return padded


def centred(frames: np.ndarray, ratio: float) -> np.ndarray:
    """The largest centred part of frames `[T, H, W, 3]` whose height is `ratio` times its width, to the nearest pixel."""
    height, width = frames.shape[1:3]
    rows, columns = max(1, round(min(height, width * ratio))), max(1, round(min(width, height / ratio)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return frames[:, top : top + rows, left : left + columns]


def _area(frames: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(frame).resize((columns, rows), Image.Resampling.BILINEAR)) for frame in frames])


def _point(frames: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Along the columns first, then the rows: the order in which tensorflow rounds."""
    left, right, across = _neighbours(frames.shape[2], columns)
    upper, lower, down = _neighbours(frames.shape[1], rows)
    wide = frames[:, :, left] + (frames[:, :, right].astype(np.float32) - frames[:, :, left]) * across[:, None]  # [T, H, columns, 3]
    return (wide[:, upper] + (wide[:, lower] - wide[:, upper]) * down[:, None, None]).astype(np.uint8)


def _neighbours(given: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per wanted pixel: the given pixels before and after its centre, and how far it lies between them, float32 in [0, 1)."""
    centre = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * np.float32(given / wanted) - np.float32(0.5)
    before = np.floor(centre)
    return np.maximum(before, 0).astype(int), np.minimum(np.ceil(centre), given - 1).astype(int), centre - before


SAMPLINGS = {"area": _area, "point": _point}
