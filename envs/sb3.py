"""A batched world as a Stable-Baselines3 `VecEnv`: one model call per step for all lanes. Knows nothing of policies or learning.

Import it only where it is used: it needs stable-baselines3, which `import worldsim.envs` does not.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from worldsim.envs.episode import Outcome
from worldsim.envs.lanes import check_given, check_options, check_seed
from worldsim.envs.world_vector_env import WorldVectorEnv
from worldsim.errors import InvalidInput, MissingDependency, install_extra
from worldsim.types import Task, WorldModel

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise MissingDependency(f"worldsim.envs.sb3 needs stable-baselines3; type: {install_extra('rl')}") from error

Indices = int | Sequence[int] | None


class WorldVecEnv(VecEnv):
    """What `DummyVecEnv` over as many `WorldEnv` is, number by number, but with one batched model call per step.

    Observations are uint8 `[B, H, W, 3]`, actions float32 `[B, A]`, rewards float32 `[B]`. A lane whose episode ends is
    reset in the same step: its info holds the last frame under `terminal_observation`, `TimeLimit.truncated`, and with a
    verifier `is_success`; `reset_infos[lane]` is the new episode's. After `seed(s)` the next reset gives lane i the seed
    s + i, and later resets go on to each lane's next episode. Frames handed out are copies.

    Args:
        num_envs: number of lanes, or a `WorldVectorEnv` to adapt; whatever its autoreset mode, this resets in the same step.
        render_mode: None or "rgb_array"; an environment that is given keeps its own.
        **keywords: those of `WorldEnv`, for lanes made here.

    Raises:
        WorldsimError: what `WorldVectorEnv` refuses, or keywords beside an environment that is built already.
    """

    def __init__(self, num_envs: int | WorldVectorEnv = 1, *, render_mode: str | None = None, **keywords: Any) -> None:
        if isinstance(num_envs, WorldVectorEnv) and (keywords or render_mode is not None):
            given = ", ".join([*keywords, *(["render_mode"] if render_mode is not None else [])])
            raise InvalidInput(f"{given} given beside an environment that is built already; set it there")
        self.env = num_envs if isinstance(num_envs, WorldVectorEnv) else WorldVectorEnv(num_envs, render_mode=render_mode, **keywords)
        self.lanes = [Lane(self.env, index) for index in range(self.env.num_envs)]
        self._actions: np.ndarray | None = None
        super().__init__(self.env.num_envs, self.env.single_observation_space, self.env.single_action_space)
        self.metadata = {key: value for key, value in self.env.metadata.items() if key != "autoreset_mode"}

    def reset(self) -> np.ndarray:
        """Begin an episode in every lane, with the seeds of `seed` and the options {"frame": ...} of `set_options` if there are any.

        Returns:
            Frames uint8 `[B, H, W, 3]`.

        Raises:
            WorldsimError: an unknown option, a frame of the wrong size or dtype, or a negative seed.
        """
        given = {}
        for lane, options in enumerate(self._options):
            given |= _given(self.env, lane, options)
        roots = {lane: check_seed(seed) for lane, seed in enumerate(self._seeds)}
        self._begin(roots, given)
        self._actions = None
        self._reset_seeds()
        self._reset_options()
        return self.env.lanes.frames.copy()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep a copy of the actions float32 `[B, A]` for `step_wait`."""
        self._actions = np.array(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Act: frames uint8 `[B, H, W, 3]`, rewards float32 `[B]`, dones bool `[B]` and one info per lane.

        Raises:
            ResetNeeded: no reset yet.
            InvalidInput: no actions were given, or they are of the wrong shape, not finite or out of bounds.
        """
        if self._actions is None:
            raise InvalidInput("step_wait() has no actions to wait for; call step_async(actions) first, or step(actions)")
        actions, self._actions = self._actions, None
        outcomes = self.env.lanes.step(actions, range(self.num_envs)).values()
        dones = np.array([outcome.terminated or outcome.truncated for outcome in outcomes])
        rewards = np.array([outcome.reward for outcome in outcomes], dtype=np.float32)
        infos = [self._info(lane, outcome) for lane, outcome in enumerate(outcomes)]
        self._begin(dict.fromkeys(np.flatnonzero(dones).tolist()), {})
        return self.env.lanes.frames.copy(), rewards, dones, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> list[np.ndarray | None]:
        """Copies of the latest frames, uint8 `[H, W, 3]` each; None for each without a render mode."""
        return list(self.env.render() or [None] * self.num_envs)

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of each `Lane`."""
        return [lane.get_wrapper_attr(attr_name) for lane in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute on each `Lane`; what belongs to the world they share cannot be set."""
        for lane in self._chosen(indices):
            setattr(lane, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any) -> list[Any]:
        """What a method of each `Lane` returns."""
        return [lane.get_wrapper_attr(method_name)(*method_args, **method_kwargs) for lane in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Indices = None) -> list[bool]:
        """False for each lane: there are no single environments to wrap. Wrap this with `VecMonitor` and its like."""
        return [isinstance(lane, wrapper_class) for lane in self._chosen(indices)]

    def _chosen(self, indices: Indices) -> list["Lane"]:
        return [self.lanes[index] for index in self._get_indices(indices)]

    def _info(self, lane: int, outcome: Outcome) -> dict[str, Any]:
        """The lane's info with what Stable-Baselines3 adds to it, before the lane is reset."""
        info = outcome.info | {"TimeLimit.truncated": outcome.truncated and not outcome.terminated}
        ended = outcome.terminated or outcome.truncated
        return info | {"terminal_observation": self.env.lanes.frames[lane].copy()} if ended else info

    def _begin(self, roots: dict[int, int | None], given: dict[int, np.ndarray]) -> None:
        for lane, info in self.env.lanes.reset(roots, given, self.env.np_random).items():
            self.reset_infos[lane] = info


class Lane(gymnasium.Env):
    """One lane of a `WorldVectorEnv`, for what Stable-Baselines3 asks of a single environment: attributes, reset and render."""

    def __init__(self, env: WorldVectorEnv, index: int) -> None:
        self._env, self._index = env, index
        self.observation_space, self.action_space = env.single_observation_space, env.single_action_space
        self.metadata, self.spec = env.metadata, env.spec

    @property
    def render_mode(self) -> str | None:
        """The mode that all lanes share."""
        return self._env.render_mode

    @property
    def world_model(self) -> WorldModel:
        """The model that all lanes share."""
        return self._env.world_model

    @property
    def task(self) -> Task:
        """The task that all lanes share."""
        return self._env.task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in this lane, as `WorldEnv.reset` does; the other lanes stay bit-identical."""
        given = _given(self._env, self._index, options)
        infos = self._env.lanes.reset({self._index: check_seed(seed)}, given, self._env.np_random)
        return self._env.lanes.frames[self._index].copy(), infos[self._index]

    def step(self, action: np.ndarray) -> tuple:
        """Refused: the lanes of a batch move together.

        Raises:
            InvalidInput: always.
        """
        raise InvalidInput("one lane of a batch cannot step alone; call step(actions) of the whole environment")

    def render(self) -> np.ndarray | None:
        """A copy of this lane's latest frame uint8 `[H, W, 3]`; None when no render mode was chosen."""
        frames = self._env.render()
        return None if frames is None else frames[self._index]


def _given(env: WorldVectorEnv, lane: int, options: dict[str, Any] | None) -> dict[int, np.ndarray]:
    """The first frames that one lane's reset options ask for, under the lane's number; empty if they ask for none."""
    return check_given(check_options(options, ("frame",)).get("frame"), env.world_model.spec, [lane], 1)
