"""Reader of RECON, a mobile robot's drives (Shah et al. 2021), as they were released and as NWM and Vid2World take them apart.

    PATH/**/NAME.hdf5                 images/rgb_left (JPEGs), jackal/position [T, 2 or 3] in metres, jackal/yaw [T] in radians;
                                      commands/linear_velocity, commands/angular_velocity and gps/latlong become states
    PATH/**/NAME/traj_data.pkl        position [T, 2] and yaw [T], read as numbers, never as code (`worldsim.data.plain_pickle`)
    PATH/**/NAME/0.jpg, 1.jpg, ...

An action is how the robot's pose changed between two frames, seen from the first of them: metres forward and left, divided by the 0.25 m
of a waypoint, then mapped from [-2.5, 5] and [-4, 4] to [-1, 1] and never clipped, so that standing still is -1/3 forward; and the turn
to the left in radians, wrapped to [-pi, pi). This is
what Vid2World's checkpoints take (vid2world specification, section 7). 4 frames per second.

The files carry no checksum: a changed bit in a picture or a position is not found. The published lists of training and test drives are not
at hand; `worldsim.data.splits.hash_split` holds out a fifth, as large a part as theirs.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from worldsim.data.file_tree import describe_lost, files_below, leads_nowhere
from worldsim.data.foreign_hdf5 import array_of, checked, foreign_hdf5
from worldsim.data.jpegs import decoded_jpegs
from worldsim.data.plain_pickle import read_plain_pickle
from worldsim.data.recording import RECORDING_FORMATS, Recording, refused
from worldsim.data.splits import hash_split
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.types import Trajectory

NAMES = ("forward", "left", "yaw")
RATE_HZ = 4.0
CAMERA = "rgb_left"
ACTION = {"names": list(NAMES), "rate_hz": RATE_HZ, "frame": "tool", "rotation": "none", "gripper": "none"}
SHARES = {"train": 0.8, "validation": 0.2}
WAYPOINT = 0.25  # metres
LOW, HIGH = np.array([-2.5, -4.0]), np.array([5.0, 4.0])  # waypoints, forward and left, that become -1 and 1
LARGEST = 1e6
COMMANDS = {"linear_velocity": "commands/linear_velocity", "angular_velocity": "commands/angular_velocity", "latlong": "gps/latlong"}


def read_recon(path: str | os.PathLike, *, limit: int | None = None) -> Iterator[Recording]:
    """The drives in a folder and those below it, of either layout, by name; nothing is opened before `Recording.read`.

    Raises:
        InvalidInput: there is none, or two have one name.
    """
    root = Path(path)
    files = [root] if root.is_file() else files_below(root)
    drives = {file: file.stem for file in files if file == root or file.suffix == ".hdf5"}
    drives |= {file.parent: file.parent.name for file in files if file.name in ("traj_data.pkl", "0.jpg")}  # read, or named as unreadable
    gone = [file for file in files if leads_nowhere(file) and not {file, file.parent} & drives.keys()]
    lost = [refused("train", file.name, describe_lost(file)) for file in gone]
    if not drives and not lost:
        raise InvalidInput(f"{path} holds neither *.hdf5 nor NAME/traj_data.pkl; give the folder that the drives lie in")
    found = sorted(drives, key=lambda place: (drives[place], str(place)))
    for earlier, later in zip(found, found[1:], strict=False):
        if drives[earlier] == drives[later]:
            raise InvalidInput(f"{earlier} and {later} have one name; import their folders one by one")
    read = (Recording(hash_split(drives[place], SHARES), drives[place], partial(_read, place)) for place in found)
    return islice(chain(read, lost), limit)


def actions_between(position: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """How the pose changed: metres `[T, 2]` and radians `[T]` to actions float32 `[T - 1, 3]`, by the rule on top of this file."""
    way = np.diff(position, axis=0)
    cos, sin = np.cos(yaw[:-1]), np.sin(yaw[:-1])
    local = np.stack([cos * way[:, 0] + sin * way[:, 1], cos * way[:, 1] - sin * way[:, 0]], axis=1)
    mapped = 2 * (local / WAYPOINT - LOW) / (HIGH - LOW) - 1
    turn = (np.diff(yaw) + np.pi) % (2 * np.pi) - np.pi
    return np.concatenate([mapped, turn[:, None]], axis=1).astype(np.float32)


def _read(place: Path) -> Trajectory:
    pictures, states = _folder(place) if place.is_dir() else _hdf5(place)
    position, yaw = states["position"], states["yaw"]
    if len(position) < 2 or not len(position) == len(yaw) == len(pictures):
        raise InvalidInput(f"{len(pictures)} pictures for {len(position)} positions and {len(yaw)} angles, expected as many, at least 2")
    if not ((np.abs(position) < LARGEST).all() and (np.abs(yaw) < LARGEST).all()):  # NaN counts as outside
        raise InvalidInput(f"a position or angle is not a number within {LARGEST:g} metres or radians")
    name = place.name if place.is_dir() else place.stem
    return Trajectory(
        task_id="import",
        frames=pictures,
        actions=actions_between(position, yaw),
        states=states,
        metadata={
            "source": "recon",
            "split": hash_split(name, SHARES),
            "episode": name,
            "camera": CAMERA,
            "instruction": "",
            "fps": RATE_HZ,
            "action": ACTION,
        },
    )


def _folder(folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    table = read_plain_pickle(folder / "traj_data.pkl")
    if not isinstance(table, Mapping) or not {"position", "yaw"} <= table.keys():
        raise DamagedFile('traj_data.pkl holds no "position" and "yaw"')
    states = {"position": _numbers(table["position"], "position"), "yaw": _numbers(table["yaw"], "yaw")}
    found = {file.name for file in folder.glob("*.jpg")}
    wanted = [f"{i}.jpg" for i in range(len(states["position"]))]
    if found != set(wanted):
        raise InvalidInput(f"{len(found)} pictures for {len(wanted)} positions, expected 0.jpg to {len(wanted) - 1}.jpg")
    return decoded_jpegs(_content(folder / name) for name in wanted), states


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DamagedFile(f"{file.name} cannot be read ({error.strerror})") from error


def _hdf5(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    with foreign_hdf5(path) as file:
        states = {
            "position": _numbers(array_of(file, "jackal/position", (None, None)), "position"),
            "yaw": _numbers(array_of(file, "jackal/yaw", (None,) * _depth(file, "jackal/yaw")), "yaw"),
        }
        count = len(states["position"])
        for name, inside in COMMANDS.items():
            if inside in file:
                states[name] = array_of(file, inside, (count, *(None,) * (_depth(file, inside) - 1)))
        encoded = checked(file, f"images/{CAMERA}", (count, *(None,) * (_depth(file, f"images/{CAMERA}") - 1)), "SVOu")
        return decoded_jpegs(np.asarray(encoded[i]).tobytes() for i in range(count)), states


def _depth(file: h5py.File, name: str) -> int:
    """How many sides an array has, 1 or 2; the check that follows refuses whatever else stands there."""
    return min(2, max(1, len(getattr(file.get(name), "shape", None) or ())))


def _numbers(value: Any, name: str) -> np.ndarray:
    """A position as float64 `[T, 2]`, a yaw as float64 `[T]`."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise DamagedFile(f"{name} is {type(value).__name__}, expected an array of numbers")
    if name == "yaw" and value.ndim == 2 and value.shape[1] == 1:
        value = value[:, 0]
    if (name == "yaw" and value.ndim != 1) or (name == "position" and (value.ndim != 2 or value.shape[1] not in (2, 3))):
        raise DamagedFile(f"{name} has shape {list(value.shape)}, expected {'[T]' if name == 'yaw' else '[T, 2]'}")
    return value[:, :2].astype(np.float64) if name == "position" else value.astype(np.float64)


@RECORDING_FORMATS.register("recon")
@dataclass(frozen=True)
class Recon:
    """RECON's drives of a mobile robot, as HDF5 or as a folder of pictures each, with waypoint actions."""

    path: str
    camera: str | None = None
    limit: int | None = None

    def build(self) -> Iterator[Recording]:
        """Its drives, unread."""
        if self.camera not in (None, CAMERA):
            raise UnknownName(f'recon has no camera "{self.camera}"; "{CAMERA}" is read')
        return read_recon(self.path, limit=self.limit)
