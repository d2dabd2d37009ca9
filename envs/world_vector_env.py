"""A world model as a `gymnasium.vector.VectorEnv`: all lanes in one batched model call, and the three autoreset modes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from worldsim.envs.episode import Outcome
from worldsim.envs.lanes import Lanes, check_given, check_options, check_seed
from worldsim.envs.parts import RENDER_MODES, build_parts, check_render_mode, spaces_of
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import Task, WorldModel


class WorldVectorEnv(VectorEnv):
    """Act in `num_envs` worlds at once. Lane i is what a `WorldEnv` with lane i's seed is, whatever the other lanes do.

    It is so bit for bit with determinism="strict". By default another number of lanes may round another way, by a grey level here and
    there. Where the memory is too small for all lanes in one call, fewer are computed at a time, and a line of warning says so.

    Infos are Gymnasium's: one array per key and a mask under `_key`. A verifier score of None is NaN in the array.

    Args:
        num_envs: number of lanes.
        autoreset_mode: an `AutoresetMode` or its value: "NextStep", "SameStep" or "Disabled".
        render_mode: None or "rgb_array".
        **keywords: those of `WorldEnv`.

    Raises:
        WorldsimError: an unknown keyword, mode or name, fewer than one lane, or parts that do not fit one another.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 10, "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **keywords: Any,
    ) -> None:
        if not isinstance(num_envs, (int, np.integer)) or num_envs < 1:
            raise InvalidInput(f"num_envs is {num_envs!r}, expected a whole number, 1 or more")
        self.num_envs = int(num_envs)
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.render_mode = check_render_mode(render_mode)
        self._lanes = Lanes(build_parts(keywords), self.num_envs)
        self.single_observation_space, self.single_action_space = spaces_of(self.world_model.spec)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {**self.metadata, "render_fps": self.world_model.spec.fps, "autoreset_mode": self.autoreset_mode}

    @property
    def lanes(self) -> Lanes:
        """The episodes themselves, for adapters whose autoreset is none of the three."""
        return self._lanes

    @property
    def world_model(self) -> WorldModel:
        """The model that predicts."""
        return self._lanes.parts.world_model

    @property
    def task(self) -> Task:
        """The task that starts are drawn from."""
        return self._lanes.parts.task

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in every lane, or in those of a mask; the others stay bit-identical.

        Args:
            seed: lane i gets seed + i, or its entry of a sequence; None goes on to the lane's next episode.
            options: "frame": uint8 `[H, W, 3]` or `[T0, H, W, 3]` for every lane, or `[B, T0, H, W, 3]`;
                "reset_mask": bool `[B]`, the lanes to reset.

        Returns:
            Frames uint8 `[B, H, W, 3]` of all lanes, and the infos of those that were reset.

        Raises:
            WorldsimError: an unknown option, a frame or mask of the wrong shape or dtype, or a wrong seed.
            ResetNeeded: the first reset has a mask that leaves out a lane.
        """
        options = check_options(options, ("frame", "reset_mask"))
        lanes = self._masked(options.get("reset_mask"))
        given = check_given(options.get("frame"), self.world_model.spec, lanes, self.num_envs)
        seeds = self._lane_seeds(seed)
        super().reset(seed=seeds[0] if isinstance(seed, (int, np.integer)) else None)
        fresh = self._lanes.reset({lane: seeds[lane] for lane in lanes}, given, self.np_random)
        return self._lanes.frames.copy(), self._gathered(fresh)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Act in all lanes: float32 `[B, A]` to (frames, rewards float64, terminations, truncations, infos), `[B]` each.

        A lane whose episode ended is reset by the next step, which ignores its action (NEXT_STEP); by the same step, with
        `final_obs` and `final_info` in the infos (SAME_STEP); or by the caller, with a reset_mask (DISABLED).

        Raises:
            ResetNeeded: no reset yet, or with DISABLED a lane whose episode is over.
            InvalidInput: actions of the wrong shape, not finite or out of bounds.
        """
        waiting = self._lanes.over & (self.autoreset_mode is AutoresetMode.NEXT_STEP)
        outcomes = self._lanes.step(actions, np.flatnonzero(~waiting).tolist())
        infos = self._final(outcomes) if self.autoreset_mode is AutoresetMode.SAME_STEP else {}
        ended = self._lanes.over if self.autoreset_mode is AutoresetMode.SAME_STEP else waiting
        fresh = self._lanes.reset(dict.fromkeys(np.flatnonzero(ended).tolist()), {}, self.np_random)
        infos = self._gathered({lane: outcome.info for lane, outcome in outcomes.items()} | fresh, infos)
        return self._lanes.frames.copy(), *self._columns(outcomes), infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Copies of the latest frames, uint8 `[H, W, 3]` each; None when no render mode was chosen.

        Raises:
            ResetNeeded: there are no frames yet.
        """
        if self.render_mode is None:
            return None
        if not self._lanes.begun:
            raise ResetNeeded("there is no frame to render; call reset() first")
        return tuple(frame.copy() for frame in self._lanes.frames)

    def _masked(self, mask: Any) -> list[int]:
        """The lanes that a reset mask asks for; all without one."""
        if mask is None:
            return list(range(self.num_envs))
        array = np.asarray(mask)
        if array.dtype != np.bool_ or array.shape != (self.num_envs,) or not array.any():
            given = f"{array.dtype} {list(array.shape)}"
            raise InvalidInput(f'reset option "reset_mask" is {given}, expected bool [{self.num_envs}] with at least one True')
        return np.flatnonzero(array).tolist()

    def _lane_seeds(self, seed: Any) -> list[int | None]:
        """One seed per lane."""
        if seed is None or isinstance(seed, (int, np.integer)):
            first = check_seed(seed)
            return [None if first is None else first + lane for lane in range(self.num_envs)]
        seeds = [check_seed(value) for value in seed]
        if len(seeds) != self.num_envs:
            raise InvalidInput(f"{len(seeds)} seeds are given for {self.num_envs} lanes; pass one per lane, or one number for all")
        return seeds

    def _final(self, outcomes: dict[int, Outcome]) -> dict[str, Any]:
        """`final_obs` and `final_info` of the lanes that have just ended."""
        ended = {lane: outcome for lane, outcome in outcomes.items() if outcome.terminated or outcome.truncated}
        return self._gathered(
            {lane: {"final_obs": self._lanes.frames[lane].copy(), "final_info": outcome.info} for lane, outcome in ended.items()}
        )

    def _gathered(self, rows: dict[int, dict[str, Any]], infos: dict[str, Any] | None = None) -> dict[str, Any]:
        """Infos of single lanes added to `infos`, one array and one mask per key."""
        infos = {} if infos is None else infos
        for lane, row in sorted(rows.items()):
            infos = self._add_info(infos, _numeric(row), lane)
        return infos

    def _columns(self, outcomes: dict[int, Outcome]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rewards float64, terminations and truncations bool, `[B]` each; zero and False where a lane was only reset."""
        rewards, ends = np.zeros(self.num_envs), np.zeros((2, self.num_envs), dtype=np.bool_)
        for lane, outcome in outcomes.items():
            rewards[lane], ends[:, lane] = outcome.reward, (outcome.terminated, outcome.truncated)
        return rewards, ends[0].copy(), ends[1].copy()


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    modes = {member.value: member for member in AutoresetMode}
    if isinstance(mode, AutoresetMode):
        return mode
    if mode not in modes:
        raise UnknownName(f'unknown autoreset_mode "{mode}"; {did_you_mean(str(mode), modes)}')
    return modes[mode]


def _numeric(row: dict[str, Any]) -> dict[str, Any]:
    """A lane's info in which a score of None is NaN, so that the array of scores is float64 whichever lane comes first."""
    if "final_info" in row:
        return row | {"final_info": _numeric(row["final_info"])}
    if "verifier" not in row:
        return row
    score = row["verifier"]["score"]
    return row | {"verifier": row["verifier"] | {"score": np.nan if score is None else float(score)}}
