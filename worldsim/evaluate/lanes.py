"""Rolling out: a queue of episodes through the lanes of one world, each refilled as it ends. Knows no run folder and no judge."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from worldsim.evaluate.cast import Cast
from worldsim.evaluate.clock import Clock
from worldsim.evaluate.planning import Episode
from worldsim.evaluate.worlds import World
from worldsim.types import ActionSpec, Task, Trajectory


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
        """Its time is up, or its world or its policy is broken."""
        return bool(self.fault) or len(self.actions) >= self.horizon

    def trajectory(self, task: Task, action: ActionSpec) -> Trajectory:
        """The episode as it was; one that broke says so under "fault" in its metadata."""
        asked = task.at(self.episode.start).instruction
        about = {"policy": self.episode.policy, "world": self.episode.world, "instruction": asked, "fps": action.rate_hz}
        return Trajectory(
            task_id=task.id,
            frames=np.stack(self.frames),
            actions=np.array(self.actions, dtype=np.float32).reshape(-1, action.size),
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
        """The lanes to go on with: where an episode is over the next of `queue` begins; once that is empty, only those still running.

        In a world that begins as a whole, all wait for the last to end.
        """
        running = [row for row, lane in enumerate(lanes) if not lane.over]
        if not running:
            lanes = [self._lane(queue.popleft(), slot) for slot in range(min(count, len(queue)))]
            self._begin(dict(enumerate(lanes)), len(lanes))
            return lanes
        over = [row for row, lane in enumerate(lanes) if lane.over]
        if self.world.whole:
            return lanes
        fresh = {row: self._lane(queue.popleft(), lanes[row].slot) for row in over[: len(queue)]}
        self._begin(fresh, len(lanes))
        kept = sorted([*running, *fresh])
        if len(kept) < len(lanes):
            self.world.keep(kept)
        return [fresh.get(row, lanes[row]) for row in kept]

    def step(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Let every lane act once whose episode is not over. Returns those whose episodes end with this."""
        rows = [row for row, lane in enumerate(lanes) if not lane.over]
        actions = self._actions(lanes, rows)
        frames = self.clock.measure("world_model", lambda: self.world.step(actions))
        states, faults = self.world.states(), self.world.faults
        for row in (row for row in rows if not lanes[row].fault):
            lane = lanes[row]
            lane.actions.append(actions[row])
            lane.frames.append(frames[row])
            lane.states.append({name: values[row] for name, values in states.items()})
            lane.fault = faults[row]
        return [lanes[row] for row in rows if lanes[row].over]

    def _actions(self, lanes: Sequence[Lane], rows: Sequence[int]) -> np.ndarray:
        """The actions float32 `[B, A]` of all lanes: of these rows their policies' own, of the others none. Notes which policies failed."""
        states = {name: values[list(rows)] for name, values in self.world.states().items()}
        shown = np.stack([lanes[row].frames[-1] for row in rows])
        acting = [lanes[row] for row in rows]
        chosen, faults = self.clock.measure("policy", lambda: self.cast.act(acting, shown, states))
        actions = np.stack([self.cast.rest(lane.episode.policy) for lane in lanes])
        actions[list(rows)] = chosen
        for lane, fault in zip(acting, faults, strict=True):
            lane.fault = fault
        return actions

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
    """Play `episodes` in at most `batch` lanes of `world`, and hand out each as it ends: at the task's horizon, or when its world or its
    policy breaks.

    Lanes of different policies share every call of the world. A lane that ends takes the next episode at once; when there is none, the
    batch goes on without it.
    """
    stage, queue = Stage(world, cast, task, clock), deque(episodes)
    count = _even(len(queue), batch)
    clock.lanes = max(clock.lanes or 0, count)
    lanes = stage.filled([], queue, count)
    while lanes:
        ended = stage.step(lanes)
        yield from ((lane.episode, lane.trajectory(task, cast.action(lane.episode.policy))) for lane in ended)
        lanes = stage.filled(lanes, queue, count) if ended else lanes


def _even(episodes: int, batch: int) -> int:
    """The number of lanes, at most `batch`, that plays so many episodes of one length in the fewest calls and leaves the fewest empty."""
    return -(-episodes // -(-episodes // batch)) if episodes else 0
