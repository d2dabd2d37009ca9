"""The recordings that a world model is trained on: found, recorded where a preset allows it, and what their actions mean."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from worldsim.errors import InvalidInput
from worldsim.registry import TRUTHS, did_you_mean
from worldsim.types import ActionSpec, Trajectory


def recordings_folder(data: str, episodes: int | None = None) -> Path:
    """The folder `data`; or, where `data` names a true world, `data/NAME`, recorded now if `episodes` says how many.

    Raises:
        InvalidInput: there is no such folder and nothing may be recorded.
    """
    if Path(data).is_dir() or data not in TRUTHS:
        return Path(data)
    folder = Path("data") / data
    if folder.is_dir():
        return folder
    if episodes is None:
        raise InvalidInput(f"{folder} holds no recordings of {data}; type: worldsim collect truth={data} out={folder}")
    return _recorded(data, Path(f"{folder}-{episodes}"), episodes)


def _recorded(truth: str, folder: Path, episodes: int) -> Path:
    from worldsim.experiments import collect
    from worldsim.experiments.schema import CollectConfig

    print(f"data/{truth} is not there; recording {episodes} episodes of {truth} to {folder}")
    for split, count in (("train", episodes), ("validation", max(2, episodes // 4))):
        collect.run(CollectConfig(out=str(folder), episodes=count, truth=truth, split=split))
    return folder


def read_split(data: Path, split: str, camera: str | None = None, limit: int | None = None, task: str | None = None) -> list[Trajectory]:
    """The recorded episodes of a split, at most `limit`, as `camera` saw them; real recordings without such a folder give all they have.

    With `task`, those of that task only.

    Raises:
        InvalidInput: no episode of that task, seeds of another split in this folder, or pictures of several sizes.
        UnknownName: an episode without pictures of that camera.
    """
    from worldsim.data.cameras import seen_from
    from worldsim.data.splits import OWN, require_split, split_folder

    trajectories = [seen_from(each, camera) for _, each in islice(episodes_of(split_folder(data, split), task), limit)]
    if len(sizes := {trajectory.frames.shape[1:3] for trajectory in trajectories}) > 1:
        raise InvalidInput(f"the pictures below {data} are of several sizes, {sorted(sizes)}; import them with resize=64 or another size")
    for trajectory in trajectories:
        if trajectory.task_id in OWN:
            require_split(trajectory.seed, split)
    return trajectories


def episodes_of(folder: Path, task: str | None = None) -> Iterator[tuple[Path, Trajectory]]:
    """The recorded episodes below a folder with their files, one by one; with `task`, those of that task only.

    Raises:
        InvalidInput: there are none of it; the line says of which there are.
    """
    from worldsim.data.trajectory_file import read_trajectory, trajectory_paths

    others, found = set(), False
    for path in trajectory_paths(folder):
        trajectory = read_trajectory(path)
        if task in (None, trajectory.task_id):
            found = True
            yield path, trajectory
        else:
            others.add(trajectory.task_id)
    if others and not found:
        raise InvalidInput(f'no episode below {folder} is of task "{task}"; {did_you_mean(str(task), sorted(others))}')


def action_spec(data: Path) -> ActionSpec:
    """What the recorded actions mean: what `worldsim import` or `worldsim collect` found, else the drawer's own."""
    from worldsim.envs.drawer.physics import ACTION

    summary = data / "summary.json"
    return ActionSpec(**json.loads(summary.read_text(encoding="utf-8"))["action"]) if summary.exists() else ACTION
