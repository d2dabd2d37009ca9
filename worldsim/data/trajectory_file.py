"""One HDF5 file per episode, checksummed: `Trajectory` in, the same `Trajectory` out. Knows nothing about who made it."""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from worldsim.data.files import written_whole
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.types import Trajectory

FORMAT = "worldsim-trajectory/1"


def _digest(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays, key=lambda item: item[0]):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@contextmanager
def written_hdf5(path: str | os.PathLike) -> Iterator[h5py.File]:
    """An HDF5 file to fill; when the block ends without an error it is written to `path` whole.

    It is built in memory, because HDF5 takes the process down with it when the disk fills up under an open file.
    """
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        yield file
    with written_whole(path) as aside:
        aside.write_bytes(stream.getbuffer())


def write_trajectory(path: str | os.PathLike, trajectory: Trajectory) -> None:
    """Write one episode; the file appears under its name only when it is complete and on disk.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    arrays = {"frames": trajectory.frames, "actions": trajectory.actions}
    arrays |= {f"states/{name}": np.asarray(values) for name, values in trajectory.states.items()}
    with written_hdf5(path) as file:
        for name, array in arrays.items():
            packing = {"compression": "gzip", "compression_opts": 1} if name == "frames" else {}
            file.create_dataset(name, data=array, **packing)
        file.attrs.update(
            format=FORMAT,
            task_id=trajectory.task_id,
            start_id=trajectory.start_id,
            seed=np.uint64(trajectory.seed),
            metadata=json.dumps(dict(trajectory.metadata)),
            sha256=_digest(arrays.items()),
        )


def read_trajectory(path: str | os.PathLike) -> Trajectory:
    """Read one episode back.

    Raises:
        DamagedFile: the file is missing, torn, of another format, or its content is not what its checksum promises.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise DamagedFile(f"{path} is not a trajectory file ({FORMAT}); import it with: worldsim import")
            arrays = {name: file[name][()] for name in ("frames", "actions")}
            arrays |= {f"states/{name}": values[()] for name, values in file.get("states", {}).items()}
            facts = {name: file.attrs[name] for name in ("task_id", "start_id", "seed", "metadata", "sha256")}
            facts["metadata"] = json.loads(facts["metadata"])
    except DamagedFile:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise DamagedFile(f"{path} cannot be read as a trajectory ({error}); delete it and run the command that made it again") from error
    if _digest(arrays.items()) != facts["sha256"]:
        raise DamagedFile(f"{path} does not match its checksum; delete it and run the command that made it again")
    return Trajectory(
        task_id=facts["task_id"],
        frames=arrays.pop("frames"),
        actions=arrays.pop("actions"),
        seed=int(facts["seed"]),
        start_id=facts["start_id"],
        states={name.removeprefix("states/"): values for name, values in arrays.items()},
        metadata=facts["metadata"],
    )


def trajectory_paths(folder: str | os.PathLike) -> list[Path]:
    """All episode files below `folder`, sorted by name.

    Raises:
        InvalidInput: there are none.
    """
    paths = sorted(path for path in Path(folder).rglob("*.h5") if not path.name.startswith("."))
    if not paths:
        raise InvalidInput(f"no episode files (*.h5) below {folder}; make some with: worldsim collect or worldsim import")
    return paths
