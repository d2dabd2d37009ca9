"""HDF5 files that somebody else wrote: opened, and every array checked for its shape before it is read. Knows no data set.

Such files carry no checksum. What breaks their structure is found; a changed bit inside a picture or a measured number is not.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from worldsim.errors import DamagedFile, WorldsimError

LARGEST = 2**30  # bytes of one array; nobody's frame or table is larger


@contextmanager
def foreign_hdf5(path: str | os.PathLike) -> Iterator[h5py.File]:
    """The file at `path`, open for reading; whatever HDF5 stumbles over inside the block is told as a damaged file.

    Raises:
        DamagedFile: it is missing, torn, or no HDF5 file.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except WorldsimError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DamagedFile(f"the HDF5 file cannot be read ({reason}); copy it again from where it came") from error


def array_of(file: h5py.File, name: str, shape: tuple[int | None, ...], kinds: str = "fiub") -> np.ndarray:
    """The array `name` of a file.

    Args:
        file: open for reading.
        name: its path in the file.
        shape: expected sides; None where any will do.
        kinds: numpy's letters of the kinds of number that will do.

    Raises:
        DamagedFile: there is none, or one of another shape or kind.
    """
    return checked(file, name, shape, kinds)[()]


def checked(file: h5py.File, name: str, shape: tuple[int | None, ...], kinds: str) -> h5py.Dataset:
    """The array `name` of a file, not yet read. Raises as `array_of` does."""
    found: Any = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise DamagedFile(f'"{name}" is missing')
    fits = len(found.shape or ()) == len(shape) and all(want in (None, side) for want, side in zip(shape, found.shape or (), strict=True))
    if not fits or found.dtype.kind not in kinds or found.size * found.dtype.itemsize > LARGEST:
        wanted = ["any" if side is None else side for side in shape]
        raise DamagedFile(f'"{name}" is {found.dtype} {list(found.shape or ())}, expected {wanted}')
    return found
