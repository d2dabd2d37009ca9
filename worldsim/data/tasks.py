"""Tasks: what is asked, and where an episode begins. The shipped ones begin at held-out scenes; recordings make one too."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from worldsim.data.cameras import seen_from
from worldsim.data.checked_hdf5 import read_hdf5, written_hdf5
from worldsim.data.files import digest_of
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.registry import TASKS
from worldsim.types import Start, Task


def write_starts(path: Path, task: Task) -> None:
    """Write a task with its starts (one first frame each) to a file."""
    about = {"id": task.id, "instruction": task.instruction, "horizon": task.horizon, "success_rule": task.success_rule}
    with written_hdf5(path) as file:
        file.attrs["task"] = json.dumps(about)
        file.create_dataset("frames", data=np.stack([start.frames for start in task.starts]), compression="gzip", compression_opts=9)
        file["seeds"] = np.array([start.seed for start in task.starts], dtype=np.uint64)


@cache
def read_starts(path: Path) -> Task:
    """A task from a file of starts.

    Raises:
        DamagedFile: the file is missing, damaged or not such a file.
    """
    with read_hdf5(path) as file:
        about, frames, seeds = json.loads(file.attrs["task"]), file["frames"][()], file["seeds"][()].tolist()
    return Task(**about, starts=tuple(Start(f"{seed:07d}", row, seed) for seed, row in zip(seeds, frames, strict=True)))


def digest_of_starts(task: Task) -> str:
    """A short name for all initial conditions of a task: their ids, seeds and frames, and their instructions where they have their own."""
    frames = [hashlib.sha256(np.ascontiguousarray(start.frames).tobytes()).hexdigest() for start in task.starts]
    asked = [[start.instruction] if start.instruction else [] for start in task.starts]
    return digest_of([[start.id, start.seed, frame, *own] for start, frame, own in zip(task.starts, frames, asked, strict=True)])


def recorded_task(folder: str | Path, camera: str | None = None) -> Task:
    """The task of doing what was recorded below `folder`: one start per episode, at its first frame, with what was asked in it.

    The horizon is the longest episode's; `camera` says whose pictures, None is the frames'.

    Raises:
        InvalidInput: no episode files there.
        UnknownName: an episode without pictures of `camera`.
    """
    starts, longest, instructions = [], 1, set()
    for path in trajectory_paths(folder):
        trajectory = seen_from(read_trajectory(path), camera)
        name = path.relative_to(folder).with_suffix("").as_posix()  # unique below the folder, and the same wherever the folder lies
        asked = str(trajectory.metadata.get("instruction", ""))
        starts.append(Start(name, trajectory.frames[:1], int(digest_of(name), 16) % 2**32, str(path), asked or None))
        longest = max(longest, len(trajectory))
        instructions.add(asked)
    instruction = instructions.pop() if len(instructions) == 1 else "what was recorded"
    return Task(Path(folder).resolve().name, instruction, longest, tuple(starts))


@TASKS.register("drop")
@dataclass
class DropTask:
    """Let the ball fall and push it over the line, from held-out starts that ship with worldsim."""

    def build(self) -> Task:
        """Read the starts."""
        return shipped_task("drop")


def shipped_task(name: str) -> Task:
    """A task that comes with worldsim."""
    return read_starts(Path(str(files("worldsim"))) / "weights" / "tasks" / f"{name}.h5")
