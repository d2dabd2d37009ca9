"""`worldsim/DrawerTruth-v0`: the drawer that plays the real world, as a Gymnasium environment."""

from typing import Any

import gymnasium
import numpy as np

from worldsim.envs.drawer.physics import ACTION, DrawerPhysics, task_start
from worldsim.envs.drawer.rendering import Camera
from worldsim.envs.drawer.truth import HORIZON
from worldsim.envs.lanes import check_options
from worldsim.errors import InvalidInput

_EVALUATION_SEEDS = (2_000_000, 3_000_000)


class DrawerTruthEnv(gymnasium.Env):
    """Close the drawer. Observation uint8 `[size, size, 3]`, action float32 [3] in [-1, 1], reward 1 and termination when closed.

    Args:
        size: frame size in pixels (64 is what the shipped model knows; 128 looks better).
        horizon: steps until truncation.
        render_mode: "rgb_array" or None.

    `reset(options={"start": seed})` takes the task's start of that seed; otherwise one is drawn from the environment's seed.
    `info` carries the exact state, `success`, `is_success` and `start`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": int(ACTION.rate_hz)}

    def __init__(self, size: int = 64, horizon: int = HORIZON, render_mode: str | None = None) -> None:
        if size not in range(16, 257):
            raise InvalidInput(f"size is {size}, expected 16 to 256 pixels, for example size=64")
        self._physics = DrawerPhysics()
        self._camera = Camera(self._physics.model, "main", size)
        self._horizon, self.render_mode = horizon, render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION.size,), np.float32)
        self._steps, self._start, self._frame = None, None, None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        start = check_options(options, ("start",)).get("start", self.np_random.integers(*_EVALUATION_SEEDS))
        if not isinstance(start, (int, np.integer)) or start < 0:
            raise InvalidInput(f'reset option "start" is {start!r}, expected the seed of a start, a whole number, 0 or more')
        self._start = int(start)
        self._physics.reset(task_start(self._start))
        self._steps = 0
        return self._observe()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self._steps is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        self._physics.step(ACTION.check([action])[0])
        self._steps += 1
        frame, info = self._observe()
        terminated = info["success"]
        return frame, float(terminated), terminated, not terminated and self._steps >= self._horizon, info

    def render(self) -> np.ndarray | None:
        return None if self._frame is None else self._frame.copy()

    def close(self) -> None:
        self._camera.close()

    def _observe(self) -> tuple[np.ndarray, dict]:
        self._frame = self._camera.render(self._physics.data)
        success = self._physics.success
        info = {**self._physics.state(), "success": success, "is_success": success, "start": self._start}
        return self._frame.copy(), info
