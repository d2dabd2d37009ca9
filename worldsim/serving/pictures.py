"""Frames as a browser takes them."""

import io

import numpy as np
from PIL import Image


def png(frame: np.ndarray) -> bytes:
    """A frame uint8 `[H, W, 3]` as a PNG file, quickly written."""
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
