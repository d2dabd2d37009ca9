"""JPEG pictures in memory to the frames of one episode. Knows no files."""

import io
import warnings
from collections.abc import Iterable

import numpy as np
from PIL import Image

from worldsim.errors import DamagedFile

LONGEST_SIDE = 4096


def decoded_jpegs(encoded: Iterable[bytes]) -> np.ndarray:
    """JPEGs as uint8 `[T, H, W, 3]`, red first; T is 0 where there are none.

    Raises:
        DamagedFile: one that is none, or of another size than the first.
    """
    frames: list[np.ndarray] = []
    for place, data in enumerate(encoded):
        frame = _decoded(data, place)
        if frames and frame.shape != frames[0].shape:
            raise DamagedFile(f"picture {place} has size {list(frame.shape[:2])}, the first {list(frames[0].shape[:2])}")
        frames.append(frame)
    return np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)


def _decoded(data: bytes, place: int) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
                if max(image.size) > LONGEST_SIDE:
                    raise ValueError(f"{image.size[0]} x {image.size[1]} pixels")
                return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError, IndexError, KeyError, TypeError) as error:
        raise DamagedFile(f"picture {place} is no readable JPEG ({' '.join(str(error).split())[:80]})") from error
