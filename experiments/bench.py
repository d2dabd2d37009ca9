"""`worldsim bench`: what one frame costs on this machine, in the model alone and in the environments around it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.data.files import write_json
from worldsim.errors import InvalidInput
from worldsim.experiments.provenance import machine
from worldsim.experiments.schema import BenchConfig
from worldsim.experiments.setting import use_torch, world_model_facts
from worldsim.load import load_world_model
from worldsim.types import Start, Task, WorldModel, WorldSpec

if TYPE_CHECKING:
    from rich.table import Table

OVERHEAD_LANES = 8


@dataclass(frozen=True)
class Cost:
    """What a frame of one lane costs: processor time over all threads, and time on the clock, both in milliseconds."""

    cpu_ms: float
    wall_ms: float


class Motionless:
    """A world model that does nothing, as fast as possible: what is left of a step's time belongs to the environment."""

    def __init__(self, spec: WorldSpec) -> None:
        self.spec = spec

    def start(self, frames: np.ndarray, seeds: np.ndarray) -> "Still":
        """The last frames are the state."""
        return Still(frames[:, -1])

    def step(self, state: "Still", actions: np.ndarray) -> tuple["Still", np.ndarray]:
        """The same frames again."""
        return state, state.frames


@dataclass(frozen=True)
class Still:
    """Frames uint8 `[B, H, W, 3]` that stay."""

    frames: np.ndarray

    def select(self, lanes: Any) -> "Still":
        """Some lanes."""
        return Still(self.frames[list(lanes)])

    def merge(self, lanes: Any, other: "Still") -> "Still":
        """This state with some lanes replaced."""
        frames = self.frames.copy()
        frames[list(lanes)] = other.frames
        return Still(frames)


def run(config: BenchConfig) -> dict[str, Any]:
    """Time, print a table and write `config.out`. Returns the numbers."""
    from rich.console import Console

    use_torch(config.threads, "cpu")
    facts, model_config = world_model_facts(config.world_model)
    if not model_config:
        raise InvalidInput(f'bench times checkpoints, and world model "{config.world_model}" is none; type world_model=PATH')
    precision = {} if config.precision == "auto" else {"precision": config.precision}
    own = load_world_model(config.world_model, **precision)
    costs = {history: _by_steps(config, history, precision) for history in config.histories}
    numbers = {
        "world_model": facts,
        "batch": config.batch,
        "guidance": own.sampler.guidance if config.guidance is None else config.guidance,
        "frame_ms": {history: {str(steps): cost.cpu_ms for steps, cost in found.items()} for history, found in costs.items()},
        "frame_wall_ms": {history: {str(steps): cost.wall_ms for steps, cost in found.items()} for history, found in costs.items()},
        "env_fps": {str(lanes): 1000 / time_env(own, lanes, config.frames).wall_ms for lanes in config.lanes},
        "env_steps": own.sampler.steps,
        **_overhead(own, config.frames),
        "machine": machine() | {"precision": own.precision},
    }
    write_json(config.out, numbers)
    console = Console(highlight=False)
    console.print(_table(numbers), _env_table(numbers))
    console.print(f"timings: {Path(config.out)}", markup=False, soft_wrap=True)
    return numbers


def _by_steps(config: BenchConfig, history: str, precision: dict[str, str]) -> dict[int, Cost]:
    """The cost of a frame for each number of denoising steps, with the past kept in one way and full."""
    found = {}
    for steps in config.steps:
        model = load_world_model(config.world_model, steps=steps, history=history, guidance=config.guidance, **precision)
        found[steps] = time_model(model, config.batch, config.frames, full=model.network.window + 1)
    return found


def measure(step: Callable[[], None], *, times: int, frames: int, warm: int = 1) -> Cost:
    """The cost of one of `frames` frames that a call of `step` makes, over `times` calls after `warm` ones that are not timed."""
    for _ in range(warm):
        step()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        step()
    made = times * frames
    return Cost(1000 * (time.process_time() - cpu) / made, 1000 * (time.perf_counter() - wall) / made)


def time_model(model: WorldModel, lanes: int, frames: int, full: int = 1) -> Cost:
    """The cost of a frame in the model alone, `lanes` side by side, actions drawn at random; timed once `full` frames are made."""
    rng, spec = np.random.default_rng(0), model.spec
    state = model.start(_noise_frames(rng, spec, lanes), np.arange(lanes, dtype=np.uint64))

    def step() -> None:
        nonlocal state
        state, _ = model.step(state, rng.uniform(spec.action.low, spec.action.high, (lanes, spec.action.size)).astype(np.float32))

    return measure(step, times=frames, frames=lanes, warm=full)


def time_env(model: WorldModel, lanes: int, frames: int) -> Cost:
    """The cost of a frame in `worldsim/World-v0` with `lanes` lanes and no verifier."""
    import gymnasium

    rng, spec = np.random.default_rng(0), model.spec
    start = Start("noise", _noise_frames(rng, spec, 1)[0])
    task = Task("bench", "", frames + 2, (start,))
    env = gymnasium.make_vec("worldsim/World-v0", num_envs=lanes, world_model=model, task=task)
    env.reset(seed=0)
    cost = measure(lambda: env.step(env.action_space.sample()), times=frames, frames=lanes)
    env.close()
    return cost


def _overhead(model: WorldModel, frames: int) -> dict[str, float]:
    """What the environment adds to a frame: in milliseconds, with a model that does nothing, and as a share of the real model's time."""
    alone = time_model(model, OVERHEAD_LANES, frames)
    empty = time_env(Motionless(replace(model.spec)), OVERHEAD_LANES, 10 * frames)
    return {"overhead": empty.wall_ms / alone.wall_ms, "overhead_ms": empty.wall_ms, "overhead_lanes": OVERHEAD_LANES}


def _noise_frames(rng: np.random.Generator, spec: WorldSpec, lanes: int) -> np.ndarray:
    return rng.integers(0, 256, (lanes, 1, spec.height, spec.width, 3), dtype=np.uint8)


def _table(numbers: dict[str, Any]) -> "Table":
    from rich.table import Table

    about = (
        f"{numbers['world_model']['name']}, {numbers['batch']} lanes, guidance {numbers['guidance']:g}, {numbers['machine']['precision']}"
    )
    table = Table(title=f"One frame of {about}")
    for heading in ("history", "steps", "CPU ms", "wall ms"):
        table.add_column(heading, justify="right")
    for mode, by_steps in numbers["frame_ms"].items():
        for steps, cpu in by_steps.items():
            table.add_row(mode, steps, f"{cpu:.2f}", f"{numbers['frame_wall_ms'][mode][steps]:.2f}")
    return table


def _env_table(numbers: dict[str, Any]) -> "Table":
    from rich.table import Table

    about = f"{numbers['env_steps']} steps, environment {numbers['overhead']:.1%} of the model's time"
    table = Table(title=f"worldsim/World-v0, {about}")
    for heading in ("lanes", "frames per second"):
        table.add_column(heading, justify="right")
    for lanes, fps in numbers["env_fps"].items():
        table.add_row(lanes, f"{fps:.1f}")
    return table
