"""A world model whose way of drawing frames changes while it is played: steps, guidance, how the past is kept. Knows no page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.types import State, WorldModel
from worldsim.wrappers import Watched, WatchedState

MOST_STEPS, MOST_GUIDANCE = 200, 100.0


@dataclass(frozen=True)
class Tuning:
    """Denoising steps per frame, action guidance (1 is none) and the history mode (`worldsim.simulator.Sampler`)."""

    steps: int
    guidance: float
    history: str

    def __post_init__(self) -> None:
        if self.steps > MOST_STEPS or self.guidance > MOST_GUIDANCE:
            raise InvalidInput(f"a page may ask for {MOST_STEPS} steps and guidance {MOST_GUIDANCE:g} at most, got {self}")


class Tunable:
    """One lane of a world model, watched for faults. `own` is how it is drawn unless told otherwise; None where it has nothing to tune."""

    def __init__(self, model: WorldModel) -> None:
        self.spec, self._model, self._by_tuning = model.spec, model, {}
        sampler = getattr(model, "sampler", None)
        self.own = sampler and Tuning(sampler.steps, float(sampler.guidance), sampler.history)

    @property
    def histories(self) -> tuple[str, ...]:
        """The history modes that the sampler's other options allow."""
        from worldsim.simulator import HISTORY_MODES

        return tuple(mode for mode in HISTORY_MODES if self.own and self._allows(replace(self.own, history=mode)))

    def check(self, tuning: Tuning) -> Tuning:
        """The tuning, where the model can be drawn so.

        Raises:
            InvalidInput: with what is wrong, also where there is nothing to tune.
        """
        if self.own is None:
            raise InvalidInput("this world model has no steps, guidance or history mode to set")
        self._drawn(tuning)
        return tuning

    def start(self, frames: np.ndarray, seed: int, tuning: Tuning | None, actions: np.ndarray | None = None) -> WatchedState:
        """The state after first frames uint8 `[T0, H, W, 3]`, of which `actions` `[T0 - 1, A]` led from one to the next."""
        given = () if actions is None else (actions[None],)
        return Watched(self._drawn(tuning)).start(frames[None], np.array([seed], dtype=np.uint64), *given)

    def step(self, state: State, action: np.ndarray, tuning: Tuning | None) -> tuple[WatchedState, np.ndarray]:
        """An action float32 `[A]` to the next state and frame uint8 `[H, W, 3]`."""
        state, frames = Watched(self._drawn(tuning)).step(state, action[None])
        return state, frames[0]

    def carried(self, frames: Sequence[np.ndarray], actions: Sequence[np.ndarray], seed: int, tuning: Tuning) -> WatchedState:
        """The state to go on with under another history mode: the newest frames, as many as the network sees, are given to it anew."""
        reach = self._drawn(tuning).network.window
        frames = np.stack(frames[-reach:])
        return self.start(frames, seed, tuning, np.stack(actions[-(len(frames) - 1) :]) if len(frames) > 1 else None)

    def denoising(self, state: WatchedState, action: np.ndarray, tuning: Tuning | None) -> list[np.ndarray]:
        """What the next frame looked like from noise to its end, uint8 `[steps + 1, H, W, 3]`, and what was expected, `[steps, ...]`.

        Raises:
            InvalidInput: the world model is not sampled in steps.
        """
        from worldsim.simulator import VideoWorldModel, denoising_frames

        model = self._drawn(tuning)
        if not isinstance(model, VideoWorldModel):
            raise InvalidInput("this world model does not say how it came to a frame")
        return [rows[:, 0] for rows in denoising_frames(model, state.inner, action[None])]

    def _allows(self, tuning: Tuning) -> bool:
        try:
            self._drawn(tuning)
        except WorldsimError:
            return False
        return True

    def _drawn(self, tuning: Tuning | None) -> Any:
        """The model drawn as told; networks and weights are the same."""
        if tuning is None or tuning == self.own:
            return self._model
        if tuning not in self._by_tuning:
            self._by_tuning[tuning] = self._model.resampled(**asdict(tuning))
        return self._by_tuning[tuning]
