"""A Gymnasium environment by its id, made ready to render off screen, or refused in one line. Knows nothing of episodes."""

import os
from contextlib import suppress
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.error import DependencyNotInstalled, Error

from worldsim.envs.drawer.rendering import choose_gl
from worldsim.envs.gym_truth.failing import failed, kind_and_line, lacking, named_failures, one_line
from worldsim.envs.gym_truth.options import GymOptions
from worldsim.envs.gym_truth.robotics import mend_robotics
from worldsim.errors import InvalidInput, MissingDependency, UnknownName, WorldsimError, show_traceback
from worldsim.registry import did_you_mean


def make_environment(options: GymOptions) -> gymnasium.Env:
    """The environment, rendering to arrays, without a limit of time: horizons are ours.

    Raises:
        UnknownName: no such id, or no such module before its colon.
        MissingDependency: a package that it needs is not installed.
        InvalidInput: it does not render to arrays, or refuses a keyword.
    """
    _off_screen()
    spec = _spec(options)
    try:
        creator = spec.entry_point if callable(spec.entry_point) else load_env_creator(spec.entry_point)
        mend_robotics()
        modes = getattr(creator, "metadata", {}).get("render_modes", ["rgb_array"])  # a function has none, and is tried
        if "rgb_array" not in modes:
            raise InvalidInput(
                f"{options.id} does not render to arrays: its render_modes are {', '.join(map(str, modes)) or 'none'}, "
                "expected rgb_array among them; name an environment that has it"
            )
        env = gymnasium.make(spec, max_episode_steps=-1, disable_env_checker=True, render_mode="rgb_array", **options.keywords)
        _refuse_other_camera(env, options)
        return env
    except WorldsimError:
        raise
    except (ImportError, DependencyNotInstalled) as error:
        raise lacking(options, error) from error
    except Exception as error:  # what its code makes of a keyword, or of this machine
        show_traceback(error)
        advice = f"its keywords are those of {options.typed('make: {KEYWORD: VALUE}')}, camera is camera_name or camera_id"
        raise InvalidInput(f"{options.id} cannot be made ({kind_and_line(error)}); {advice}") from error


def _refuse_other_camera(env: gymnasium.Env, options: GymOptions) -> None:
    """Stop where MuJoCo has no such camera: it would show another for a wrong name, and end the process for a wrong number.

    Raises:
        UnknownName, InvalidInput: with the cameras that there are.
    """
    model = getattr(env.unwrapped, "model", None)
    if options.camera is None or not hasattr(model, "ncam"):
        return
    if isinstance(options.camera, dict):
        from mujoco import MjvCamera

        known = [each for each in dir(MjvCamera) if each[0] != "_"]
        for key in options.camera:
            if key not in known:
                raise UnknownName(f'{options.id}: a camera has no "{key}"; {did_you_mean(key, known)}')
    names = [model.camera(number).name for number in range(model.ncam)]
    if isinstance(options.camera, str) and options.camera not in names:
        raise UnknownName(f'{options.id} has no camera "{options.camera}"; {did_you_mean(options.camera, names)}')
    if isinstance(options.camera, int) and not -1 <= options.camera < len(names):
        raise InvalidInput(f"{options.id}: camera is {options.camera}, expected -1 (a free one) to {len(names) - 1}")


def limit_of(options: GymOptions) -> int | None:
    """Steps after which the environment would be cut, as it is registered."""
    return _spec(options).max_episode_steps


def rendered(env: gymnasium.Env, options: GymOptions) -> np.ndarray:
    """What the environment shows now, uint8 `[H, W, 3]`.

    Raises:
        MissingDependency: a package that rendering needs is not installed.
        InvalidInput: it shows nothing, or no such picture.
        EnvironmentFailed: its code raised something.
    """
    with named_failures(options, "render"):
        frame = env.render()
    if not (isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[-1] == 3):
        given = f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise InvalidInput(
            f"{options.id} does not render: render() gave {given}, expected uint8 [H, W, 3]; "
            "give what it needs for render_mode rgb_array as " + options.typed("make: {KEYWORD: VALUE}")
        )
    return frame


def _spec(options: GymOptions) -> EnvSpec:
    module, colon, name = options.id.rpartition(":")
    if colon:
        _import(options, module)
    try:
        return gymnasium.spec(name)
    except Error as error:
        found = did_you_mean(name, gymnasium.registry)
        found = found if found.startswith("did") else "one registered elsewhere is gym:MODULE:ID"
        raise UnknownName(f'unknown environment "{name}" ({one_line(error)}); {found}') from error


def _import(options: GymOptions, module: str) -> None:
    if not all(module.split(".")):
        raise InvalidInput(f'the id is "{options.id}", expected a module before its colon; type truth=gym:my_module:My-v0')
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise lacking(options, error) from error
        raise UnknownName(
            f'no module "{module}", which {options.id} names before its colon; install it, or type PYTHONPATH=FOLDER before worldsim'
        ) from error
    except Exception as error:
        raise failed(options, f"import {module}", error) from error


def _off_screen() -> None:
    """No window and no greeting, SIGTERM left to Python (SDL would take it, and a process could not be ended), OpenGL without a screen."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with suppress(MissingDependency):  # an environment without MuJoCo needs none
        choose_gl()


def unwrapped_state(env: gymnasium.Env) -> dict[str, Any]:
    """The exact state where the environment keeps one as a row of numbers: MuJoCo's `qpos` and `qvel`, or `state`."""
    bare = env.unwrapped
    data = getattr(bare, "data", None)
    if hasattr(data, "qpos") and hasattr(data, "qvel"):
        return {"qpos": np.array(data.qpos, np.float64), "qvel": np.array(data.qvel, np.float64)}
    state = row_of_numbers(getattr(bare, "state", None))
    return {} if state is None else {"state": state}


def row_of_numbers(value: Any) -> np.ndarray | None:
    """A copy of one number or a row of them, float64 `[N]` or `[]`; None of anything else, such as pictures."""
    try:
        numbers = np.asarray(value)
    except ValueError:  # rows of different length
        return None
    return numbers.astype(np.float64) if numbers.size and numbers.ndim <= 1 and numbers.dtype.kind in "fiub" else None
