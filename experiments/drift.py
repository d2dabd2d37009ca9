"""Horizon drift as a part of an evaluation: what was really done in the run's task, replayed open loop in its world model.

The actions are those of the run's true episodes or, without a truth, of the recordings that the task is made of.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from worldsim.data.cameras import camera_of, seen_from
from worldsim.data.sealed import read_sealed, write_sealed
from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.evaluate import Clock, timed
from worldsim.experiments.open_loop import predict, psnr_by_step, success_agreement
from worldsim.experiments.probing import cut
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.setting import Setting, world_model_facts
from worldsim.report.open_loop import open_loop_path
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory


@dataclass(frozen=True)
class Source:
    """Whose actions are replayed: in words, and the trajectories by episode id or start."""

    words: str
    episodes: dict[str, Trajectory]


def measure_drift(folder: RunFolder, setting: Setting, config: EvaluateConfig) -> None:
    """Write the run's open_loop.json, unless it holds these very numbers, or those of recordings that `worldsim replay` put there.

    Raises:
        InvalidInput: the run has no true episode and its task no recording.
    """
    source = _source(folder, setting, config)
    key = {"data": source.words, "replayed": list(source.episodes), "seed": config.seed}
    held = _held(folder)
    if held and held.get("replayed") is None:
        print(f"{open_loop_path(folder)} holds a replay of {held.get('data')}, which stays; delete it to have drift={config.drift}")
        return
    if held and all(held.get(name) == value for name, value in key.items()):
        return
    with timed(folder) as clock:
        numbers = _numbers(source, setting, config, clock)
        clock.rollouts, clock.frames = len(source.episodes), sum(map(len, source.episodes.values()))
    facts = {"shuffled_actions": False, "world_model": setting.identity["world_model"], "sampler": setting.identity["sampler"]}
    write_sealed(open_loop_path(folder), numbers | facts | key)


def _numbers(source: Source, setting: Setting, config: EvaluateConfig, clock: Clock) -> dict[str, Any]:
    recorded = list(source.episodes.values())
    actions = [each.actions for each in recorded]
    model = setting.worlds["imagined"].model
    made = clock.measure("world_model", lambda: list(predict(model, recorded, actions, seed=config.seed, batch=config.batch)))
    judge = setting.identity["verifier"]["name"]
    agreement = clock.measure("verifier", lambda: success_agreement(made, judge, lambda: setting.verifier))
    return {**psnr_by_step(made), "success_agreement": agreement}


def _source(folder: RunFolder, setting: Setting, config: EvaluateConfig) -> Source:
    """The first `config.drift` of what there is."""
    found = {"true episodes of this run": _true(folder, setting), "recordings of the task": _recorded(setting, config)}
    for words, episodes in found.items():
        if chosen := dict(islice(episodes, config.drift)):
            return Source(words, chosen)
    raise InvalidInput(
        "drift needs to know what really happens: give truth=NAME, a task made of recordings (task=FOLDER), or replay some yourself: "
        f"worldsim replay data=FOLDER out={folder.path}"
    )


def _true(folder: RunFolder, setting: Setting) -> Iterator[tuple[str, Trajectory]]:
    """True episodes that did not break off: start by start, each from the next policy, then again with the policies moved on by one."""
    names = list(setting.facts)
    planned = {(each.policy, each.start.id): each.id for each in setting.planned if each.world == "truth"}
    starts = list(dict.fromkeys(start for _, start in planned))
    for shift in range(len(names)):
        for place, start in enumerate(starts):
            episode = planned[names[(place + shift) % len(names)], start]
            trajectory = folder.episode(episode)
            if "fault" not in trajectory.metadata:
                yield episode, trajectory


def _recorded(setting: Setting, config: EvaluateConfig) -> Iterator[tuple[str, Trajectory]]:
    """The recordings of the task in the order of its starts, each from its start on and at most as long as the horizon."""
    camera = camera_of(world_model_facts(config.world_model)[1])
    for start in setting.task.starts:
        if start.recording:
            recorded = cut(seen_from(read_trajectory(start.recording), camera), len(start.frames) - 1, setting.task.horizon)
            if len(recorded):
                yield start.id, recorded


def _held(folder: RunFolder) -> dict[str, Any] | None:
    """What is there already; a file that cannot be read is made anew."""
    try:
        return read_sealed(open_loop_path(folder), "it is made anew")
    except DamagedFile:
        return None
