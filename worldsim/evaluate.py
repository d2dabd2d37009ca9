"""Let policies act in a world, group by group, and keep every finished episode. It speaks protocols only and knows no model or policy.

Episodes are computed in fixed groups: the k-th group of a policy holds the same lanes in the same slots whatever is on disk
already, so a run that was interrupted and resumed equals one that was not.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from worldsim.data.files import digest_of
from worldsim.errors import InvalidInput
from worldsim.report.run_folder import RunFolder
from worldsim.types import Policy, Start, StatePolicy, Task, Trajectory, Truth, Verifier, WorldModel

Group = list["Episode"]
RollOuts = Callable[[list[Group]], Iterable[Sequence[Trajectory]]]  # groups to the trajectories of each, in order


@dataclass
class Clock:
    """Seconds spent per part, as `results.json` reports them, and what came of them."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("world_model", "policy", "verifier", "other"), 0.0))
    rollouts: int = 0
    frames: int = 0

    def measure(self, part: str, call: Callable[[], Any]) -> Any:
        """Run `call` and book its time to `part`."""
        begin = time.perf_counter()
        result = call()
        self.seconds[part] += time.perf_counter() - begin
        return result


@contextmanager
def timed(run: RunFolder) -> Iterator[Clock]:
    """A clock for one session of work on a run. When the block ends, however it ends, the time it took is appended to the run."""
    clock, begin = Clock(), time.perf_counter()
    try:
        yield clock
    finally:
        clock.seconds["other"] += time.perf_counter() - begin - sum(clock.seconds.values())
        if clock.rollouts:
            run.add_throughput(clock.seconds, rollouts=clock.rollouts, frames=clock.frames)


class World(Protocol):
    """Lanes that start somewhere and take actions: what a world model and a truth have in common here."""

    name: str

    def start(self, starts: Sequence[Start], seeds: Sequence[int]) -> np.ndarray: ...
    def step(self, actions: np.ndarray) -> np.ndarray: ...
    def states(self) -> dict[str, np.ndarray]: ...


class Imagined:
    """A world model as a world."""

    name = "imagined"

    def __init__(self, model: WorldModel) -> None:
        self._model, self._state = model, None

    def start(self, starts: Sequence[Start], seeds: Sequence[int]) -> np.ndarray:
        """Begin from the real first frames; returns the newest of them `[B, H, W, 3]`."""
        frames = np.stack([start.frames for start in starts])
        self._state = self._model.start(frames, np.array(seeds, dtype=np.uint64))
        return frames[:, -1]

    def step(self, actions: np.ndarray) -> np.ndarray:
        """The next frames `[B, H, W, 3]`."""
        self._state, frames = self._model.step(self._state, actions)
        return frames

    def states(self) -> dict[str, np.ndarray]:
        """Nothing is known to be true here."""
        return {}


class Genuine:
    """A truth as a world: it is placed at the same starts and needs no randomness."""

    name = "truth"

    def __init__(self, truth: Truth) -> None:
        self.action = truth.action
        self._truth, self._states = truth, {}

    def start(self, starts: Sequence[Start], seeds: Sequence[int]) -> np.ndarray:
        """The true first frames `[B, H, W, 3]`."""
        frames = self._truth.reset(starts)
        self._states = self._truth.states()
        return frames

    def step(self, actions: np.ndarray) -> np.ndarray:
        """The next frames `[B, H, W, 3]`."""
        frames, self._states = self._truth.step(actions)
        return frames

    def states(self) -> dict[str, np.ndarray]:
        """The true states now."""
        return self._states


@dataclass(frozen=True)
class Episode:
    """One planned episode; its id says everything it depends on."""

    id: str
    policy: str
    world: str
    start: Start
    seed: int


def plan(task: Task, policies: Mapping[str, Any], worlds: Mapping[str, Any], episodes: int, seed: int) -> list[Episode]:
    """All episodes of a run: each policy in each world from the same starts with the same seeds.

    `policies` and `worlds` map names to what identifies them (JSON values); ids are hashes of identity, policy, task, start and seed.

    Raises:
        InvalidInput: the task has fewer starts than episodes are asked for.
    """
    if episodes > len(task.starts):
        raise InvalidInput(f'task "{task.id}" has {len(task.starts)} starts, not {episodes}; type episodes={len(task.starts)}')
    planned = []
    for world, identity in worlds.items():
        for policy, facts in policies.items():
            for index, start in enumerate(task.starts[:episodes]):
                key = [world, identity, policy, facts, task.id, task.horizon, start.id, start.seed, seed + index]
                planned.append(Episode(digest_of(key), policy, world, start, seed + index))
    return planned


