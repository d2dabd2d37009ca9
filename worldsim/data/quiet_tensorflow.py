"""tensorflow, imported without its chatter. Knows nothing of what it is needed for."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from worldsim.errors import MissingDependency


def import_tensorflow(purpose: str) -> Any:
    """The module `tensorflow`; `purpose` begins the refusal, such as "an RT-1 SavedModel".

    Raises:
        MissingDependency: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _silent():
            import tensorflow
    except ImportError as error:
        raise MissingDependency(f'{purpose} needs tensorflow; type: pip install -c constraints.txt -e ".[rlds]"') from error
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return tensorflow


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
