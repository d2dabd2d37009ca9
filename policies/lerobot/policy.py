"""A LeRobot network and its pipelines in several lanes. Knows no files."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.policies.foreign import ForeignPolicy
from worldsim.types import ActionSpec, Task


@dataclass(frozen=True)
class Inputs:
    """What a checkpoint is shown.

    Attributes:
        camera: the image that the frame goes into.
        images: (rows, columns) of each image that is shown; all but `camera` are black.
        states: constant numbers by name.
    """

    camera: str
    images: Mapping[str, tuple[int, int]]
    states: Mapping[str, np.ndarray]

    def batch(self, frame: np.ndarray, instruction: str) -> dict[str, Any]:
        """LeRobot's batch of one: images float32 `[1, 3, H, W]` in [0, 1], states float32 `[1, N]`, the instruction as `task`."""
        import torch

        from worldsim.data.resizing import resize_with_pad

        shown: dict[str, Any] = {"task": [instruction]}
        for name, (height, width) in self.images.items():
            seen = resize_with_pad(frame[None], height, width) if name == self.camera else np.zeros((1, height, width, 3), np.uint8)
            shown[name] = torch.from_numpy(seen.copy()).permute(0, 3, 1, 2).contiguous().float() / 255
        return shown | {name: torch.from_numpy(values[None].copy()) for name, values in self.states.items()}


@dataclass
class Seat:
    """One lane's copy of network and pipelines, weights shared: their queues and histories are its own."""

    network: Any
    before: Any
    after: Any
    instruction: str
    seed: int
    steps: int = 0


class LeRobotPolicy(ForeignPolicy):
    """`select_action` of a LeRobot policy in every lane, between its own pre- and postprocessor. LeRobot plays its chunks itself.

    Noise is drawn from the lane's seed and step, so a lane does not depend on its neighbours.

    Args:
        spec: what an action means.
        parts: (network, preprocessor, postprocessor), as loaded; never used themselves, only copied.
        inputs: what is shown.
        out_of_range: what becomes of an action beyond the bounds: "refuse" it, or "clip" it.
    """

    def __init__(self, spec: ActionSpec, parts: tuple[Any, Any, Any], inputs: Inputs, out_of_range: str = "refuse") -> None:
        super().__init__(spec, out_of_range)
        self._parts, self._inputs = parts, inputs
        self._seats: dict[int, Seat] = {}

    def begin(self, lane: int, task: Task, seed: int) -> None:
        """A fresh copy for the lane, so that nothing is left of the episode before."""
        weights = [*self._parts[0].parameters(), *self._parts[0].buffers()]
        copies = deepcopy(self._parts, {id(tensor): tensor for tensor in weights})  # together: a pipeline may refer to the other
        for each in copies:
            if hasattr(each, "reset"):
                each.reset()
        self._seats[lane] = Seat(*copies, task.instruction, seed)

    def ask(self, frame: np.ndarray, lane: int) -> Any:
        """An action `[A]`."""
        import torch

        seat = self._seats[lane]
        shown = seat.before(self._inputs.batch(frame, seat.instruction))
        place = next(seat.network.parameters()).device
        with torch.inference_mode(), torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence((seat.seed, seat.steps)).generate_state(1, np.uint64)[0] >> 1))
            action = seat.after(seat.network.select_action(shown))
        seat.steps += 1
        return action[0] if len(action) == 1 else action
