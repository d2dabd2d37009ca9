"""An episode of a run as it can be played again: found by its id, its parts loaded as the run recorded them, and checked against it.

Plays nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from worldsim.errors import DamagedFile, InvalidInput, RunMismatch, UnknownName
from worldsim.evaluate import Episode
from worldsim.experiments.probing import probe_of, probe_setting
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.setting import Setting, chosen_verifier, prepare, world_model_facts
from worldsim.registry import did_you_mean
from worldsim.report.probe import has_probe, probe_path
from worldsim.report.run_config import difference, shown
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory

SHOWN = 3  # ids that an error names


@dataclass(frozen=True)
class PastEpisode:
    """One episode on disk, and the setting in which `planned` plays it again.

    Attributes:
        run: the run.
        folder: the run folder that holds it: the run, or its probe.
        episode: its id there.
        trajectory: what is on disk.
        strict: whether its bits are promised.
        changed: sampler and world model, old and new, where another way of imagining was asked for.
    """

    run: RunFolder
    folder: RunFolder
    episode: str
    trajectory: Trajectory
    setting: Setting
    planned: Episode
    strict: bool
    changed: Mapping[str, tuple[Any, Any]]


def locate(run: RunFolder, wanted: str) -> tuple[RunFolder, str]:
    """The folder (the run, or its probe) and the whole id of the one episode whose id begins with `wanted`.

    Raises:
        UnknownName: no episode's does.
        InvalidInput: several do.
    """
    folders = [run, RunFolder(probe_path(run))] if has_probe(run) else [run]
    ids = {episode: folder for folder in reversed(folders) for episode in folder.episode_ids()}
    found = [wanted] if wanted in ids else sorted(episode for episode in ids if wanted and episode.startswith(wanted))
    if len(found) == 1:
        return ids[found[0]], found[0]
    if found:
        raise InvalidInput(f'"{wanted}" begins the ids of {len(found)} episodes of {run.path} ({_some(found)}); give more of it')
    if not ids:
        raise UnknownName(
            f"{run.path} has no episodes yet; go on with it: {run.config.get('command', f'worldsim evaluate run={run.path}')}"
        )
    close = did_you_mean(wanted, ids) if wanted else ""
    advice = close if close.startswith("did you mean") else f"it has {len(ids)}, such as {_some(sorted(ids))}; the report lists them"
    raise UnknownName(f'{run.path} has no episode "{wanted}"; {advice}')


def past_episode(path: str | Path, wanted: str, asked: Mapping[str, Any]) -> PastEpisode:
    """Load what the run's episode `wanted` was played with. `asked` are keys of `worldsim evaluate` that are to be otherwise than then.

    Raises:
        UnknownName, InvalidInput: no such run or episode, or a part that is no longer there.
        DamagedFile: the episode on disk is damaged.
        RunMismatch: a checkpoint, the task or the judge has changed since; the line names it.
    """
    run = RunFolder(path)
    folder, episode = locate(run, wanted)
    trajectory = _read(run, folder, episode)
    whole = _config(run, folder, asked)
    config = _config_for(run, folder, trajectory, whole)
    setting = prepare(config)
    changed = _checked(run, setting, asked)
    if folder is not run:
        setting = probe_setting(probe_of(run, setting, whole), setting, whole)
    name = trajectory.metadata["policy"]
    _refuse(run, difference("policies", _only(folder.config["policies"], name), _only(setting.facts, name)))
    planned = _planned(run, setting, trajectory, episode, changed)
    return PastEpisode(run, folder, episode, trajectory, setting, planned, config.determinism == "strict", changed)


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")


def _only(facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key == name}


def _read(run: RunFolder, folder: RunFolder, episode: str) -> Trajectory:
    try:
        return folder.episode(episode)
    except DamagedFile as error:
        raise DamagedFile(f"{error}; the run makes it again: {run.config.get('command')}") from error


def _config(run: RunFolder, folder: RunFolder, asked: Mapping[str, Any]) -> EvaluateConfig:
    """The command that made the run, or its probe, as far as it decides how an episode is played.

    Raises:
        InvalidInput: the run is of a version that did not record it.
    """
    settings = folder.config.get("settings")
    if not isinstance(settings, dict) or not isinstance(run.config.get("specs"), dict):
        raise InvalidInput(
            f"{run.path} does not say how its episodes are played again; type its command once more, which keeps them and records it: "
            f"{run.config.get('command', f'worldsim evaluate run={run.path}')}"
        )
    known = {field.name for field in fields(EvaluateConfig)}
    given = {key: value for key, value in settings.items() if key in known} | asked
    if "world_model" in asked:  # the judge stays the run's, whatever the other world model's own is
        own, task = world_model_facts(settings["world_model"])[1], run.config["identity"]["task"]["id"]
        given["verifier"] = chosen_verifier(settings.get("verifier"), own, task)
    return EvaluateConfig(**given)


def _config_for(run: RunFolder, folder: RunFolder, trajectory: Trajectory, whole: EvaluateConfig) -> EvaluateConfig:
    """The same for one episode: its own policy, its own world, and the plan up to its start.

    A probe's policies are built when the run is open; until then one that fits every world stands in for them.

    Raises:
        InvalidInput: a policy of another making.
    """
    name, world = trajectory.metadata["policy"], trajectory.metadata["world"]
    specs = {"still": "still"} if folder is not run else _only(run.config["specs"], name)
    if not specs:
        raise InvalidInput(f'{run.path} does not say what policy "{name}" was loaded from; type its command once more with that policy')
    count = 1 if folder is not run else trajectory.seed - whole.seed + 1
    kept = {field.name: getattr(whole, field.name) for field in fields(EvaluateConfig)}
    truth = whole.truth if world == "truth" else None
    return EvaluateConfig(**kept | {"policies": list(specs.values()), "episodes": count, "truth": truth})


def _checked(run: RunFolder, setting: Setting, asked: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What of the way of imagining differs because it was asked for.

    Raises:
        RunMismatch: anything else differs.
    """
    free = (["sampler"] if asked else []) + (["world_model"] if "world_model" in asked else [])
    held, now = dict(run.identity), dict(setting.identity)
    changed = {key: (held[key], now[key]) for key in free if held[key] != now[key]}
    for key in free:
        held.pop(key), now.pop(key)
    _refuse(run, difference("", held, now))
    return changed


def _refuse(run: RunFolder, found: tuple[str, Any, Any] | None) -> None:
    if found:
        key, old, new = found
        raise RunMismatch(
            f"{key} was {shown(old)} when {run.path} was made and is {shown(new)} now, so its episodes cannot be played again; "
            "put back what it was made with"
        )


def _planned(run: RunFolder, setting: Setting, trajectory: Trajectory, episode: str, changed: Mapping[str, Any]) -> Episode:
    """The episode among those that the setting plans.

    Raises:
        RunMismatch: it is not among them.
    """
    key = (trajectory.metadata["policy"], trajectory.metadata["world"], trajectory.start_id, trajectory.seed)
    found = next((each for each in setting.planned if (each.policy, each.world, each.start.id, each.seed) == key), None)
    if found is None or (not changed and found.id != episode):
        raise RunMismatch(
            f"episode {episode} of {run.path} cannot be planned again (policy {key[0]}, {key[1]} world, start {key[2]}, seed {key[3]}): "
            "what it began from, the true world or, for a probe, the run's own episodes have changed since"
        )
    return found
