"""Episodes that run side by side through one batched world model. Knows nothing of autoreset or of Gymnasium's spaces.

`WorldEnv` shows one lane of this, `WorldVectorEnv` all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded

from worldsim.envs.episode import Episode, Outcome, Recording, begin_episode
from worldsim.envs.parts import Parts
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import Verdict, WorldSpec
from worldsim.wrappers import Chunked, Watched, WatchedState, start_lanes


class Lanes:
    """`count` episodes and the one world-model state that holds them. `frames` is the latest uint8 `[B, H, W, 3]`.

    Every model step runs all lanes, so that the layout of the batch never changes; a lane that idles must be reset before it acts. A lane
    whose world breaks is truncated, unrewarded and unscored; the others do not notice.
    """

    def __init__(self, parts: Parts, count: int) -> None:
        spec = parts.world_model.spec
        self.parts = parts
        self.frames = np.zeros((count, spec.height, spec.width, 3), dtype=np.uint8)
        self._episodes: list[Episode | None] = [None] * count
        self._recordings: list[Recording | None] = [None] * count
        self._model = Watched(Chunked(parts.world_model, 1 if parts.strict else None))
        self._state: WatchedState | None = None

    def __len__(self) -> int:
        """Number of lanes."""
        return len(self._episodes)

    @property
    def over(self) -> np.ndarray:
        """Lanes whose episode has ended, or never began: bool `[B]`."""
        return np.array([episode is None or episode.over for episode in self._episodes])

    @property
    def begun(self) -> bool:
        """Whether every lane has been reset at least once."""
        return None not in self._episodes

    def reset(
        self, roots: Mapping[int, int | None], given: Mapping[int, np.ndarray], rng: np.random.Generator
    ) -> dict[int, dict[str, Any]]:
        """Begin an episode in each lane of `roots`; the other lanes stay bit-identical.

        Args:
            roots: lane to a new seed, or to None to go on to the lane's next episode.
            given: lane to first frames uint8 `[T0, H, W, 3]`, for lanes that should not draw a start.
            rng: where a lane that never had a seed gets one.

        Returns:
            Lane to reset info.

        Raises:
            ResetNeeded: some lane outside `roots` was never reset.
            InvalidInput: the task has no starts and no frames are given.
        """
        episodes = {lane: self._next_episode(lane, root, given.get(lane), rng) for lane, root in roots.items()}
        missing = [lane for lane, episode in enumerate(self._episodes) if episode is None and lane not in roots]
        if missing:
            raise ResetNeeded(f"lanes {missing} were never reset; call reset() without a reset_mask first")
        with self._pinned():
            begun = {lane: (episode.start.frames, episode.seed) for lane, episode in episodes.items()}
            self._state = start_lanes(self._model, self._state, len(self), begun) if begun else self._state
        for lane, episode in episodes.items():
            self._episodes[lane] = episode
            self.frames[lane] = episode.start.frames[-1]
            if self.parts.verifier is not None:
                self._recordings[lane] = Recording(self.frames[lane], self.parts.world_model.spec.action.size)
        return {lane: episode.info() for lane, episode in episodes.items()}

    def step(self, actions: Any, acting: Sequence[int]) -> dict[int, Outcome]:
        """One batched model step; only the episodes of `acting` lanes move on.

        Args:
            actions: float32 `[B, A]`; rows of idle lanes are ignored.
            acting: the lanes that act.

        Returns:
            Outcome of each acting lane.

        Raises:
            ResetNeeded: no reset yet, or the episode of an acting lane is over.
            InvalidInput: actions of the wrong shape, not finite or out of bounds.
        """
        self._refuse_finished(acting)
        actions = self._legal(actions, acting)
        if not len(acting):
            return {}
        with self._pinned():
            self._state, frames = self._model.step(self._state, actions)
            self.frames[:] = frames
            verdicts = self._judge(actions, acting)
        return {lane: self._advance(lane, verdicts.get(lane)) for lane in acting}

    def _next_episode(self, lane: int, root: int | None, given: np.ndarray | None, rng: np.random.Generator) -> Episode:
        before = self._episodes[lane]
        if root is None and before is not None:
            return begin_episode(self.parts.task, before.root, before.number + 1, given)
        return begin_episode(self.parts.task, int(rng.integers(2**63)) if root is None else root, 0, given)

    def _refuse_finished(self, acting: Sequence[int]) -> None:
        if not self.begun:
            raise ResetNeeded("this environment was never reset; call reset() before step()")
        over = self.over
        finished = [lane for lane in acting if over[lane]]
        if finished:
            raise ResetNeeded(f"the episode of lanes {finished} is over; call reset() before the next step()")

    def _legal(self, actions: Any, acting: Sequence[int]) -> np.ndarray:
        """All rows of `actions`, those of idle lanes replaced by the legal action nearest to zero."""
        spec = self.parts.world_model.spec.action
        actions = spec.numbers(actions)
        if actions.shape != (len(self), spec.size):
            raise InvalidInput(f"actions have shape {list(actions.shape)}, expected [{len(self)}, {spec.size}] for {', '.join(spec.names)}")
        idle = np.setdiff1d(np.arange(len(self)), acting)
        actions[idle] = np.clip(0, spec.low, spec.high)
        return spec.check(actions)

    def _judge(self, actions: np.ndarray, acting: Sequence[int]) -> dict[int, Verdict]:
        """What the verifier, if there is one, says of each acting lane; it is not asked about lanes that broke."""
        if self.parts.verifier is None:
            return {}
        for lane in acting:
            self._recordings[lane].add(actions[lane], self.frames[lane])
        faults = self._state.faults
        sound = {lane: self._recordings[lane].trajectory(self.parts.task, self._episodes[lane]) for lane in acting if not faults[lane]}
        verdicts = {lane: Verdict(None, faults[lane]) for lane in acting if faults[lane]}
        for lanes in [[lane] for lane in sound] if self.parts.strict else [list(sound)]:
            verdicts |= zip(lanes, self.parts.verifier.judge([sound[lane] for lane in lanes]) if lanes else [], strict=True)
        return verdicts

    def _advance(self, lane: int, verdict: Verdict | None) -> Outcome:
        self._episodes[lane], outcome = self._episodes[lane].after(verdict, self.parts.horizon, self._state.faults[lane])
        return outcome

    def _pinned(self) -> AbstractContextManager[None]:
        """Where the model and the verifier compute: as torch is set, or strictly."""
        if not self.parts.strict:
            return nullcontext()
        from worldsim.models.strict import strict_torch

        return strict_torch()


def check_seed(seed: Any) -> int | None:
    """A reset seed as a Python int, or None.

    Raises:
        InvalidInput: neither None nor a whole number of 0 or more.
    """
    if seed is None:
        return None
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InvalidInput(f"seed is {seed!r}, expected a whole number, 0 or more")
    return int(seed)


def check_options(options: Mapping[str, Any] | None, known: Iterable[str]) -> dict[str, Any]:
    """Reset options as a new dictionary.

    Raises:
        UnknownName: a key that is not in `known`.
    """
    options = dict(options or {})
    for key in options:
        if key not in known:
            raise UnknownName(f'unknown reset option "{key}"; {did_you_mean(key, known)}')
    return options


def check_given(frame: Any, spec: WorldSpec, lanes: Sequence[int], count: int) -> dict[int, np.ndarray]:
    """The reset option "frame" as first frames uint8 `[T0, H, W, 3]` per lane of `lanes`; empty for None.

    Args:
        frame: uint8 `[H, W, 3]` or `[T0, H, W, 3]` for every lane, or `[B, T0, H, W, 3]` with a row for each of `count` lanes.
        spec: says what size is right.
        lanes: the lanes that reset.
        count: number of lanes in all.

    Raises:
        InvalidInput: wrong dtype, size or number of rows.
    """
    if frame is None:
        return {}
    array = np.asarray(frame)
    array = array[(None,) * (5 - array.ndim)] if array.ndim in (3, 4) else array  # [1 or B, T0, H, W, 3]
    try:
        array = spec.check_frames(array)
    except InvalidInput as error:
        raise InvalidInput(f'reset option "frame": {error}') from error
    if len(array) not in (1, count):
        raise InvalidInput(f'reset option "frame" has {len(array)} rows, expected 1 or {count}')
    return {int(lane): array[lane if len(array) > 1 else 0] for lane in lanes}
