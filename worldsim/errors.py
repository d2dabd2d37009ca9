"""Errors a user can cause, each one line: what was given, what was expected, what to type."""


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
