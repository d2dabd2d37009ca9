"""Errors a user can cause, each one line: what was given, what was expected, what to type; and where code that is not ours failed."""

import os

INSTALL = "pip install -c constraints.txt"  # the tested versions; typed in a checkout


class WorldsimError(Exception):
    """A mistake in what the user asked for or a missing piece of the machine; the command line prints it without a traceback."""


class UnknownName(WorldsimError, KeyError):
    """A name that no registry, folder or file answers to."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the message in quotes


class InvalidInput(WorldsimError, ValueError):
    """A frame, action, file or option of the wrong shape, type or range."""


class MissingDependency(WorldsimError, ImportError):
    """An optional package or system library that the request needs and the machine lacks."""


class DamagedFile(WorldsimError, OSError):
    """A file that exists and is not what its checksum or format promises."""


class RunMismatch(WorldsimError):
    """A run folder that was made by another configuration."""


def install_extra(name: str) -> str:
    """What to type for an extra of worldsim, such as "rl"."""
    return f'{INSTALL} -e ".[{name}]"'


def show_traceback(error: BaseException) -> None:
    """Print where code that is not ours failed, to stderr, if the environment variable WORLDSIM_TRACEBACK is set (and not to 0).

    Such a failure becomes one line, and what happened before it would be lost.
    """
    if os.environ.get("WORLDSIM_TRACEBACK", "0") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
