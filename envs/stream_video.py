"""Gymnasium wrappers that write an mp4 of each episode while it runs, of any rgb_array environment. They know nothing of world models."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from worldsim.envs.recorder import EpisodeTrigger, Recorder
from worldsim.errors import InvalidInput


class StreamVideo(gymnasium.Wrapper, RecordConstructorArgs):
    """Writes `folder/episode-000000.mp4` and so on, frame by frame, whatever the length of the episode.

    A video appears under its name when its episode ends, when the next reset cuts the episode short, or on `close`; then
    it holds all frames so far and plays. A step that raises adds no frame and the recording goes on. A process that dies,
    or an environment that is dropped without `close`, leaves no video of the running episode. A file of the same name is replaced.

    Args:
        env: an environment with render_mode "rgb_array".
        folder: where the videos go; made when the first one begins.
        episode_trigger: which episodes to record, by number from 0; every one by default.
        name: what file names begin with.
        fps: frames per second; by default the environment's render_fps, else 30.

    Raises:
        InvalidInput: another render mode, or while writing a rate that is not above 0 or a frame that is not uint8 `[H, W, 3]`.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        folder: str | os.PathLike,
        episode_trigger: EpisodeTrigger | None = None,
        name: str = "episode",
        fps: float | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(self, folder=folder, episode_trigger=episode_trigger, name=name, fps=fps)
        gymnasium.Wrapper.__init__(self, env)
        self._recorder = Recorder(Path(folder), name, _rate(env, fps), episode_trigger)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Finish the video of the episode before, reset, and begin the next one."""
        result = self.env.reset(seed=seed, options=options)
        self._recorder.begin()
        self._look()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and add what it shows; an episode that ends finishes its video."""
        result = self.env.step(action)
        self._look()
        if result[2] or result[3]:
            self._recorder.finish()
        return result

    def close(self) -> None:
        """Finish the running video, then close the environment."""
        with ExitStack() as both:
            both.callback(super().close)
            self._recorder.finish()

    def _look(self) -> None:
        if self._recorder.recording:
            self._recorder.add(self.env.render())


class StreamVectorVideo(VectorWrapper):
    """`StreamVideo` for lanes of a vector environment: `folder/lane-000-episode-000000.mp4`, in each of the three autoreset modes.

    Args:
        env: a vector environment with render_mode "rgb_array" that states its autoreset mode. With SAME_STEP the last frame
            of an episode is taken from `final_obs`, so its observations must be the frames that it renders.
        folder: where the videos go.
        lanes: which lanes to record; None is all. Each holds an encoder while it runs.
        episode_trigger: which episodes of each lane to record, by number from 0; every one by default.
        fps: frames per second; by default the environment's render_fps, else 30.

    Raises:
        InvalidInput: another render mode, no autoreset mode, a lane that is not there, or observations that cannot be frames.
    """

    def __init__(
        self,
        env: VectorEnv,
        folder: str | os.PathLike,
        lanes: Sequence[int] | None = None,
        episode_trigger: EpisodeTrigger | None = None,
        fps: float | None = None,
    ) -> None:
        super().__init__(env)
        lanes = range(env.num_envs) if lanes is None else lanes
        absent = [lane for lane in lanes if lane not in range(env.num_envs)]
        if absent:
            raise InvalidInput(f"lanes {absent} cannot be recorded, expected numbers from 0 to {env.num_envs - 1}")
        rate = _rate(env, fps)
        self._mode = _autoreset_mode(env)
        self._recorders = {lane: Recorder(Path(folder), f"lane-{lane:03d}-episode", rate, episode_trigger) for lane in lanes}
        self._waiting = np.zeros(env.num_envs, dtype=np.bool_)  # lanes that the next step resets

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, and begin a video in every lane, or in those of the option "reset_mask"."""
        mask = (options or {}).get("reset_mask")
        begun = np.ones(self.num_envs, dtype=np.bool_) if mask is None else np.array(mask)  # a copy: others take it out of the options
        result = self.env.reset(seed=seed, options=options)
        self._begin(begun)
        self._look(begun)
        self._waiting &= ~begun
        return result

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step, and add what each recorded lane shows; a lane that the environment resets begins its next video."""
        result = self.env.step(actions)
        ended = result[2] | result[3]
        if self._mode is AutoresetMode.SAME_STEP:
            self._add(result[4].get("final_obs"), ended)
            self._begin(ended)
        self._begin(self._waiting)
        self._look(np.ones(self.num_envs, dtype=np.bool_))
        if self._mode is not AutoresetMode.SAME_STEP:
            self._finish(ended)
        self._waiting = ended & (self._mode is AutoresetMode.NEXT_STEP)
        return result

    def close(self, **kwargs: Any) -> None:
        """Finish the running videos, then close the environment."""
        with ExitStack() as all_of_them:
            all_of_them.callback(super().close, **kwargs)
            for recorder in self._recorders.values():
                all_of_them.callback(recorder.finish)

    def _begin(self, lanes: np.ndarray) -> None:
        for _, recorder in self._among(lanes):
            recorder.begin()

    def _finish(self, lanes: np.ndarray) -> None:
        for _, recorder in self._among(lanes):
            recorder.finish()

    def _look(self, lanes: np.ndarray) -> None:
        if any(recorder.recording for _, recorder in self._among(lanes)):
            self._add(self.env.render(), lanes)

    def _add(self, frames: Any, lanes: np.ndarray) -> None:
        for lane, recorder in self._among(lanes):
            recorder.add(frames[lane])

    def _among(self, lanes: np.ndarray) -> list[tuple[int, Recorder]]:
        """The recorded ones of a mask bool `[B]`."""
        return [(lane, recorder) for lane, recorder in self._recorders.items() if lanes[lane]]


def _rate(env: gymnasium.Env | VectorEnv, fps: float | None) -> float:
    """Frames per second to write at, once it is sure that there will be frames."""
    if env.render_mode != "rgb_array":
        raise InvalidInput(
            f'render_mode is {env.render_mode!r}, expected "rgb_array" to record videos; make it with render_mode="rgb_array"'
        )
    return env.metadata.get("render_fps", 30) if fps is None else fps


def _autoreset_mode(env: VectorEnv) -> AutoresetMode:
    """The mode that a vector environment states, once it is sure that the last frame of an episode can be had."""
    mode, space = env.metadata.get("autoreset_mode"), env.single_observation_space
    if not isinstance(mode, AutoresetMode):
        raise InvalidInput(f'metadata["autoreset_mode"] is {mode!r}, expected an AutoresetMode to know where episodes begin')
    if mode is AutoresetMode.SAME_STEP and (space.dtype != np.uint8 or len(space.shape or ()) != 3):
        raise InvalidInput('observations are not frames uint8 [H, W, 3]; record before they are wrapped, or with autoreset_mode="NextStep"')
    return mode