def groups_of(episodes: Iterable[Episode], size: int) -> Iterator[Group]:
    """Fixed groups of at most `size` episodes that share world and policy, in plan order."""
    group: Group = []
    for episode in episodes:
        if group and (len(group) == size or (episode.world, episode.policy) != (group[0].world, group[0].policy)):
            yield group
            group = []
        group.append(episode)
    if group:
        yield group


def missing_groups(run: RunFolder, planned: Iterable[Episode], size: int) -> list[Group]:
    """The groups of which the run folder lacks an episode or more."""
    return [group for group in groups_of(planned, size) if not all(run.has_episode(episode.id) for episode in group)]


def padded(group: Group, size: int) -> Group:
    """The group at its full size, its last episode repeated: every batch then has the same shape."""
    return group + group[-1:] * (size - len(group))


def roll_out(world: World, policy: Policy, task: Task, episodes: Sequence[Episode], clock: Clock) -> list[Trajectory]:
    """Let `policy` act in `world` for the task's horizon, all episodes at once."""
    lanes = list(range(len(episodes)))
    policy.reset(lanes, [task.at(episode.start) for episode in episodes], [episode.seed for episode in episodes])
    frames = [clock.measure("world_model", lambda: world.start([e.start for e in episodes], [e.seed for e in episodes]))]
    states, actions = [world.states()], []
    for _ in range(task.horizon):
        if isinstance(policy, StatePolicy):
            policy.see(states[-1])
        actions.append(clock.measure("policy", lambda: policy.act(frames[-1], lanes)))
        frames.append(clock.measure("world_model", lambda: world.step(actions[-1])))
        states.append(world.states())
    about = {"instruction": task.instruction, "fps": policy.action.rate_hz}
    return [
        Trajectory(
            task_id=task.id,
            frames=np.stack([frame[lane] for frame in frames]),
            actions=np.stack([action[lane] for action in actions]),
            seed=episode.seed,
            start_id=episode.start.id,
            states={name: np.stack([state[name][lane] for state in states]) for name in states[0]},
            metadata={"policy": episode.policy, "world": episode.world, **about},
        )
        for lane, episode in enumerate(episodes)
    ]


def evaluate(
    run: RunFolder,
    planned: Sequence[Episode],
    roll_outs: RollOuts,
    clock: Clock,
    *,
    batch: int = 25,
    watch: Callable[[Group, int], None] = lambda group, fresh: None,
) -> None:
    """Keep every planned episode that the run folder lacks.

    Args:
        run: where episodes are kept.
        planned: the episodes wanted.
        roll_outs: groups to their trajectories, in the same order, one per episode (more are left aside); it may work ahead or in parallel.
        clock: told of every episode that is kept.
        batch: episodes per group.
        watch: told of each group that was rolled out and how many new episodes it brought.
    """
    groups = missing_groups(run, planned, batch)
    for group, trajectories in zip(groups, roll_outs(groups), strict=True):
        missing = [pair for pair in zip(group, trajectories, strict=False) if not run.has_episode(pair[0].id)]
        for episode, trajectory in missing:
            run.add_episode(episode.id, trajectory)
            clock.rollouts, clock.frames = clock.rollouts + 1, clock.frames + len(trajectory)
        watch(group, len(missing))


def judge_missing(run: RunFolder, verifier_id: str, verifier: Verifier, worlds: Sequence[str], clock: Clock) -> None:
    """Judge every episode of `worlds` on disk that this verifier has not judged yet, a few at a time."""
    known = run.verdicts(verifier_id)
    waiting: dict[str, Trajectory] = {}

    def judge() -> None:
        verdicts = clock.measure("verifier", lambda: verifier.judge(list(waiting.values())))
        run.add_verdicts(verifier_id, dict(zip(waiting, verdicts, strict=True)))
        waiting.clear()

    for episode, trajectory in run.episodes():
        if trajectory.metadata["world"] in worlds and episode not in known:
            waiting[episode] = trajectory
        if len(waiting) == 64:
            judge()
    if waiting:
        judge()
