"""HDF5 files that carry the hash of their own bytes, so that damage is found before HDF5 sees it. Knows nothing of what is in them.

The hash stands in the file's user block, the first 512 bytes, which every HDF5 reader skips.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from worldsim.data.files import written_whole
from worldsim.errors import DamagedFile

BLOCK = 512
MARK = b"worldsim sha256 "
AGAIN = "delete it and run the command that made it again"


@contextmanager
def written_hdf5(path: str | os.PathLike) -> Iterator[h5py.File]:
    """An HDF5 file to fill; when the block ends without an error it is written to `path` whole.

    It is built in memory, because HDF5 takes the process down with it when the disk fills up under an open file.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=BLOCK) as file:
        yield file
    content = stream.getbuffer()[BLOCK:]
    with written_whole(path) as aside, open(aside, "wb") as out:
        out.write((MARK + hashlib.sha256(content).hexdigest().encode()).ljust(BLOCK, b"\0"))
        out.write(content)


@contextmanager
def read_hdf5(path: str | os.PathLike) -> Iterator[h5py.File]:
    """The file at `path`, after its hash was checked.

    Raises:
        DamagedFile: it is missing, not such a file, torn or changed; or the block could not find in it what it looked for.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read ({error.strerror or error}); {AGAIN}") from error
    if not raw.startswith(MARK):
        raise DamagedFile(f"{path} is not a worldsim file; import recordings with: worldsim import")
    if raw[:BLOCK].rstrip(b"\0") != MARK + hashlib.sha256(raw[BLOCK:]).hexdigest().encode():
        raise DamagedFile(f"{path} does not match its checksum; {AGAIN}")
    try:
        with h5py.File(io.BytesIO(raw), "r") as file:
            yield file
    except DamagedFile:
        raise
    except (KeyError, OSError, ValueError) as error:
        raise DamagedFile(f"{path} lacks what it should hold ({error}); {AGAIN}") from error
