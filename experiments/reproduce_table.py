"""`worldsim reproduce world=table`: what the suite of three tasks stands on, made again: data, policies, one world model, three judges.

Each step is another command and resumes where it was stopped. The world model begins at the shipped drawer world.
"""

import shutil
from pathlib import Path

from worldsim.envs.table.physics import TASKS
from worldsim.experiments import collect
from worldsim.experiments.reproduce import starts
from worldsim.experiments.reproduce_parts import clone, train_judge, train_stage
from worldsim.experiments.schema import CollectConfig

EPISODES = 1000  # scripted ones of each task; weak policies add a quarter as many, middling ones more
APART = 20_000  # seeds between the tasks' recordings
WEAK = (80, 160, 250, 400, 600)  # steps of the policies that training data is collected with
MIDDLING = {  # steps of others, of runs as long as the panel's: they begin what is asked for, and leave it half-way
    "close": [200, 300, 400, 500, 700, 900],
    "open": [1000, 1050, 1100, 1200, 1300, 1500],
}
BESIDE = {"close": [0.0, 0.0, 0.08], "open": [-0.12, 0.0, 0.0], "push": [0.0, 0.05, 0.0]}  # m: the right motion at the wrong place
STARTS = 100
GRADES = {  # steps of the cloning run at which a task's panel is taken from it, the last the whole run
    "close": [0, 80, 160, 250, 300, 500, 650, 1400],
    "open": [0, 1000, 1050, 1100, 1150, 1250, 1750, 3000],
    "push": [0, 1250, 1500, 1750, 2000, 2400, 2600, 3000],
}


def run(config) -> None:
    """Make everything below `config.out` and, with `install`, put it where worldsim ships it."""
    out, episodes = Path(config.out), config.episodes or EPISODES
    for number, task in enumerate(TASKS):
        record(out, task, number * APART, episodes)
    for task in TASKS:
        policies(out, task)
        judge(out, task, config)
        starts(out / f"table-{task}.h5", f"table:{task}", STARTS)
    for number, task in enumerate(MIDDLING):
        record_middling(out, task, number * APART, episodes * 6 // 10)
    world_model(out, config)
    if config.install:
        install(out)


def record(out: Path, task: str, seed: int, episodes: int) -> None:
    """Scripted episodes, weak image policies cloned from them, and those policies' rollouts. The panel comes from other cloning runs."""
    data = {"out": str(out / "data"), "truth": f"table:{task}"}
    collect.run(CollectConfig(episodes=max(2, episodes * 6 // 100), split="validation", seed=seed, **data))
    collect.run(CollectConfig(episodes=episodes, seed=seed, **data))
    weak = learn(out, task, f"{task}-weak", steps=1000, save_at=list(WEAK), seed=11)
    collect.run(CollectConfig(episodes=episodes // 4, seed=100_000 + seed, policies=weak, **data))


def record_middling(out: Path, task: str, seed: int, episodes: int) -> None:
    """Rollouts of policies that stop half-way, which a world model must have seen, else it finishes what they began. Nobody else does."""
    *acting, _ = learn(out, task, f"{task}-middling", steps=GRADES[task][-1], save_at=MIDDLING[task], seed=12)
    collect.run(CollectConfig(out=str(out / "data"), truth=f"table:{task}", episodes=episodes, seed=300_000 + seed, policies=acting))


def world_model(out: Path, config) -> None:
    """The shipped drawer world, taught the block, the zone and the other handle: its autoencoder first, then the network."""
    begun = {"init": "drawer", "world_model": "table"}
    train_stage(out, "autoencoder", config, steps=3000, learning_rate=6e-4, **begun)
    coder = str(out / "world_model" / "autoencoder")
    train_stage(out, "self-context", config, autoencoder=coder, steps=3362, batch=config.batch or 12, **begun)


def policies(out: Path, task: str) -> None:
    """Two cloning runs of a task: one of its expert, which the panel's grades are taken from, and one of who aims beside."""
    *grades, steps = GRADES[task]
    learn(out, task, f"{task}-panel", steps=steps, save_at=grades, seed=1)
    beside = out / "beside"
    options = {"truth": f"table:{task}", "expert": {"name": "table-scripted", "id": task, "offset": BESIDE[task]}}
    collect.run(CollectConfig(out=str(beside), episodes=150, seed=200_000 + APART * TASKS.index(task), **options))
    learn(out, task, f"{task}-beside", data=beside, steps=800, seed=2)


def learn(out: Path, task: str, name: str, data: Path | None = None, **options) -> list[str]:
    """A cloning run of a task. Returns its policies."""
    return clone(out / "policies", name, data or out / "data", task=f"table-{task}", width=16, **options)


def panel(task: str) -> dict[str, str]:
    """The checkpoints of a task that ship, by name: how far their run had come, and who aims beside."""
    *grades, steps = GRADES[task]
    named = {f"{round(100 * grade / steps)}pct" if grade else "begin": f"panel-{grade}" for grade in grades}
    return named | {"converged": "panel", "beside": "beside"}


def judge(out: Path, task: str, config) -> None:
    """The judge of a task."""
    finer = {"channels": 24, "steps": 3000} if task == "push" else {"channels": 16, "steps": 1500}  # a block moves few pixels
    train_judge(out, f"judges/table-{task}", config, task=f"table-{task}", **finer)


def install(out: Path) -> None:
    """Copy world model, judges, starts and the panels of policies into the package."""
    from importlib.resources import files

    weights = Path(str(files("worldsim"))) / "weights"
    ignore = shutil.ignore_patterns("training", ".training")

    def put(source: str, kind: str, name: str) -> None:
        shutil.copytree(out / source, weights / kind / name, dirs_exist_ok=True, ignore=ignore)

    put("world_model/self-context", "world_models", "table")
    for task in TASKS:
        put(f"judges/table-{task}", "verifiers", f"table-{task}")
        for name, source in panel(task).items():
            put(f"policies/{task}-{source}", "policies", f"{task}-{name}")
        shutil.copy(out / f"table-{task}.h5", weights / "tasks" / f"table-{task}.h5")
