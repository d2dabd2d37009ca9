"""One Gymnasium environment as one lane of a true world: reset to a seed, stepped, seen, its state told. Knows nothing of other lanes.

An environment that ends before its time stands still: the picture stays, no reward comes, and what it said of success stays said.
One that fails in a step stands still too, and has a fault.
"""

import math
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np

from worldsim.envs.gym_truth.actions import ActionCode
from worldsim.envs.gym_truth.failing import EnvironmentFailed, named_failures
from worldsim.envs.gym_truth.making import rendered, row_of_numbers, unwrapped_state
from worldsim.envs.gym_truth.options import SCORES, GymOptions
from worldsim.envs.gym_truth.success import Judge
from worldsim.errors import InvalidInput
from worldsim.types import ActionSpec


class GymLane:
    """An episode of `env`. `frame` is the latest, uint8 `[H, W, 3]` of the wanted size; `fault` is empty while all is well."""

    def __init__(self, env: gymnasium.Env, options: GymOptions, code: ActionCode, judge: Judge | None) -> None:
        self._env, self._options, self._code, self._judge = env, options, code, judge
        self._resize, self._first = options.resizing(), code.decode(first_action(options, code.spec))
        self._shape: tuple[int, ...] | None = None

    def reset(self, seed: int) -> None:
        """Begin the episode that this seed stands for.

        Raises:
            WorldsimError: the environment fails, or shows nothing.
        """
        self._return, self._ended, self.fault = 0.0, False, ""
        with named_failures(self._options, "reset"):
            self._observation, info = self._env.reset(seed=int(seed))
        for count in range(self._options.before):
            with named_failures(self._options, "step"):
                info = self._act(self._first)
            if self._ended:
                raise InvalidInput(
                    f"{self._options.id} ended with action {count + 1} of the {self._options.before} before its first frame; "
                    f"type {self._options.typed(f'before: {count}')}, or another before_action"
                )
        self._reward = self._return = 0.0
        with named_failures(self._options, "reset"):
            self._success = self._done(info, math.nan, math.nan)  # no reward has been given yet
        self._see()

    def step(self, action: np.ndarray) -> None:
        """Act for `frame_skip` steps of the environment, or until it ends or fails. `action` is float32 `[A]`."""
        if self._ended or self.fault:
            self._reward = 0.0
            return
        try:
            with named_failures(self._options, "step"):
                self._success = self._done(self._act(self._code.decode(action)), self._reward, self._return)
            self._see()
        except EnvironmentFailed as error:
            self.fault = str(error)

    def _act(self, told: Any) -> Any:
        """Returns the last info."""
        self._reward, info = 0.0, {}
        for _ in range(self._options.frame_skip):
            self._observation, reward, terminated, truncated, info = self._env.step(told)
            self._reward += float(reward)
            self._ended = bool(terminated or truncated)
            if self._ended:
                break
        self._return += self._reward
        if self._options.success in SCORES and not math.isfinite(self._reward):
            raise EnvironmentFailed(
                f"{self._options.id} gave the reward {self._reward}, expected a number, for it decides on success; mend that, "
                "or type success: info or success: none"
            )
        return info

    def _done(self, info: Any, reward: float, total: float) -> bool:
        return bool(self._judge and self._judge(info, reward, total))

    def state(self) -> dict[str, np.ndarray]:
        """What is known of this moment: `reward`, `return`, `ended`, `success` where it is known, numbers observed, and the exact state."""
        known = {"reward": np.float64(self._reward), "return": np.float64(self._return), "ended": np.float64(self._ended)}
        success = {"success": np.float64(self._success)} if self._judge else {}
        return known | success | observed(self._observation) | unwrapped_state(self._env)

    def close(self) -> None:
        """Release the environment. One that fails in that has nothing left that anybody needs."""
        with suppress(Exception):
            self._env.close()

    def _see(self) -> None:
        whole = rendered(self._env, self._options)
        if self._shape not in (None, whole.shape):
            raise InvalidInput(
                f"{self._options.id} changed its frames from {list(self._shape)} to {list(whole.shape)}; fix their size, for example "
                + self._options.typed("make: {width: 128, height: 128}")
            )
        self._shape = whole.shape
        self.frame = self._resize(whole[None])[0]


def first_action(options: GymOptions, spec: ActionSpec) -> np.ndarray:
    """The action before the first frame, float32 `[A]`.

    Raises:
        InvalidInput: it has not one number for each component, or one that is out of bounds.
    """
    if options.before_action is None:
        return spec.rest.astype(np.float32)
    try:
        return spec.check([options.before_action])[0]
    except InvalidInput as error:
        bounds = " ".join(f"{low:g}..{high:g}" for low, high in zip(spec.low, spec.high, strict=True))
        given = list(options.before_action)
        raise InvalidInput(f"{options.id}: before_action is {given}, expected {spec.size} numbers within {bounds}") from error


def observed(observation: Any) -> dict[str, np.ndarray]:
    """Numbers of an observation by name, `[N]` each: `observation`, or `observation.KEY` of a mapping. Pictures are left out."""
    mapping = isinstance(observation, dict)
    given = {f"observation.{key}": value for key, value in observation.items()} if mapping else {"observation": observation}
    rows = {name: row_of_numbers(value) for name, value in given.items()}
    return {name: row for name, row in rows.items() if row is not None}
