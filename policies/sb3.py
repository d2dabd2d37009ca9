"""Checkpoints of Stable-Baselines3 as policies. Knows no world: what is observed and what an action is are the checkpoint's own spaces."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import sha256_of
from worldsim.errors import DamagedFile, InvalidInput, MissingDependency, UnknownName, install_extra
from worldsim.policies.observing import ObservingPolicy
from worldsim.registry import POLICIES, did_you_mean
from worldsim.types import ActionSpec

ALGORITHMS = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")


@POLICIES.register("sb3")
@dataclass
class SB3Config:
    """A checkpoint that Stable-Baselines3's `save` wrote.

    Attributes:
        path: the zip file.
        algorithm: A2C, DDPG, DQN, PPO, SAC or TD3.
        observation: "state": what the environment observes, which there is in a truth only; or "frame".
        stack: frames that are stacked along the channels, the newest last, as `VecFrameStack` does.
        trust_code: read the file, whose pickles may run anything.
        device: "cpu", "cuda" or "cuda:1".
    """

    path: str
    algorithm: str
    observation: str = "frame"
    stack: int = 1
    trust_code: bool = False
    device: str = "cpu"

    def build(self, action: ActionSpec) -> ObservingPolicy:
        """Load the file; its actions are taken for the world's, so they must be of its size.

        Raises:
            MissingDependency: stable-baselines3 is not installed.
            DamagedFile, InvalidInput, UnknownName: no such file or algorithm, or spaces that do not fit.
        """
        model = self._model()
        encode = _encoder(model.action_space, action, self.path)

        def answer(observed: Any) -> np.ndarray:
            seen = _of_state(observed, model.observation_space) if self.observation == "state" else _of_frames(observed)
            _refuse_other_shape(seen, model.observation_space, self.observation)
            return encode(model.predict(seen, deterministic=True)[0])

        return ObservingPolicy(action, answer, self.observation, self.stack)

    def facts(self) -> dict[str, str]:
        """What identifies the checkpoint, wherever it lies. Raises DamagedFile."""
        self._require_file()
        return {"sha256": sha256_of(Path(self.path))}

    def _require_file(self) -> None:
        if not Path(self.path).is_file():
            raise DamagedFile(f"{self.path} is no file; give the zip that Stable-Baselines3's save wrote")

    def _model(self) -> Any:
        if self.algorithm not in ALGORITHMS:
            raise UnknownName(f'algorithm is "{self.algorithm}"; {did_you_mean(self.algorithm, ALGORITHMS)}')
        self._require_file()
        if self.trust_code is not True:
            raise InvalidInput(f"{self.path} holds pickles, which may run anything; if you trust whoever made it, give trust_code: true")
        try:
            import stable_baselines3
        except ImportError as error:
            raise MissingDependency(f'policy "sb3" needs stable-baselines3; type: {install_extra("rl")}') from error
        try:
            return getattr(stable_baselines3, self.algorithm).load(self.path, device=self.device)
        except Exception as error:  # pickles raise anything
            raise DamagedFile(f"{self.path} cannot be read as {self.algorithm} ({type(error).__name__}: {error})") from error


def _encoder(space: Any, action: ActionSpec, path: str) -> Any:
    """From an action of the checkpoint to the world's vector `[A]`.

    Raises:
        InvalidInput: they do not fit one another.
    """
    choices = getattr(space, "n", None)
    if action.choice != (choices is not None) or (choices if action.choice else int(np.prod(space.shape))) != action.size:
        kind = f"one choice of {action.size}" if action.choice else f"{action.size} numbers"
        raise InvalidInput(f"{path} acts in {space}, the world takes {kind} ({', '.join(action.names)}); give one trained in it")
    if action.choice:
        return lambda given: np.eye(action.size, dtype=np.float32)[int(given) - int(space.start)]
    return np.ravel


def _of_state(state: Mapping[str, np.ndarray], space: Any) -> Any:
    """What the environment observed, as the checkpoint's space has it."""
    if hasattr(space, "spaces"):
        return {key: _observed(state, f"observation.{key}", each) for key, each in space.spaces.items()}
    return _observed(state, "observation", space)


def _observed(state: Mapping[str, np.ndarray], name: str, space: Any) -> np.ndarray:
    """One of the observations. Of what is no number a network would make some action or other.

    Raises:
        InvalidInput: it is not finite.
    """
    if not np.isfinite(state[name]).all():
        raise InvalidInput(f"the environment gave it an {name} that is not finite")
    return state[name].astype(space.dtype)


def _of_frames(frames: np.ndarray) -> np.ndarray:
    """Frames `[k, H, W, 3]` beside one another in the channels, `[H, W, 3 k]`."""
    return np.concatenate(list(frames), axis=-1)


def _refuse_other_shape(seen: Any, space: Any, observation: str) -> None:
    """Stop where the checkpoint was trained on something of another shape, in one line."""
    if isinstance(seen, dict):
        return
    pictures = len(space.shape) == 3 and space.shape[0] < space.shape[-1]  # channels first, as Stable-Baselines3 keeps them
    wanted = (*space.shape[1:], space.shape[0]) if pictures else space.shape
    if seen.shape != wanted:
        raise InvalidInput(f"it was trained to observe {list(wanted)}, its {observation} here is {list(seen.shape)}")
