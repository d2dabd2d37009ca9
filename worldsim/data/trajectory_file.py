"""One HDF5 file per episode, checksummed: `Trajectory` in, the same `Trajectory` out. Knows nothing about who made it."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from worldsim.data.checked_hdf5 import read_hdf5, written_hdf5
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.types import Trajectory

FORMAT = "worldsim-trajectory/1"


def write_trajectory(path: str | os.PathLike, trajectory: Trajectory) -> None:
    """Write one episode; the file appears under its name only when it is complete and on disk.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    with written_hdf5(path) as file:
        file.create_dataset("frames", data=trajectory.frames, compression="gzip", compression_opts=1)
        for name, view in trajectory.views.items():
            file.create_dataset(f"views/{quote(name, safe='')}", data=view, compression="gzip", compression_opts=1)
        file["actions"] = trajectory.actions
        for name, values in trajectory.states.items():
            packed = {"compression": "gzip", "compression_opts": 1} if np.ndim(values) > 2 else {}  # maps, such as depth
            file.create_dataset(f"states/{name}", data=np.asarray(values), **packed)
        file.attrs.update(
            format=FORMAT,
            task_id=trajectory.task_id,
            start_id=trajectory.start_id,
            seed=np.uint64(trajectory.seed),
            metadata=json.dumps(dict(trajectory.metadata)),
        )


def read_trajectory(path: str | os.PathLike) -> Trajectory:
    """Read one episode back.

    Raises:
        DamagedFile: the file is missing, torn, of another format, or its content is not what its checksum promises.
    """
    with read_hdf5(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise DamagedFile(f"{path} is not a trajectory file ({FORMAT}); import it with: worldsim import")
        return Trajectory(
            task_id=file.attrs["task_id"],
            frames=file["frames"][()],
            actions=file["actions"][()],
            seed=int(file.attrs["seed"]),
            start_id=file.attrs["start_id"],
            states={name: values[()] for name, values in file.get("states", {}).items()},
            metadata=json.loads(file.attrs["metadata"]),
            views={unquote(name): view[()] for name, view in file.get("views", {}).items()},  # files before views have none
        )


def read_about(path: str | os.PathLike) -> dict[str, Any]:
    """What an episode file says of itself beside its arrays: task_id, start_id, seed and metadata. No frame is decoded.

    Raises:
        DamagedFile: as `read_trajectory`.
    """
    with read_hdf5(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise DamagedFile(f"{path} is not a trajectory file ({FORMAT}); import it with: worldsim import")
        about = {key: file.attrs[key] for key in ("task_id", "start_id")}
        return {**about, "seed": int(file.attrs["seed"]), "metadata": json.loads(file.attrs["metadata"])}


def trajectory_paths(folder: str | os.PathLike) -> list[Path]:
    """All episode files below `folder`, sorted by name.

    Raises:
        InvalidInput: there are none.
    """
    paths = sorted(path for path in Path(folder).rglob("*.h5") if not path.name.startswith("."))
    if not paths:
        raise InvalidInput(f"no episode files (*.h5) below {folder}; make some with: worldsim collect or worldsim import")
    return paths
