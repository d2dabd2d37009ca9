"""Reader of the Counter-Strike recordings of Pearce and Zhu (arXiv 2104.04258), HDF5 files of 1000 frames at 16 Hz.

    PATH/**/NAME_NUMBER.hdf5    frame_I_x          uint8 [150, 280, 3], blue first
                                frame_I_y          the action taken from it, 51 zeros and ones (`worldsim.data.csgo_actions`)
                                frame_I_helperarr  [the player killed, the player died]
                                frame_I_xaux       earlier actions once more, health, ammunition, team; not read

The action of the last frame leads nowhere and is dropped. DIAMOND's 500 test files are the split "validation", all others "train".
The files carry no checksum: an action that is none is found, as is every loss of frames; a changed bit in a picture or a key is not.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

import h5py
import numpy as np

from worldsim.data.csgo_actions import NAMES, check_actions
from worldsim.data.file_tree import describe_lost, files_below, leads_nowhere
from worldsim.data.foreign_hdf5 import array_of, foreign_hdf5
from worldsim.data.published_splits import published_split
from worldsim.data.recording import RECORDING_FORMATS, Recording, refused
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.types import Trajectory

RATE_HZ = 16.0
CAMERA = "screen"
ACTION = {"names": list(NAMES), "rate_hz": RATE_HZ, "frame": "base", "rotation": "none", "gripper": "none"}
LONGEST_SIDE = 4096


def read_csgo(path: str | os.PathLike, *, frames: int = 1000, limit: int | None = None) -> Iterator[Recording]:
    """The recordings in a folder and those below it, by name and number; nothing is opened before `Recording.read`.

    Args:
        path: the folder, or one file.
        frames: what every file must hold.
        limit: at most this many.

    Raises:
        InvalidInput: there is none, two have one name, or `frames` is below 2.
    """
    if not isinstance(frames, int) or frames < 2:
        raise InvalidInput(f"frames is {frames}, expected the number that every file holds, at least 2")
    root = Path(path)
    files = [root] if root.is_file() else files_below(root)
    found = sorted((file for file in files if file == root or file.suffix == ".hdf5"), key=_place)
    lost = [refused("train", file.name, describe_lost(file)) for file in files if file.suffix != ".hdf5" and leads_nowhere(file)]
    if not found and not lost:
        raise InvalidInput(f"{path} holds no *.hdf5; give the folder that the recordings were unpacked into")
    for earlier, later in zip(found, found[1:], strict=False):
        if earlier.stem == later.stem:
            raise InvalidInput(f"{earlier} and {later} have one name; import their folders one by one")
    split = published_split("csgo").split_of
    read = (Recording(split(file.stem), file.stem, partial(_read, file, split(file.stem), frames)) for file in found)
    return islice(chain(read, lost), limit)


def _place(file: Path) -> tuple[str, int, str]:
    """The sorting key of a file: its name without the number, then the number."""
    name, number = re.fullmatch(r"(.*?)([0-9]*)", file.stem, re.DOTALL).groups()
    return name, int(number or 0), str(file)


def _read(path: Path, split: str, frames: int) -> Trajectory:
    with foreign_hdf5(path) as file:
        count = sum(re.fullmatch(r"frame_[0-9]+_x", name) is not None for name in file)
        if count != frames:
            raise DamagedFile(f"the file holds {count} frames, expected {frames}")
        pictures = _pictures(file, frames)
        actions = np.stack([array_of(file, f"frame_{i}_y", (len(NAMES),)) for i in range(frames)])
        events = np.stack([array_of(file, f"frame_{i}_helperarr", (2,)) for i in range(frames)])
    if not np.isin(events, (0, 1)).all():
        raise DamagedFile("a helperarr has a number that is neither 0 nor 1")
    return Trajectory(
        task_id="import",
        frames=pictures,
        actions=check_actions(actions)[:-1],
        states={"kill": events[:, 0].astype(np.uint8), "death": events[:, 1].astype(np.uint8)},
        metadata={
            "source": "csgo",
            "split": split,
            "episode": path.stem,
            "camera": CAMERA,
            "instruction": "",
            "fps": RATE_HZ,
            "action": ACTION,
        },
    )


def _pictures(file: h5py.File, count: int) -> np.ndarray:
    """All frames, red first: uint8 `[count, H, W, 3]`."""
    first = array_of(file, "frame_0_x", (None, None, 3), "u")
    if first.dtype != np.uint8 or not 0 < min(first.shape) <= max(first.shape) <= LONGEST_SIDE:
        raise DamagedFile(f"frame 0 is {first.dtype} {list(first.shape)}, expected uint8 [150, 280, 3]")
    pictures = np.empty((count, *first.shape), dtype=np.uint8)
    for i in range(count):
        found = array_of(file, f"frame_{i}_x", first.shape, "u")
        if found.dtype != np.uint8:
            raise DamagedFile(f"frame {i} is {found.dtype}, expected uint8")
        pictures[i] = found[..., ::-1]
    return pictures


@RECORDING_FORMATS.register("csgo")
@dataclass(frozen=True)
class Csgo:
    """Counter-Strike of Pearce and Zhu: HDF5 files of 1000 frames at 16 Hz, 51 keys, buttons and mouse steps.

    Attributes:
        frames: how many each file holds.
    """

    path: str
    camera: str | None = None
    limit: int | None = None
    frames: int = 1000

    def build(self) -> Iterator[Recording]:
        """Its recordings, unread."""
        if self.camera not in (None, CAMERA):
            raise UnknownName(f'csgo has no camera "{self.camera}"; it has one picture, "{CAMERA}"')
        return read_csgo(self.path, frames=self.frames, limit=self.limit)
