"""`worldsim reproduce world=fetch`: what `suite=fetch` stands on, made in `out`: data, policies, one world model, two judges.

The environments are gymnasium-robotics'; nobody here wrote them. The world model begins at the shipped table's.
"""

from pathlib import Path
from typing import Any

from worldsim.errors import InvalidInput
from worldsim.experiments import collect, train, train_verifier
from worldsim.experiments.presets import load_preset
from worldsim.experiments.reproduce_table import clone
from worldsim.experiments.schema import CollectConfig, TrainConfig, TrainVerifierConfig
from worldsim.experiments.suites import Suite

MODULE = "worldsim.envs.gym_truth.fetch"
ACTING = {"reach": ["reach"], "push": ["push", "push", "push", "push_beside", "push_slow"]}  # beside random actions; each episode draws one
EPISODES = {"reach": 250, "push": 1000}
NOISE = {"reach": 0.8, "push": 0.6}  # at most, as a share of half an action's range
APART = 20_000  # seeds between the tasks' recordings
WEAK = {  # steps of the cloning run whose policies training data is collected with, the last the whole run
    "reach": [5, 10, 20, 40, 400],
    "push": [250, 500, 1000, 1500, 2000, 3000, 4000],
}
GRADES = {  # likewise of the run that the panel is taken from
    "reach": [0, 200, 400, 800, 1200, 2000],
    "push": [0, 1000, 2000, 3000, 4000, 5000],
}


def run(config) -> None:
    """Make everything below `config.out`.

    Raises:
        InvalidInput: it is to be shipped, and nothing of it ships.
    """
    if config.install:
        raise InvalidInput("install=true was given for world=fetch, expected drawer or table: nothing of Fetch ships; drop install=")
    out, share = Path(config.out), (config.episodes or EPISODES["push"]) / EPISODES["push"]
    for task in EPISODES:
        record(out, task, max(4, round(share * EPISODES[task])))
    world_model(out, config)
    for task in EPISODES:
        policies(out, task)
        judge(out, task)


def truth_of(task: str) -> dict[str, Any]:
    """The true world of a task, as the suite has it."""
    return load_preset("suite", "fetch", Suite).cases[task]["truth"]


def name_of(task: str) -> str:
    """What the task is called in recordings."""
    return truth_of(task)["id"].rpartition(":")[2]


def _called(function: str, **more: str) -> dict[str, str]:
    return {"name": "function", "observation": "state", "call": f"{MODULE}:{function}"} | more


def record(out: Path, task: str, episodes: int) -> None:
    """Scripted episodes, weak image policies cloned from them, and those policies' rollouts. The panel comes from another cloning run."""
    acting = ["random", *(_called(name, **{"as": f"{name}-{number}"}) for number, name in enumerate(ACTING[task]))]
    asked = {"out": str(out / "data"), "truth": truth_of(task), "expert": _called(task), "noise": NOISE[task]}
    seed = APART * list(EPISODES).index(task)
    collect.run(CollectConfig(episodes=max(2, episodes * 6 // 100), split="validation", seed=seed, policies=acting, **asked))
    collect.run(CollectConfig(episodes=episodes, seed=seed, policies=acting, **asked))
    *grades, steps = WEAK[task]
    clone(out, f"{task}-weak", out / "data", name_of(task), width=24, steps=steps, save_at=grades, seed=0)
    weak = [str(out / "policies" / f"{task}-weak-{grade}") for grade in grades] + [str(out / "policies" / f"{task}-weak")]
    collect.run(CollectConfig(episodes=episodes // 4, seed=100_000 + seed, policies=weak, **asked))


def world_model(out: Path, config) -> None:
    """The shipped table's world, taught another arm, another camera and four numbers an action."""
    folder = {"data": str(out / "data"), "out": str(out / "world_model"), "init": "table", "seed": config.seed}
    engine = {"device": config.device, "compile": config.compile}
    if not (out / "world_model" / "autoencoder" / "config.json").exists():
        train.run(TrainConfig(stage="autoencoder", steps=2000, learning_rate=6e-4, **folder, **engine))
    if not (out / "world_model" / "self-context" / "config.json").exists():
        begun = {"autoencoder": str(out / "world_model" / "autoencoder"), "fresh_actions": True, "focus": ["observation.achieved_goal"]}
        train.run(TrainConfig(stage="self-context", steps=1500, batch=config.batch or 12, **begun, **folder, **engine))


def policies(out: Path, task: str) -> None:
    """The cloning run that a task's panel is taken from; and, of pushing, one of who does it at the wrong place."""
    *grades, steps = GRADES[task]
    clone(out, f"{task}-panel", out / "data", name_of(task), width=24, steps=steps, save_at=grades, seed=1)
    if task == "push":
        expert = _called("push_beside")
        options = {"truth": truth_of(task), "expert": expert, "policies": [expert | {"as": "beside"}], "noise": NOISE[task]}
        collect.run(CollectConfig(out=str(out / "beside"), episodes=300, seed=200_000, **options))
        clone(out, "push-beside", out / "beside", name_of(task), width=24, steps=2000, seed=2)


def judge(out: Path, task: str) -> None:
    """The judge of a task. The camera stands still: no shifts."""
    folder = out / "judges" / task
    if not (folder / "config.json").exists():
        where = {"data": str(out / "data"), "task": name_of(task), "out": str(folder)}
        train_verifier.run(TrainVerifierConfig(every=2, shift=0, channels=24, steps=2000, **where))
