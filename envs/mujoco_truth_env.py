"""A MuJoCo truth as a Gymnasium environment: one lane of it. Knows no scene; subclasses name it, and say when success ends an episode."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from worldsim.envs.lanes import check_options
from worldsim.envs.mujoco_truth import MujocoTruth
from worldsim.errors import InvalidInput

_EVALUATION_SEEDS = (2_000_000, 3_000_000)


class MujocoTruthEnv(gymnasium.Env):
    """Observations are uint8 `[size, size, 3]`, actions float32 `[A]`. An episode terminates with reward 1, or is truncated with none.

    `reset(options={"start": seed})` takes the task's start of that seed; otherwise one is drawn from the environment's seed.
    `info` carries the exact state, `success`, `is_success` and `start`.

    Args:
        size: frame size in pixels.
        horizon: steps until truncation.
        render_mode: "rgb_array" or None.

    Raises:
        InvalidInput: another size than 16 to 256.
    """

    metadata = {"render_modes": ["rgb_array"]}
    truth: Callable[[int], MujocoTruth]

    def __init__(self, size: int, horizon: int, render_mode: str | None = None) -> None:
        if size not in range(16, 257):
            raise InvalidInput(f"size is {size}, expected 16 to 256 pixels, for example size=64")
        self._truth = self.truth(size)
        action = self._truth.action
        self._horizon, self.render_mode = horizon, render_mode
        self.metadata = {**self.metadata, "render_fps": action.rate_hz}
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action.size,), np.float32)
        self._steps, self._start, self._frame = None, None, None

    def terminates(self, *, success: bool, over: bool) -> bool:
        """Whether an episode ends by success now; `over` is whether its horizon is reached. Here, at once."""
        return success

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        start = check_options(options, ("start",)).get("start", self.np_random.integers(*_EVALUATION_SEEDS))
        if not isinstance(start, (int, np.integer)) or start < 0:
            raise InvalidInput(f'reset option "start" is {start!r}, expected the seed of a start, a whole number, 0 or more')
        self._start, self._steps = int(start), 0
        return self._told(self._truth.place([self._truth.task_start(self._start)]), self._truth.states())

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self._steps is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        frame, info = self._told(*self._truth.step([action]))
        self._steps += 1
        over = self._steps >= self._horizon
        terminated = self.terminates(success=info["success"], over=over)
        return frame, float(terminated), terminated, over and not terminated, info

    def render(self) -> np.ndarray | None:
        return None if self._frame is None else self._frame.copy()

    def close(self) -> None:
        self._truth.close()

    def _told(self, frames: np.ndarray, states: dict[str, np.ndarray]) -> tuple[np.ndarray, dict]:
        self._frame, (success,) = frames[0], self._truth.successes()
        state = {name: value[0] for name, value in states.items()}
        return self._frame.copy(), {**state, "success": success, "is_success": success, "start": self._start}
