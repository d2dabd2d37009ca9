"""What the code of an environment raises, as one line that names the environment and the call. Knows no episodes."""

from collections.abc import Iterator
from contextlib import contextmanager

from gymnasium.error import DependencyNotInstalled

from worldsim.envs.gym_truth.options import GymOptions
from worldsim.errors import INSTALL, MissingDependency, WorldsimError, install_extra, show_traceback

INSTALLED = {
    "pygame": install_extra("gym"),
    "imageio": install_extra("gym"),  # Gymnasium's own MuJoCo environments
    "mujoco": install_extra("mujoco"),
    "Box2D": f'{INSTALL} "gymnasium[box2d]"',
    "box2d": f'{INSTALL} "gymnasium[box2d]"',
}  # by a word of what is missed


class EnvironmentFailed(WorldsimError):
    """An environment's own code failed."""


@contextmanager
def named_failures(options: GymOptions, call: str) -> Iterator[None]:
    """Whatever the environment's code raises within, of which `call` is the name, is raised as one line.

    Raises:
        MissingDependency: a package that it needs is not installed.
        EnvironmentFailed: anything else; what is ours already stays as it is.
    """
    try:
        yield
    except WorldsimError:
        raise
    except (ImportError, DependencyNotInstalled) as error:
        raise lacking(options, error) from error
    except Exception as error:  # somebody else's code: it may raise anything
        raise failed(options, call, error) from error


def failed(options: GymOptions, call: str, error: Exception) -> EnvironmentFailed:
    """What to raise where `call` of the environment raised `error`."""
    show_traceback(error)
    return EnvironmentFailed(
        f"{options.id} failed in {call} ({kind_and_line(error)}); mend it there: WORLDSIM_TRACEBACK=1 before the command shows the place"
    )


def lacking(options: GymOptions, error: Exception) -> MissingDependency:
    """What to raise where a package is missing, with what to type."""
    text = one_line(error)
    named = getattr(error, "name", None)
    typed = next((command for word, command in INSTALLED.items() if word in text), named and f"{INSTALL} {named}")
    advice = f"type: {typed}" if typed else "install what it names"
    return MissingDependency(f"{options.id} needs a package that is not installed ({text}); {advice}")


def kind_and_line(error: Exception) -> str:
    """An error as its kind and what it said, of which there may be nothing."""
    return ": ".join(filter(None, (type(error).__name__, one_line(error))))


def one_line(error: Exception) -> str:
    """What an error said, on one line that is not too long."""
    return " ".join(str(error).split())[:200]
