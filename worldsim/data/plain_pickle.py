"""Numbers and text out of a pickle file, without running any of it. Knows no data set.

A pickle is a program. This reader steps through it with Python's own machine, and the only names that the program may use are the dozen
that numpy writes for its arrays. Each stands for a small stand-in of ours: neither numpy's code nor anybody else's sees what the file says.
"""

import io
import os
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import DamagedFile

LARGEST = 2**24  # bytes of a file; the tables that are kept in pickles are small
_BANNED = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"}
_NUMBER = re.compile("[?biuf][1248]?")  # numpy's short names of numbers without their byte order


def read_plain_pickle(path: str | os.PathLike) -> Any:
    """What a pickle file holds, made of dicts, lists, tuples, text, numbers and numpy arrays of numbers.

    Raises:
        DamagedFile: the file is missing, torn or too large, or it names anything else; nothing of it is run.
    """
    try:
        if Path(path).stat().st_size > LARGEST:
            raise DamagedFile(f"{path} is larger than {LARGEST >> 20} MB, expected a small pickle of numbers")
        data = Path(path).read_bytes()
    except OSError as error:
        raise DamagedFile(str(error) if isinstance(error, DamagedFile) else f"{path} cannot be read ({error.strerror})") from error
    try:
        _refuse_strange_steps(data)
        return _unwrapped(_PlainUnpickler(io.BytesIO(data)).load())
    except _Refused as error:
        raise DamagedFile(f"{path} is no pickle of plain numbers: it {error}; nothing of it was run") from error
    except Exception as error:  # a torn pickle can end in nearly any error of the machine that reads it
        raise DamagedFile(f"{path} is no readable pickle ({type(error).__name__}); copy it again from where it came") from error


class _Refused(Exception):
    """The end of a sentence that begins with "it"."""


def _refuse_strange_steps(data: bytes) -> None:
    """Look through the steps of the program before any is taken: no object but by a name, no room for more than the file can fill."""
    for step, argument, _ in pickletools.genops(data):
        if step.name in _BANNED:
            raise _Refused(f"makes objects ({step.name})")
        if step.name in ("PUT", "LONG_BINPUT") and argument > len(data):  # would reserve memory for that many
            raise _Refused("counts more parts than it has")


class _PlainUnpickler(pickle.Unpickler):
    """Python's machine with a list of names that is made anew for each file, so that no file can change what another sees."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._names = _stand_ins()

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name that numpy writes; every other is refused."""
        if (module, name) not in self._names:
            raise _Refused(f"names {f'{module}.{name}'[:80].encode('unicode_escape').decode()}")
        return self._names[module, name]


def _stand_ins() -> dict[tuple[str, str], Callable[..., Any]]:
    """What numpy 1 and 2 write into a pickle for arrays, scalars and their types, at every protocol."""

    class Array:
        """An array whose shape and bytes come in a second step."""

        value: np.ndarray | None = None

        def __setstate__(self, state: tuple) -> None:
            _, shape, kind, by_columns, raw = state
            self.value = _array(raw, kind, shape, "F" if by_columns else "C")

    class Kind:
        """A type of number: its short name, and its byte order once that is told."""

        def __init__(self, name: str, *_: Any) -> None:
            if not isinstance(name, str) or not _NUMBER.fullmatch(name):
                raise _Refused("holds arrays of something else than numbers")
            self.name, self.order = name, "="

        def __setstate__(self, state: tuple) -> None:
            if state[1] not in ("<", ">", "=", "|") or state[3] is not None or state[4] is not None:
                raise _Refused("holds arrays of something else than numbers")
            self.order = state[1]

    class Marker:
        """The class of arrays, which is only ever passed along."""

    def bytes_of(text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise _Refused(f"asks for the code {str(encoding)[:20]}")
        return text.encode("latin1")

    def scalar(kind: Any, raw: bytes) -> Any:
        return _array(raw, kind, (), "C")[()]

    names: dict[tuple[str, str], Callable[..., Any]] = {("numpy", "ndarray"): Marker, ("numpy", "dtype"): Kind}
    names["_codecs", "encode"] = bytes_of
    names["__builtin__", "bytes"] = lambda: b""  # how the old protocols write no bytes at all
    for module in ("numpy.core", "numpy._core"):
        names[f"{module}.multiarray", "_reconstruct"] = lambda *_: Array()
        names[f"{module}.multiarray", "scalar"] = scalar
        names[f"{module}.numeric", "_frombuffer"] = lambda raw, kind, shape, order: _array(raw, kind, shape, order)
    return names


def _array(raw: Any, kind: Any, shape: tuple[int, ...], order: Any) -> np.ndarray:
    """An array of numbers out of its bytes; ValueError where there are too few or too many."""
    flat = np.frombuffer(bytes(raw), dtype=np.dtype(kind.order + kind.name if kind.order != "|" else kind.name))
    return flat.reshape(shape, order="F" if order == "F" else "C").copy()


def _unwrapped(value: Any) -> Any:
    """The same with every stand-in of an array replaced by its array."""
    if isinstance(value, dict):
        return {key: _unwrapped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_unwrapped(each) for each in value)
    if value is None or isinstance(value, str | bytes | int | float | np.ndarray | np.generic):
        return value
    if isinstance(getattr(value, "value", None), np.ndarray):
        return value.value
    raise _Refused("holds something else than numbers and text")
