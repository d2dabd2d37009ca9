"""The framing of TFRecord files: where each record lies. Knows nothing of what is in them, and checks no checksum.

A record is its length (uint64, little endian), a checksum of the length, as many bytes, and a checksum of those. TensorFlow
allocates whatever a length claims and takes the process down with it, so that a claim must be held against the file before it reads.
"""

import os
import struct
from pathlib import Path

LENGTH = struct.Struct("<Q4x")
TAIL = 4


def count_records(path: str | os.PathLike) -> tuple[int, bool]:
    """(number of records that lie whole in a file, whether the file ends with the last of them). Reads 12 bytes of each.

    Raises:
        OSError: the file cannot be read.
    """
    size, place, count = Path(path).stat().st_size, 0, 0
    with open(path, "rb") as file:
        while place < size:
            file.seek(place)
            header = file.read(LENGTH.size)
            if len(header) < LENGTH.size:
                return count, False
            place += LENGTH.size + LENGTH.unpack(header)[0] + TAIL
            if place > size:
                return count, False
            count += 1
    return count, True
