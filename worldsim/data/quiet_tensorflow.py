"""tensorflow and what builds on it, imported without their chatter. Knows nothing of what they are needed for."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from worldsim.errors import MissingDependency, install_extra


def import_tensorflow(purpose: str) -> Any:
    """The module `tensorflow`; `purpose` begins the refusal, such as "an RT-1 SavedModel".

    Raises:
        MissingDependency: it is not installed.
    """
    return import_quietly(purpose, "tensorflow")[0]


def import_quietly(purpose: str, *names: str) -> list[Any]:
    """The modules of these names, tensorflow or others that import it.

    Raises:
        MissingDependency: one is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _silent():
            modules = [import_module(name) for name in names]
    except ImportError as error:
        needed = " and ".join(name.replace("_", "-") for name in names)
        raise MissingDependency(f"{purpose} needs {needed}; type: {install_extra('rlds')}") from error
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return modules


@contextmanager
def _silent() -> Iterator[None]:
    """File descriptor 2 closed to compiled code, which logs past Python's sys.stderr."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
