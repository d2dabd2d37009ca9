"""What `worldsim train-policy algorithm=ppo` was asked for, checked, and the parts that it names. Trains nothing."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worldsim.errors import InvalidInput, MissingDependency, UnknownName, install_extra
from worldsim.registry import did_you_mean
from worldsim.types import Task, Verifier

ELSEWHERE = ("out", "iterations", "threads", "device", "data", "steps", "save_at", "episodes", "algorithm")  # may differ when resuming


@dataclass(frozen=True)
class Setting:
    """Everything that training inside a world needs: the world model, the starts to train from and to check from, and the judges."""

    model: Any
    task: Task
    check_task: Task | None
    judge: Verifier
    watcher: Verifier | None
    truth: Any


def check_keys(config: Any) -> None:
    """Refuse what cannot be.

    Raises:
        InvalidInput: no policy, or numbers that do not fit one another.
        MissingDependency: Stable-Baselines3 is missing.
    """
    if config.policy is None:
        raise InvalidInput("algorithm=ppo begins from a cloned policy; type policy=2pct, or the folder of one")
    if config.select == "truth" and not (config.truth and config.check_episodes):
        raise InvalidInput("select=truth chooses by checks in the truth; type truth=NAME and check_episodes=40, or select=last")
    if config.watcher is not None and config.watcher == config.verifier:
        raise InvalidInput(f'watcher is "{config.watcher}", the judge that gives the reward; name another judge, or watcher=null')
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f"algorithm=ppo needs stable-baselines3; type: {install_extra('rl')}") from error


def open_setting(config: Any) -> Setting:
    """Load the parts.

    Raises:
        UnknownName, InvalidInput, DamagedFile: there is no such part, or it is not sound.
    """
    from worldsim.load import load_task, load_truth, load_verifier, load_world_model

    keywords = env_keywords(config.env)
    name = config.world_model or keywords.get("world_model", "drawer")
    task = load_task(config.task or keywords.get("task", "drawer"))
    task, check_task = _divided(task, load_task(config.check_task) if config.check_task else None, config.check_episodes)
    return Setting(
        load_world_model(name, device=config.device, steps=config.sampling_steps),
        task,
        check_task,
        load_verifier(config.verifier),
        load_verifier(config.watcher) if config.watcher else None,
        load_truth(config.truth) if config.truth and check_task else None,
    )


def env_keywords(env: str) -> dict[str, Any]:
    """The keywords that a registered world environment is made with.

    Raises:
        UnknownName: no environment of a world model has this id.
    """
    import gymnasium

    import worldsim.envs  # noqa: F401

    ids = sorted(each for each in gymnasium.registry if each.startswith("worldsim/") and "Truth" not in each)
    if env not in ids:
        raise UnknownName(f'unknown env "{env}"; {did_you_mean(env, ids)}')
    return dict(gymnasium.spec(env).kwargs)


def _divided(task: Task, check_task: Task | None, count: int) -> tuple[Task, Task | None]:
    """The starts to train from and those of the checks: the first of another task, or the last of this one, left untrained."""
    if count == 0:
        return task, None
    pool = task if check_task is None else check_task
    if len(pool.starts) < count + (check_task is None):
        raise InvalidInput(f'task "{pool.id}" has {len(pool.starts)} starts, too few to check from {count}; type a smaller check_episodes=')
    if check_task is not None:
        return task, replace(check_task, starts=check_task.starts[:count])
    return replace(task, starts=task.starts[:-count]), replace(task, starts=task.starts[-count:])


def recipe_of(config: Any, sha256: str) -> dict[str, Any]:
    """What a resumed training must agree on; `sha256` is the base policy's."""
    return {key: value for key, value in vars(config).items() if key not in ELSEWHERE} | {"base": sha256}


def curve_folder(config: Any) -> Path:
    """Where the curve and what resuming needs are kept: beside the policy, under its name."""
    return Path(config.out) / f"{config.name}-training"
