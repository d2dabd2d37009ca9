"""Frames per second of `worldsim/World-v0` by the number of lanes, and what the environment adds to the model's own time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from worldsim.experiments.bench.subject import Subject, cycle, noise_frames, running
from worldsim.experiments.bench.timing import Job, alternate
from worldsim.experiments.schema import BenchConfig
from worldsim.types import Start, Task, WorldModel, WorldSpec

OVERHEAD_LANES, EMPTY_FRAMES = 8, 200


class Idle:
    """A world model that does next to nothing: what is left of a step's time belongs to the environment.

    Its frames take turns with their negatives, since a picture that stands still ends an episode.
    """

    def __init__(self, spec: WorldSpec) -> None:
        self.spec = spec

    def start(self, frames: np.ndarray, seeds: np.ndarray) -> "Turns":
        """The last frames are the state."""
        return Turns(frames[:, -1], ~frames[:, -1])

    def step(self, state: "Turns", actions: np.ndarray) -> tuple["Turns", np.ndarray]:
        """The other frames."""
        return Turns(state.other, state.frames), state.other


@dataclass(frozen=True)
class Turns:
    """The frames shown and those to be shown next, uint8 `[B, H, W, 3]`."""

    frames: np.ndarray
    other: np.ndarray

    def select(self, lanes: Any) -> "Turns":
        """Some lanes."""
        return Turns(self.frames[list(lanes)], self.other[list(lanes)])

    def merge(self, lanes: Any, other: "Turns") -> "Turns":
        """This state with some lanes replaced."""
        frames, after = self.frames.copy(), self.other.copy()
        frames[list(lanes)], after[list(lanes)] = other.frames, other.other
        return Turns(frames, after)


def measure_env(subject: Subject, config: BenchConfig) -> dict[str, Any]:
    """Frames per second of all lanes together, by the clock and by the processor; and the environment's share at 8 lanes."""
    model, on_gpu = subject.world(), torch.device(subject.device).type == "cuda"
    frames = config.frames or cycle(subject, model.sampler.history)
    reach = subject.network.window + 2
    costs = alternate({str(lanes): in_env(model, lanes, frames, begun=reach) for lanes in config.lanes}, config.repeats, subject.device)
    fps = {lanes: 1000 / cost.wall_ms for lanes, cost in costs.items()}
    by_cpu = {lanes: 1000 / cost.cpu_ms for lanes, cost in costs.items()}
    own = fps if on_gpu else by_cpu
    first = str(config.lanes[0])
    return {
        "world_model": subject.facts,
        "env_precision": subject.precision,
        "env_fps": own,
        "env_fps_wall": fps,
        "env_fps_cpu": by_cpu,
        "env_speedup": {lanes: own[lanes] / own[first] for lanes in own},
        "env_sampler": {"steps": model.sampler.steps, "history": model.sampler.history, "guidance": model.sampler.guidance},
        **_overhead(model, subject, config, frames),
    }


def in_env(model: WorldModel, lanes: int, frames: int, begun: int = 1) -> Job:
    """`frames` steps of a batched environment a call, without a verifier, in an episode that began with `begun` given frames."""
    import gymnasium

    start = Start("noise", noise_frames(model.spec, 1, begun)[0])
    env = gymnasium.make_vec("worldsim/World-v0", num_envs=lanes, world_model=model, task=Task("bench", "", 1_000_000, (start,)))
    env.reset(seed=0)
    env.action_space.seed(0)

    def work() -> None:
        for _ in range(frames):
            env.step(env.action_space.sample())

    return Job(work, lanes * frames)


def _overhead(model: WorldModel, subject: Subject, config: BenchConfig, frames: int) -> dict[str, Any]:
    """What the environment adds to a frame: in milliseconds, around a model that does nothing, and as a share of the real model's time."""
    jobs = {
        "model": running(model, OVERHEAD_LANES, frames),
        "environment": in_env(Idle(model.spec), OVERHEAD_LANES, EMPTY_FRAMES),
    }
    costs = alternate(jobs, config.repeats, subject.device)
    alone, empty = (costs[name].wall_ms if "cuda" in subject.device else costs[name].cpu_ms for name in jobs)
    return {"overhead": empty / alone, "overhead_ms": empty, "overhead_lanes": OVERHEAD_LANES}
