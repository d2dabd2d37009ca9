"""`worldsim reproduce`: everything that ships, made again from nothing: data, policies, judge, world model and starts.

Each step is another command and resumes where it was stopped. Runs on the CPU in hours, or on a GPU with device=cuda.
"""

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.experiments import collect
from worldsim.experiments.reproduce_parts import clone, train_judge, train_stage
from worldsim.experiments.schema import CollectConfig

WEAK = (60, 120, 180, 250, 350, 500, 700)  # steps of the policies that training data is collected with
PANEL = {
    "begin": 0,
    "2pct": 45,
    "5pct": 105,
    "8pct": 150,
    "9pct": 180,
    "11pct": 210,
    "12pct": 240,
    "14pct": 270,
    "18pct": 350,
    "converged": 2000,
}
STARTS = 200
EPISODES = 4500


def run(config) -> None:
    """Make everything below `config.out` and, with `install`, put it where worldsim ships it."""
    if config.world != "drawer":
        return import_module(f"worldsim.experiments.reproduce_{config.world}").run(config)
    out = Path(config.out)
    record(out / "data", out / "collectors", config.episodes or EPISODES, config.seed)
    policies(out)
    world_model(out, config)
    judge(out, config)
    for name in ("drawer", "drop"):
        starts(out / f"{name}.h5", name)
    if config.install:
        install(out)


def record(data: Path, collectors: Path, episodes: int, seed: int) -> None:
    """Scripted episodes, weak image policies cloned from them, and those policies' rollouts. The panel comes from another cloning run."""
    collect.run(CollectConfig(out=str(data), episodes=200, split="validation"))
    collect.run(CollectConfig(out=str(data), episodes=episodes))
    weak = clone(collectors, "weak", data, steps=1000, save_at=list(WEAK), episodes=1500, seed=seed + 11)
    collect.run(CollectConfig(out=str(data), episodes=episodes // 4, seed=100_000, policies=weak))


def policies(out: Path) -> None:
    """The cloning run that the panel is taken from."""
    grades = [steps for steps in PANEL.values() if steps < 2000]
    clone(out / "policies", "panel", out / "data", steps=2000, save_at=grades, episodes=1500, seed=1)


def world_model(out: Path, config) -> None:
    """All stages in order but distill, which the shipped world does without (docs/few-steps.md)."""
    from worldsim.training.stages import STAGES

    for stage in (stage for stage in STAGES if stage != "distill"):
        train_stage(out, stage, config, batch=config.batch)


def judge(out: Path, config) -> None:
    """The judge of the drawer, which also learns from how the world model draws the last steps."""
    train_judge(out, "classifier", config, world_model=str(out / "world_model" / "self-context"), relived=0.04, steps=2200)


def starts(path: Path, truth: Any, count: int = STARTS) -> None:
    """A task's starts: first frames of a true world, given by name or mapping, at evaluation seeds."""
    from worldsim.data.splits import seed_of
    from worldsim.data.tasks import write_starts
    from worldsim.experiments.recorded_worlds import recorded_world
    from worldsim.load import load_truth
    from worldsim.types import Start, Task

    scene, world, found = load_truth(truth), recorded_world(truth), []
    for index in range(count):
        seed = seed_of("evaluation", index)
        frame = scene.reset([Start(str(seed), np.zeros(0), seed)])
        found.append(Start(f"{seed:07d}", frame, seed))
    scene.close()
    write_starts(path, Task(world.name, world.instruction, world.horizon, tuple(found)))


def install(out: Path) -> None:
    """Copy world model, judge, starts and the panel of policies into the package."""
    from importlib.resources import files

    weights = Path(str(files("worldsim"))) / "weights"
    ignore = shutil.ignore_patterns("training", ".training")
    shutil.copytree(out / "world_model" / "self-context", weights / "world_models" / "drawer", dirs_exist_ok=True, ignore=ignore)
    shutil.copytree(out / "classifier", weights / "verifiers" / "classifier", dirs_exist_ok=True, ignore=ignore)
    for name, steps in PANEL.items():
        source = out / "policies" / (f"panel-{steps}" if steps < 2000 else "panel")
        shutil.copytree(source, weights / "policies" / name, dirs_exist_ok=True, ignore=ignore)
    (weights / "tasks").mkdir(parents=True, exist_ok=True)
    for name in ("drawer.h5", "drop.h5"):
        shutil.copy(out / name, weights / "tasks" / name)
