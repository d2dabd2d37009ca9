"""A world model as a `gymnasium.Env`: one lane of `Lanes`."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from worldsim.envs.lanes import Lanes, check_given, check_options, check_seed
from worldsim.envs.parts import RENDER_MODES, build_parts, check_render_mode, spaces_of
from worldsim.types import Task, WorldModel


class WorldEnv(gymnasium.Env):
    """Act inside a world model. Observations are uint8 `[H, W, 3]` frames, actions float32 `[A]`.

    Without a verifier the reward is 0 and only the horizon ends an episode. With one, it judges the trajectory after every
    step: its score is the reward and success terminates. Episode k after `reset(seed=s)` depends on (s, k) and the
    actions only, never on how long earlier episodes were. A world that breaks (frames that are not numbers, a picture that stands still
    while actions move) truncates its episode; the info then holds the reason under "unscored", and no success.

    Args:
        render_mode: None or "rgb_array".
        **keywords: world_model, task, verifier, horizon, device, determinism (see `worldsim.envs.parts.Keywords`), and how frames are
            drawn and networks are run: steps, guidance, history, window, precision, compile and so on (`worldsim.options.ModelKeys`).

    Raises:
        WorldsimError: an unknown keyword or name, or parts that do not fit one another.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 10}

    def __init__(self, *, render_mode: str | None = None, **keywords: Any) -> None:
        self.render_mode = check_render_mode(render_mode)
        self._lanes = Lanes(build_parts(keywords), 1)
        self.observation_space, self.action_space = spaces_of(self.world_model.spec)
        self.metadata = {**self.metadata, "render_fps": self.world_model.spec.fps}

    @property
    def world_model(self) -> WorldModel:
        """The model that predicts."""
        return self._lanes.parts.world_model

    @property
    def task(self) -> Task:
        """The task that starts are drawn from."""
        return self._lanes.parts.task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: restarts the sequence of episodes; None goes on to the next one.
            options: {"frame": uint8 `[H, W, 3]` or `[T0, H, W, 3]`} to begin there; by default a start of the task is drawn.

        Returns:
            The frame uint8 `[H, W, 3]` and info with frame_index, seed and start.

        Raises:
            WorldsimError: an unknown option, a frame of the wrong size or dtype, or a negative seed.
        """
        seed = check_seed(seed)
        given = check_given(check_options(options, ("frame",)).get("frame"), self.world_model.spec, [0], 1)
        super().reset(seed=seed)
        infos = self._lanes.reset({0: seed}, given, self.np_random)
        return self._lanes.frames[0].copy(), infos[0]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act: float32 `[A]` to (frame, reward, terminated, truncated, info).

        Raises:
            ResetNeeded: no episode is running.
            InvalidInput: an action of the wrong shape, not finite or out of bounds.
        """
        outcome = self._lanes.step([action], [0])[0]
        return self._lanes.frames[0].copy(), outcome.reward, outcome.terminated, outcome.truncated, outcome.info

    def render(self) -> np.ndarray | None:
        """A copy of the latest frame uint8 `[H, W, 3]`; None when no render mode was chosen.

        Raises:
            ResetNeeded: there is no frame yet.
        """
        if self.render_mode is None:
            return None
        if not self._lanes.begun:
            raise ResetNeeded("there is no frame to render; call reset() first")
        return self._lanes.frames[0].copy()
