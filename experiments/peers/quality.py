"""How good a peer and our model of its size become in equal processor time on the same recordings: the column beside the speed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from worldsim.experiments.recordings import action_spec
from worldsim.metrics.images import psnr
from worldsim.training.loop import SCHEDULES
from worldsim.types import ActionSpec, Trajectory

GIVEN, STEPS = 4, (1, 4, 8)  # true frames that every model is given, and the later ones that are scored


@dataclass(frozen=True)
class Quality:
    """What is learnt from and scored.

    Attributes:
        train: folder of recorded episodes, as `worldsim collect` writes them.
        validation: another one, of which nothing is learnt.
        seconds: processor time of each side's training, from random weights, the preparation of its data included.
        train_episodes: at most so many episodes are read.
        episodes: held-out episodes, one continuation of each.
        seed: of the draws.
    """

    train: str
    validation: str
    seconds: float = 480.0
    train_episodes: int = 1500
    episodes: int = 40
    seed: int = 0

    @classmethod
    def of(cls, data: str | Path, **values: Any) -> "Quality":
        """From a folder that is divided into splits, as `worldsim collect` makes it."""
        from worldsim.data.splits import split_folder

        return cls(str(split_folder(data, "train")), str(split_folder(data, "validation")), **values)


class Learner(Protocol):
    """A model with its own loss that continues given frames."""

    model: nn.Module
    rate: float

    def loss(self, generator: torch.Generator) -> Tensor:
        """Of one batch that it draws itself."""
        ...

    def continuations(self, given: np.ndarray, actions: np.ndarray) -> dict[str, np.ndarray]:
        """By the name of each way to sample: uint8 `[N, T, H, W, 3]`.

        Args:
            given: true frames, uint8 `[N, 4, H, W, 3]`.
            actions: recorded ones, `[N, 3 + T, A]`; the first acts on the first given frame.
        """
        ...


@dataclass(frozen=True)
class Recordings:
    """Episodes to learn from, and pieces of others to be continued: uint8 `[N, 4 + T, H, W, 3]` and actions `[N, 3 + T, A]`."""

    train: list[Trajectory]
    frames: np.ndarray
    actions: np.ndarray
    action: ActionSpec

    @cached_property
    def given(self) -> np.ndarray:
        """The frames that every model sees."""
        return self.frames[:, :GIVEN]


def read(quality: Quality) -> Recordings:
    """Read both folders; each held-out episode is entered at a random place.

    Raises:
        InvalidInput, DamagedFile: no episodes there, of another split, or broken ones.
    """
    held_out, rng = _spread(quality.validation, "validation", quality.episodes), np.random.default_rng(quality.seed)
    length = GIVEN + max(STEPS)
    begins = [int(rng.integers(0, len(each.frames) - length + 1)) for each in held_out]
    frames = np.stack([each.frames[at : at + length] for at, each in zip(begins, held_out, strict=True)])
    actions = np.stack([each.actions[at : at + length - 1] for at, each in zip(begins, held_out, strict=True)])
    return Recordings(_spread(quality.train, "train", quality.train_episodes), frames, actions, action_spec(Path(quality.train)))


def _spread(folder: str, split: str, count: int) -> list[Trajectory]:
    """`count` episodes of a split, evenly spread over those of its folder, or all where there are fewer."""
    from worldsim.data.splits import require_split
    from worldsim.data.trajectory_file import read_trajectory, trajectory_paths

    paths = trajectory_paths(folder)
    found = [read_trajectory(paths[i]) for i in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)]
    for trajectory in found:
        require_split(trajectory.seed, split)
    return found


def learnt(make: Callable[[], Learner], seconds: float, seed: int) -> tuple[Learner, dict[str, Any]]:
    """A learner after `seconds` of processor time, holding its averaged weights, and what it did in them."""
    begin, losses = time.process_time(), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = make()
        parameters = [each for each in learner.model.parameters() if each.requires_grad]
        average = [each.detach().clone() for each in parameters]
        optimizer = torch.optim.AdamW(parameters, learner.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        generator = torch.Generator().manual_seed(seed)
        while (spent := time.process_time() - begin) < seconds:
            for group in optimizer.param_groups:
                group["lr"] = learner.rate * SCHEDULES["warm-and-cool"](len(losses), spent / seconds)
            losses.append(_descend(learner, parameters, optimizer, generator))
            keep = min(0.998, len(losses) / (len(losses) + 10))
            torch._foreach_lerp_(average, [each.detach() for each in parameters], 1 - keep)
    for parameter, mean in zip(parameters, average, strict=True):
        parameter.data.copy_(mean)
    learner.model.eval()
    return learner, {"iterations": len(losses), "loss": float(np.mean(losses[-20:])), "parameters": sum(p.numel() for p in parameters)}


def _descend(learner: Learner, parameters: list[Tensor], optimizer: torch.optim.Optimizer, generator: torch.Generator) -> float:
    loss = learner.loss(generator)
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def measure(makers: Mapping[str, Callable[[], Learner]], recordings: Recordings, quality: Quality) -> dict[str, Any]:
    """Train each of `makers` in the same processor time and score what it makes of the held-out pieces, as values for JSON."""
    scores = {"copying the last given frame": _scores(recordings, np.repeat(recordings.given[:, -1:], max(STEPS), axis=1))}
    trained = {}
    for name, make in makers.items():
        learner, trained[name] = learnt(make, quality.seconds, quality.seed)
        made = learner.continuations(recordings.given, recordings.actions)
        scores |= {f"{name} {how}".strip(): _scores(recordings, frames) for how, frames in made.items()}
    return {
        "seconds": quality.seconds,
        "train_episodes": len(recordings.train),
        "held_out_episodes": len(recordings.frames),
        "given_frames": GIVEN,
        "steps": list(STEPS),
        "psnr": scores,
        "trained": trained,
    }


def _scores(recordings: Recordings, made: np.ndarray) -> list[float]:
    """Mean PSNR in dB of the frame after each of `STEPS` actions."""
    return [float(psnr(made[:, step - 1], recordings.frames[:, GIVEN + step - 1]).mean()) for step in STEPS]
