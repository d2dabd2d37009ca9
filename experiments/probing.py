"""What must fail: the known-failure probe of an evaluation, as an evaluation of its own whose policies are the kinds of failure.

- still: a policy that does not move.
- untrained: a policy that cannot do the task.
- failed actions: the actions of a true or recorded episode that failed, played back.
- shuffled actions: those of one that succeeded, shuffled in time; they are run in the true world too, and count where they fail there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from worldsim.data.files import digest_of
from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import WorldsimError
from worldsim.evaluate import Cast, Episode, plan
from worldsim.experiments.fitting import check_fit
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.setting import Setting
from worldsim.load import load_policy, load_verifier, part_facts
from worldsim.policies.played_back import PlayedBack
from worldsim.registry import POLICIES
from worldsim.report.run_folder import RunFolder
from worldsim.types import Start, Trajectory

UNTRAINED = "begin"  # the shipped policy that was hardly trained


@dataclass
class Probe:
    """The kinds by name: what each is loaded from, what it depends on, from which starts; and why other kinds are left out."""

    specs: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    starts: dict[str, tuple[Start, ...]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, spec: Any, facts: dict[str, Any], starts: Sequence[Start]) -> None:
        """One more kind."""
        self.specs[kind], self.facts[kind], self.starts[kind] = spec, facts, tuple(starts)


def probe_of(folder: RunFolder, setting: Setting, config: EvaluateConfig) -> Probe:
    """The probe of a run whose own episodes, those of its true world too, have been played.

    Raises:
        WorldsimError: an untrained policy that was asked for and does not fit.
    """
    probe = Probe()
    begun = setting.task.starts[: config.probe]
    known = "twin" if config.truth else "assumed"
    probe.add("still", "still", {"truth": known}, begun)
    _add_untrained(probe, setting, config, begun, known)
    failed, succeeded = _known_actions(folder, setting, config)
    _add_actions(probe, setting, "failed actions", failed, "recorded")
    if config.truth:
        rng = np.random.default_rng([config.seed, 6])
        shuffled = [(start, rng.permutation(actions, axis=0)) for start, actions in succeeded]
        _add_actions(probe, setting, "shuffled actions", shuffled, "twin")
    else:
        probe.left_out["shuffled actions"] = "without truth=NAME nobody knows whether they fail"
    return probe


def probe_setting(probe: Probe, setting: Setting, config: EvaluateConfig) -> Setting:
    """The probe as something to be evaluated: only kinds that a true twin must prove are played in the true world too."""
    policies = {kind: load_policy(spec, setting.world.action) for kind, spec in probe.specs.items()}
    planned: list[Episode] = []
    for kind, starts in probe.starts.items():
        worlds = {
            world: facts for world, facts in setting.world_facts.items() if world == "imagined" or probe.facts[kind]["truth"] == "twin"
        }
        task = replace(setting.task, starts=starts)
        planned += plan(task, {kind: probe.facts[kind]}, worlds, len(starts), config.seed)
    strict = config.determinism == "strict"
    return replace(setting, cast=Cast(policies, one_by_one=strict), specs=probe.specs, facts=probe.facts, planned=planned)


def _add_untrained(probe: Probe, setting: Setting, config: EvaluateConfig, starts: Sequence[Start], known: str) -> None:
    spec = config.probe_policy or UNTRAINED
    try:
        check_fit({"untrained": load_policy(spec, setting.world.action)}, setting.task, setting.world)
    except WorldsimError as error:
        if config.probe_policy:
            raise
        probe.left_out["untrained"] = f"{UNTRAINED} does not fit ({error}); name one that does: probe_policy=PATH"
    else:
        probe.add("untrained", spec, part_facts(POLICIES, spec) | {"truth": known}, starts)


def _add_actions(probe: Probe, setting: Setting, kind: str, found: Sequence[tuple[Start, np.ndarray]], truth: str) -> None:
    """Actions to be played back, each pair of start and actions under an id of its own."""
    if not found:
        word = "failed" if truth == "recorded" else "succeeded"
        probe.left_out[kind] = f"no true episode of this run, and no recording as long as the horizon, is known to have {word}"
        return
    named = [(replace(start, id=f"{start.id}-{digest_of(actions.tolist())[:8]}"), actions) for start, actions in found]
    played = PlayedBack(setting.world.action, {start.id: actions for start, actions in named})
    probe.add(kind, played, {"truth": truth}, [start for start, _ in named])


Found = list[tuple[Start, np.ndarray]]


def _known_actions(folder: RunFolder, setting: Setting, config: EvaluateConfig) -> tuple[Found, Found]:
    """Actions that failed and actions that succeeded, at most one pair of each per start, and at most as many as the probe has episodes.

    Which episode gives a start its actions is drawn by a hash, so that a run that grows changes few of them.
    """
    starts = {start.id: start for start in setting.task.starts}
    chosen: dict[bool, dict[str, tuple[str, np.ndarray]]] = {False: {}, True: {}}
    for name, start, success, actions in _known(folder, setting, starts):
        ticket = digest_of([config.seed, name])
        if start not in chosen[success] or ticket < chosen[success][start][0]:
            chosen[success][start] = (ticket, actions)
    sides = ([(starts[start], actions) for start, (_, actions) in sorted(chosen[side].items())][: config.probe] for side in (False, True))
    return tuple(sides)


def _known(folder: RunFolder, setting: Setting, starts: dict[str, Start]) -> Iterator[tuple[str, str, bool, np.ndarray]]:
    """(name, start, success, actions) of every episode whose end is known: the run's true ones, and the recordings it starts from."""
    said = folder.verdicts("state")
    for episode, trajectory in folder.episodes():
        success = said[episode].success if episode in said else None
        if trajectory.metadata["world"] == "truth" and trajectory.start_id in starts and success is not None:
            yield episode, trajectory.start_id, success, trajectory.actions
    judge = load_verifier("state")
    for start in starts.values():
        if start.recording:
            recorded = cut(read_trajectory(start.recording), len(start.frames) - 1, setting.task.horizon)
            (verdict,) = judge.judge([recorded])
            if verdict.success is not None and len(recorded) == setting.task.horizon:
                yield start.id, start.id, verdict.success, recorded.actions


def cut(recorded: Trajectory, first: int, steps: int) -> Trajectory:
    """At most so many steps of a recording, from the frame numbered `first` on: what a rollout of them would be compared with."""
    last = first + steps
    states = {name: values[first : last + 1] for name, values in recorded.states.items()}
    return replace(recorded, frames=recorded.frames[first : last + 1], actions=recorded.actions[first:last], states=states)
