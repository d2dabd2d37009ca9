"""Rolling out: a queue of episodes through the lanes of one world, each refilled as it ends. Knows no run folder and no judge."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from worldsim.evaluate.cast import Cast
from worldsim.evaluate.clock import Clock
from worldsim.evaluate.planning import Episode
from worldsim.evaluate.worlds import World
from worldsim.types import Task, Trajectory


@dataclass
class Lane:
    """An episode that is being played, and all that has been seen of it. `slot` is the number that its policy knows the lane by."""

    episode: Episode
    slot: int
    horizon: int
    frames: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    states: list[dict[str, np.ndarray]] = field(default_factory=list)
    fault: str = ""

    @property
    def over(self) -> bool:
        """Its time is up, or its world is broken."""
        return bool(self.fault) or len(self.actions) >= self.horizon

    def trajectory(self, task: Task, rate_hz: float) -> Trajectory:
        """The episode as it was; one that broke says so under "fault" in its metadata."""
        about = {"policy": self.episode.policy, "world": self.episode.world, "instruction": task.instruction, "fps": rate_hz}
        return Trajectory(
            task_id=task.id,
            frames=np.stack(self.frames),
            actions=np.stack(self.actions),
            seed=self.episode.seed,
            start_id=self.episode.start.id,
            states={name: np.stack([state[name] for state in self.states]) for name in self.states[0]},
            metadata=about | ({"fault": self.fault} if self.fault else {}),
        )


@dataclass(frozen=True)
class Stage:
    """Where episodes are played: a world and those who act in it."""

    world: World
    cast: Cast
    task: Task
    clock: Clock

    def filled(self, lanes: list[Lane], queue: deque[Episode], count: int) -> list[Lane]:
        """The lanes to go on with: where an episode is over the next of `queue` begins; once that is empty, only those still running."""
        running = [row for row, lane in enumerate(lanes) if not lane.over]
        if not running:
            lanes = [self._lane(queue.popleft(), slot) for slot in range(min(count, len(queue)))]
            self._begin(dict(enumerate(lanes)), len(lanes))
            return lanes
        over = [row for row, lane in enumerate(lanes) if lane.over]
        fresh = {row: self._lane(queue.popleft(), lanes[row].slot) for row in over[: len(queue)]}
        self._begin(fresh, len(lanes))
        kept = sorted([*running, *fresh])
        if len(kept) < len(lanes):
            self.world.keep(kept)
        return [fresh.get(row, lanes[row]) for row in kept]

    def step(self, lanes: Sequence[Lane]) -> None:
        """Let every lane act once."""
        states = self.world.states()
        shown = np.stack([lane.frames[-1] for lane in lanes])
        actions = self.clock.measure("policy", lambda: self.cast.act(lanes, shown, states))
        frames = self.clock.measure("world_model", lambda: self.world.step(actions))
        states, faults = self.world.states(), self.world.faults
        for row, lane in enumerate(lanes):
            lane.actions.append(actions[row])
            lane.frames.append(frames[row])
            lane.states.append({name: values[row] for name, values in states.items()})
            lane.fault = faults[row]

    def _lane(self, episode: Episode, slot: int) -> Lane:
        return Lane(episode, slot, self.task.horizon)

    def _begin(self, fresh: Mapping[int, Lane], count: int) -> None:
        """Begin the episodes of new lanes among `count`."""
        if not fresh:
            return
        self.clock.measure("policy", lambda: self.cast.reset(list(fresh.values()), self.task))
        begun = {row: lane.episode for row, lane in fresh.items()}
        frames = self.clock.measure("world_model", lambda: self.world.start(begun, count))
        states = self.world.states()
        for row, lane in fresh.items():
            lane.frames.append(frames[row])
            lane.states.append({name: values[row] for name, values in states.items()})


def roll_out(
    world: World, cast: Cast, task: Task, episodes: Sequence[Episode], clock: Clock, *, batch: int
) -> Iterator[tuple[Episode, Trajectory]]:
    """Play `episodes` in at most `batch` lanes of `world`, and hand out each as it ends: at the task's horizon, or when its lane breaks.

    Lanes of different policies share every call of the world. A lane that ends takes the next episode at once; when there is none, the
    batch goes on without it.
    """
    stage, queue = Stage(world, cast, task, clock), deque(episodes)
    count = _even(len(queue), batch)
    clock.lanes = max(clock.lanes or 0, count)
    lanes = stage.filled([], queue, count)
    while lanes:
        stage.step(lanes)
        for lane in lanes:
            if lane.over:
                yield lane.episode, lane.trajectory(task, cast.rate_hz(lane.episode.policy))
        lanes = stage.filled(lanes, queue, count) if any(lane.over for lane in lanes) else lanes


def _even(episodes: int, batch: int) -> int:
    """The number of lanes, at most `batch`, that plays so many episodes of one length in the fewest calls and leaves the fewest empty."""
    return -(-episodes // -(-episodes // batch)) if episodes else 0
