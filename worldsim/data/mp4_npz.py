"""Reader of pairs of a video and numpy's arrays: NAME.mp4 and NAME.npz, in a folder and those below it.

The array of actions is the one named by `key`, or the only one, `[rows, A]`, with a row for every frame or for every step between two.
Arrays of Python objects are refused. What an action means is for the user to say; for example BridgeData as world-model-eval's sample
has it (arrays `arr_0` `[T, 10]`: x, y, z, roll, pitch, yaw and gripper, then three zeros of a base that stands still, rescaled to about
[-1, 1], gripper -1 open and 1 closed) is

    options='{names: [x,y,z,roll,pitch,yaw,gripper,base_x,base_y,base_yaw], rate: 5}'

whose rescaled rotation and gripper no word of `ActionSpec` describes, so that both stay "none" and their names say what they are.
"""

import io
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from worldsim.data.paired import Meaning, Pair, PairedOptions, Rows, Told, pairs_below
from worldsim.data.recording import RECORDING_FORMATS, Recording
from worldsim.data.whole_video import whole_video
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import Trajectory

LARGEST = 2**28  # bytes of an array of actions
_TORN = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError)
_ABSURD = (TypeError, SyntaxError, OverflowError, MemoryError, NotImplementedError)


def read_mp4_npz(
    path: str | os.PathLike, *, key: str | None = None, meaning: Meaning | None = None, rows: str | None = None, limit: int | None = None
) -> Iterator[Recording]:
    """The pairs in a folder, by split and name; nothing is opened before `Recording.read`.

    Args:
        path: the folder.
        key: name of the array of actions; None where there is one only.
        meaning: what an action means.
        rows: "frames" or "steps"; None takes either, and an import all as in its first episode.
        limit: at most this many episodes.

    Raises:
        InvalidInput: no videos there, `rows` is another word, or `key` is no text.
    """
    if key is not None and not isinstance(key, str):
        raise InvalidInput(f"key is {key}, expected the name of an array")
    told = Told("mp4-npz", meaning or Meaning(), Rows(rows))
    return islice(
        (Recording(pair.split, pair.name, partial(_read, told, key, pair)) for pair in pairs_below(Path(path), ".npz", (".mp4",))), limit
    )


def actions_in(path: Path, key: str | None) -> np.ndarray:
    """The array of actions of an npz file, its checksum checked.

    Raises:
        DamagedFile: the file is torn, or the array one of objects.
        UnknownName: no array of this name.
        InvalidInput: several arrays and no name, or an array of something else than numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")}
            chosen = arrays[_chosen(key, list(arrays))]
            if chosen.file_size > LARGEST:
                raise InvalidInput(f'array "{chosen.filename}" has more than {LARGEST >> 20} MB')
            array = np.lib.format.read_array(io.BytesIO(archive.read(chosen)), allow_pickle=False)
    except (InvalidInput, UnknownName):
        raise
    except (*_TORN, *_ABSURD) as error:
        raise DamagedFile(f"{path.name} cannot be read as arrays of numbers ({' '.join(str(error).split())[:80]})") from error
    if array.dtype.kind not in "fiub":
        raise InvalidInput(f"actions are {array.dtype}, expected numbers")
    return array


def _chosen(key: str | None, known: Sequence[str]) -> str:
    if key is not None and key not in known:
        raise UnknownName(f'no array "{key}"; {did_you_mean(key, known)}')
    if key is None and len(known) != 1:
        raise InvalidInput(f"{len(known)} arrays ({', '.join(sorted(known))[:80]}), expected 1; type options='{{key: NAME}}'")
    return known[0] if key is None else key


def _read(told: Told, key: str | None, pair: Pair) -> Trajectory:
    footage, actions = whole_video(pair.video()), actions_in(pair.table(), key)
    width = actions.shape[1] if actions.ndim == 2 else 0
    return told.trajectory(pair, footage, actions, [f"action_{i}" for i in range(width)], pair.instruction())


@RECORDING_FORMATS.register("mp4-npz")
@dataclass(frozen=True)
class Mp4Npz(PairedOptions):
    """Pairs of NAME.mp4 and NAME.npz; what the actions mean is said by names, rate, frame, rotation and gripper.

    Attributes:
        key: name of the array of actions; None where there is one only.
    """

    key: str | None = None

    def build(self) -> Iterator[Recording]:
        """Its episodes, unread."""
        return read_mp4_npz(self.path, key=self.key, meaning=self.meaning("mp4-npz"), rows=self.rows, limit=self.limit)
