"""A line of moments as an episode on disk, in worldsim's own format. Knows no world."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import digest_of, write_json
from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import InvalidInput
from worldsim.playing.moments import Moment
from worldsim.types import Task, Trajectory, WorldSpec


def record(folder: str | Path, line: Sequence[Moment], task: Task, spec: WorldSpec) -> list[Path]:
    """Write what was played from a start to the last moment of `line`: below `folder` one file in `imagined`, another in `truth` if any.

    Each of the two is a folder of recordings by itself. The same game again gets the same name.

    Returns:
        The files, whole and on disk.

    Raises:
        InvalidInput: nothing was played yet.
        OSError: the disk is full, or the folder cannot be written to.
    """
    if len(line) < 2:
        raise InvalidInput("nothing was played yet from this start; take a step first")
    found = {"imagined": _episode(line, task, spec, "imagined")}
    if line[-1].truth:
        found["truth"] = _episode(line, task, spec, "truth")
    start = line[0]
    name = digest_of([start.start.id, start.seed, [[each.by, _tuned(each), each.action.tolist()] for each in line[1:]]])
    paths = []
    for world, trajectory in found.items():
        write_json(Path(folder) / world / "summary.json", {"action": asdict(spec.action)})
        paths.append(Path(folder) / world / f"play-{name}.h5")
        write_trajectory(paths[-1], trajectory)
    return paths


def _episode(line: Sequence[Moment], task: Task, spec: WorldSpec, world: str) -> Trajectory:
    start, drivers = line[0].start, [moment.by for moment in line[1:]]
    about: dict[str, Any] = {"world": world, "instruction": task.at(start).instruction, "fps": spec.action.rate_hz, "source": "play"}
    about |= {"policy": drivers[0] if len(set(drivers)) == 1 else "several", "by": drivers, "action": asdict(spec.action)}
    if world == "imagined":
        frames, states = np.stack([moment.frame for moment in line]), {}
        about["sampler"] = [_tuned(moment) for moment in line[1:]]
    else:
        frames = np.stack([moment.truth.frame for moment in line])
        states = {name: np.stack([moment.truth.states[name] for moment in line]) for name in line[0].truth.states}
    actions = np.stack([moment.action for moment in line[1:]])
    return Trajectory(task.id, frames, actions, line[0].seed, start.id, states, about)


def _tuned(moment: Moment) -> dict[str, Any] | None:
    return moment.tuning and asdict(moment.tuning)
