"""RT-1 and its kin in a world: per lane an instruction, a memory and, once it says so, an end. Knows no file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldsim.policies.foreign import first_line, problem_of
from worldsim.policies.rt1.actions import Form, checked_parts, terminates
from worldsim.policies.rt1.saved_model import SavedPolicy, State
from worldsim.types import Task


@dataclass(frozen=True)
class Episode:
    """One lane between two resets: what it was told, what the network remembers of it, and how it stands.

    Attributes:
        instruction: as text.
        embedding: float32 `[D]`.
        memory: arrays with a first axis of 1.
        steps: actions given so far.
        resting: the action that is repeated since the policy said that it is done; None before.
    """

    instruction: str
    embedding: np.ndarray
    memory: State
    steps: int = 0
    resting: np.ndarray | None = None


class RT1Policy:
    """An RT-1 SavedModel that acts in several lanes, none of which knows of another.

    Evaluation goes on in lockstep to the horizon, and no policy ends it. So a lane whose network says "terminate" acts out that step, as
    SimplerEnv does, and then keeps still until it is reset; `terminated` says since which step. A lane whose network fails, or gives a
    number that is not finite or out of bounds, is in `faults` until it is reset.

    Args:
        network: the two signatures.
        form: what its outputs are as an action.
        told: instruction of a task to (text, vector).
        fit: frames uint8 `[B, H, W, 3]` to the size of the network's image.
        clip: cut an action that leaves the form's bounds; otherwise it is a fault. RT-1 stays within them, RT-1-X does not.
        batched: call the network once for all lanes. Published RT-1 networks keep one step counter per call and must not be.
        until_done: keep still after "terminate"; otherwise it is recorded and the lane goes on.
    """

    def __init__(
        self,
        network: SavedPolicy,
        form: Form,
        told: Callable[[str], tuple[str, np.ndarray]],
        fit: Callable[[np.ndarray], np.ndarray],
        *,
        clip: bool = False,
        batched: bool = False,
        until_done: bool = True,
    ) -> None:
        self.action = form.spec
        self.faults: dict[int, str] = {}
        self.terminated: dict[int, int] = {}
        self._network, self._form, self._told, self._fit = network, form, told, fit
        self._clip, self._batched, self._until_done = clip, batched, until_done
        self._episodes: dict[int, Episode] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Begin an episode with a fresh memory in each of `lanes`.

        Raises:
            UnknownName: an instruction without an embedding.
        """
        for lane, task in zip(lanes, tasks, strict=True):
            self._episodes[lane] = Episode(*self._told(task.instruction), self._network.start())
            self.faults.pop(lane, None)
            self.terminated.pop(lane, None)

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]` to float32 `[B, A]`, NaN in lanes at fault.

        Raises:
            InvalidInput: an output that the action is made of is missing, or has another shape.
        """
        actions = np.full((len(lanes), self.action.size), np.nan)
        acting = [row for row, lane in enumerate(lanes) if lane not in self.faults and self._episodes[lane].resting is None]
        for rows in [acting] if self._batched and acting else [[row] for row in acting]:
            actions[rows] = self._step(self._fit(frames[rows]), [lanes[row] for row in rows])
        for row, lane in enumerate(lanes):
            if row not in acting and lane not in self.faults:
                actions[row] = self._episodes[lane].resting
        return actions.astype(np.float32)

    def _step(self, images: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """One call of the network for these lanes, `[B, A]`; what they remember of it is kept."""
        episodes = [self._episodes[lane] for lane in lanes]
        memory = {name: np.concatenate([episode.memory[name] for episode in episodes]) for name in episodes[0].memory}
        vectors = np.stack([episode.embedding for episode in episodes])
        try:
            outputs, memory = self._network.step(images, vectors, [episode.instruction for episode in episodes], memory)
        except Exception as error:  # somebody else's graph: whatever it raises ends these lanes only
            self.faults |= {lane: f"the network failed ({first_line(error)})" for lane in lanes}
            return np.full((len(lanes), self.action.size), np.nan)
        parts = checked_parts(outputs, self._form.parts, len(lanes))
        actions = self._form.make(parts)
        for row, (lane, done) in enumerate(zip(lanes, terminates(parts), strict=True)):
            self._keep(lane, actions[row], {name: value[row : row + 1] for name, value in memory.items()}, done=bool(done))
        sound = np.array([[lane not in self.faults] for lane in lanes])
        return np.where(sound, np.clip(actions, self.action.low, self.action.high), np.nan)

    def _keep(self, lane: int, action: np.ndarray, memory: State, *, done: bool) -> None:
        episode = self._episodes[lane]
        if problem := problem_of(action, self.action, clip=self._clip):
            self.faults[lane] = f"step {episode.steps}: {problem}"
        if done:
            self.terminated.setdefault(lane, episode.steps)
        resting = self._form.rest(action) if done and self._until_done else None
        self._episodes[lane] = replace(episode, memory=memory, steps=episode.steps + 1, resting=resting)
