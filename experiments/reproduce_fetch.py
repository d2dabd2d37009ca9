"""`worldsim reproduce world=fetch`: what `suite=fetch` stands on, made in `out`: data, policies, one world model, two judges.

The environments are gymnasium-robotics'; nobody here wrote them. The world model begins at the shipped table's.
"""

from pathlib import Path
from typing import Any

from worldsim.errors import InvalidInput
from worldsim.experiments import collect
from worldsim.experiments.presets import load_preset
from worldsim.experiments.reproduce_parts import clone, train_judge, train_stage
from worldsim.experiments.schema import CollectConfig
from worldsim.experiments.suites import Suite

MODULE = "worldsim.envs.gym_truth.fetch"
ACTING = {"reach": ["reach"], "push": ["push", "push", "push", "push_beside", "push_slow"]}  # beside random actions; each episode draws one
EPISODES = {"reach": 300, "push": 1600}
NOISE = {"reach": 0.8, "push": 0.5}  # at most, as a share of half an action's range
APART = 20_000  # seeds between what is recorded of the tasks, and between the rounds of one
ROUNDS = {  # cloning runs of all that was recorded before: episodes that their policies play, and steps of these, the last the whole run
    "reach": {"weak": (75, [5, 10, 20, 40, 400])},
    "push": {"weak": (400, [250, 500, 1000, 1500, 2000, 2500]), "middling": (500, [2000, 3500, 5500, 8000])},
}
GRADES = {  # likewise of the run that comes after them, which the panel is taken from
    "reach": [0, 200, 400, 800, 1200, 2000],
    "push": [0, 1000, 2000, 3500, 5500, 8000],
}
RELIVED_STEPS = {"reach": 5, "push": 10}  # for which the world model draws half of what a judge learns


def run(config) -> None:
    """Make everything below `config.out`.

    Raises:
        InvalidInput: it is to be shipped, and nothing of it ships.
    """
    if config.install:
        raise InvalidInput("install=true was given for world=fetch, expected drawer or table: nothing of Fetch ships; drop install=")
    out, share = Path(config.out), (config.episodes or EPISODES["push"]) / EPISODES["push"]
    for task in EPISODES:
        record(out, task, share)
    world_model(out, config)
    for task in EPISODES:
        policies(out, task)
        judge(out, task, config)


def truth_of(task: str) -> dict[str, Any]:
    """The true world of a task, as the suite has it."""
    return load_preset("suite", "fetch", Suite).cases[task]["truth"]


def name_of(task: str) -> str:
    """What the task is called in recordings."""
    return truth_of(task)["id"].rpartition(":")[2]


def _called(function: str, **more: str) -> dict[str, str]:
    return {"name": "function", "observation": "state", "call": f"{MODULE}:{function}"} | more


def record(out: Path, task: str, share: float) -> None:
    """Scripted episodes; then by turns image policies cloned from all so far, and their rollouts. The panel is of another cloning run."""
    acting = ["random", *(_called(name, **{"as": f"{name}-{number}"}) for number, name in enumerate(ACTING[task]))]
    asked = {"out": str(out / "data"), "truth": truth_of(task), "expert": _called(task), "noise": NOISE[task]}
    first, episodes = APART * list(EPISODES).index(task), max(4, round(share * EPISODES[task]))
    collect.run(CollectConfig(episodes=max(2, episodes * 6 // 100), split="validation", seed=first, policies=acting, **asked))
    collect.run(CollectConfig(episodes=episodes, seed=first, policies=acting, **asked))
    for number, (name, (rollouts, (*grades, steps))) in enumerate(ROUNDS[task].items()):
        cloned = learn(out, task, f"{task}-{name}", steps=steps, save_at=grades, seed=number)
        seed = 100_000 + first + APART * number
        collect.run(CollectConfig(episodes=max(1, round(share * rollouts)), seed=seed, policies=cloned, **asked))


def world_model(out: Path, config) -> None:
    """The shipped table's world, taught another arm, another camera and four numbers an action."""
    train_stage(out, "autoencoder", config, init="table", steps=2000, learning_rate=6e-4)
    begun = {"init": "table", "fresh_actions": True, "autoencoder": str(out / "world_model" / "autoencoder")}
    train_stage(out, "self-context", config, steps=4248, batch=config.batch or 12, focus=["observation.achieved_goal"], **begun)


def policies(out: Path, task: str) -> None:
    """The cloning run that a task's panel is taken from; and, of pushing, one of who does it at the wrong place."""
    *grades, steps = GRADES[task]
    learn(out, task, f"{task}-panel", steps=steps, save_at=grades, seed=len(ROUNDS[task]))
    if task == "push":
        expert = _called("push_beside")
        options = {"truth": truth_of(task), "expert": expert, "policies": [expert | {"as": "beside"}], "noise": NOISE[task]}
        collect.run(CollectConfig(out=str(out / "beside"), episodes=300, seed=200_000, **options))
        learn(out, task, "push-beside", data=out / "beside", steps=2000, seed=2)


def judge(out: Path, task: str, config) -> None:
    """The judge of a task, which also learns from how the world model draws its episodes' ends."""
    drawn = {"world_model": str(out / "world_model" / "self-context"), "relived": 0.5, "relived_steps": RELIVED_STEPS[task]}
    train_judge(out, f"judges/{task}", config, task=name_of(task), channels=24, steps=2000, **drawn)


def learn(out: Path, task: str, name: str, data: Path | None = None, **options) -> list[str]:
    """A cloning run of a task. Returns its policies."""
    return clone(out / "policies", name, data or out / "data", task=name_of(task), width=24, **options)
