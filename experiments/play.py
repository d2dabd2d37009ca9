"""`worldsim play`: a person drives a world model on a local page, beside the truth where there is one, until it is interrupted."""

from collections.abc import Callable
from functools import partial
from typing import Any

from worldsim.data.cameras import camera_of
from worldsim.errors import InvalidInput, MissingDependency
from worldsim.experiments.page import announce
from worldsim.experiments.schema import PlayConfig
from worldsim.report.printable import printable
from worldsim.types import ActionSpec, Policy, Task, Truth, WorldSpec


def run(config: PlayConfig) -> None:
    """Play until Ctrl-C or SIGTERM, which is how a game ends: exit code 0.

    Raises:
        WorldsimError: an unknown name, a damaged checkpoint, parts that do not fit one another, a port that is taken.
    """
    from worldsim.load import part_name
    from worldsim.playing.serve import PlayServer

    try:
        server = PlayServer(prepare(config), config.out, part_name(config.world_model), config.port)
        announce(server.address, open_browser=config.open)
        print("Ctrl-C ends it", flush=True)
        server.run()
    except KeyboardInterrupt:
        print(printable(f"stopped; what was recorded is in {config.out}"), flush=True)


def prepare(config: PlayConfig) -> Any:
    """The game that `config` asks for (`worldsim.playing.game.Game`), at its first start."""
    from worldsim.experiments.fitting import check_fit
    from worldsim.experiments.setting import open_model, use_torch, world_model_facts
    from worldsim.load import load_task
    from worldsim.playing.game import Game
    from worldsim.playing.pilots import Pilots

    use_torch(config.threads, config.device, strict=config.determinism == "strict")
    _, model_config = world_model_facts(config.world_model)
    task = load_task(_task_name(config), camera_of(model_config))
    model = open_model(config)
    check_fit({}, task, model.spec)
    pilots = Pilots(_loaders(config.policy, task, model.spec))
    return Game(model, task, pilots, _truth(config, task, model.spec), start=config.start, seed=config.seed, most=config.frames)


def _task_name(config: PlayConfig) -> str:
    """The task asked for, else the one that is called like the world model.

    Raises:
        InvalidInput: there is none.
    """
    from worldsim.load import part_name
    from worldsim.registry import TASKS

    name = config.task or part_name(config.world_model)
    if config.task is None and name not in TASKS:
        raise InvalidInput(f'no task is called "{name}" like the world model; type task=NAME, task=FILE or task=FOLDER of recordings')
    return name


def _truth(config: PlayConfig, task: Task, spec: WorldSpec) -> Truth | None:
    """The true world beside it. One that was not asked for by name is left out where it cannot be had, and a line says why."""
    from worldsim.experiments.fitting import open_truth
    from worldsim.load import part_name
    from worldsim.registry import TRUTHS

    if config.truth is None:
        return None
    if config.truth != "auto":
        return open_truth(config.truth, task, spec)
    name = part_name(config.world_model)
    try:
        return open_truth(name, task, spec) if name in TRUTHS else None
    except (InvalidInput, MissingDependency) as error:
        print(printable(f"no true world beside it: {error}"), flush=True)
        return None


def _loaders(policy: Any, task: Task, spec: WorldSpec) -> dict[str, Callable[[], Policy]]:
    """How to load each policy that can be handed over to, by name."""
    from worldsim.experiments.setting import policy_specs

    specs = policy_specs([policy]) if policy is not None else {name: name for name in _fitting(task, spec)}
    return {name: partial(_load, name, each, task, spec) for name, each in specs.items()}


def _fitting(task: Task, spec: WorldSpec) -> list[str]:
    """The shipped policies that take the world's frames and whose actions are the world's, the best trained first."""
    from worldsim.load import part_checkpoint, shipped_panel
    from worldsim.registry import POLICIES

    checkpoints = {name: part_checkpoint(POLICIES, name) for name in reversed(shipped_panel(task.id))}
    return [
        name
        for name, config in checkpoints.items()
        if ActionSpec(**config["action"]) == spec.action and config["network"].get("frame_size", spec.height) == spec.height
    ]


def _load(name: str, policy: Any, task: Task, spec: WorldSpec) -> Policy:
    from worldsim.experiments.fitting import check_fit
    from worldsim.load import load_policy

    loaded = load_policy(policy, spec.action)
    check_fit({name: loaded}, task, spec)
    return loaded
