"""`worldsim/DropTruth-v0`: the falling ball that plays the real world, as a Gymnasium environment."""

from typing import Any

import gymnasium
import numpy as np

from worldsim.envs.drop.physics import ACTION, DropPhysics, task_start
from worldsim.envs.drop.rendering import DepthCamera
from worldsim.envs.drop.truth import HORIZON
from worldsim.envs.lanes import check_options
from worldsim.errors import InvalidInput

_EVALUATION_SEEDS = (2_000_000, 3_000_000)


class DropTruthEnv(gymnasium.Env):
    """Let the ball go and push it over the line. Observation uint8 `[size, size, 3]`, action float32 [2] in [-1, 1] (release, push).

    An episode lasts `horizon` steps. The last one terminates it with reward 1 when the ball is right of the line, and truncates it
    otherwise; every other reward is 0.

    Args:
        size: frame size in pixels.
        horizon: steps of an episode.
        render_mode: "rgb_array" or None.

    `reset(options={"start": seed})` takes the task's start of that seed; otherwise one is drawn from the environment's seed.
    `info` carries the exact state, `success`, `is_success` and `start`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": ACTION.rate_hz}

    def __init__(self, size: int = 32, horizon: int = HORIZON, render_mode: str | None = None) -> None:
        if size not in range(16, 257):
            raise InvalidInput(f"size is {size}, expected 16 to 256 pixels, for example size=32")
        self._physics = DropPhysics()
        self._camera = DepthCamera(self._physics.model, "main", size)
        self._horizon, self.render_mode = horizon, render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION.size,), np.float32)
        self._steps, self._start, self._frame = None, None, None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        start = check_options(options, ("start",)).get("start", self.np_random.integers(*_EVALUATION_SEEDS))
        if not isinstance(start, (int, np.integer)) or start < 0:
            raise InvalidInput(f'reset option "start" is {start!r}, expected the seed of a start, a whole number, 0 or more')
        self._start, self._steps = int(start), 0
        self._physics.reset(task_start(self._start))
        return self._observe()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self._steps is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        self._physics.step(ACTION.check([action])[0])
        self._steps += 1
        frame, info = self._observe()
        over = self._steps >= self._horizon
        terminated = over and info["success"]
        return frame, float(terminated), terminated, over and not terminated, info

    def render(self) -> np.ndarray | None:
        return None if self._frame is None else self._frame.copy()

    def close(self) -> None:
        self._camera.close()

    def _observe(self) -> tuple[np.ndarray, dict]:
        self._frame = self._camera.render(self._physics.data)
        success = self._physics.success
        return self._frame.copy(), {**self._physics.state(), "success": success, "is_success": success, "start": self._start}
