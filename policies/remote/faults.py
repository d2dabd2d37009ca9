"""What can go wrong with a server, in one line that is safe to show: short, without control characters, without the secret."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from worldsim.errors import WorldsimError

SHOWN = 240  # characters


class ServerFault(WorldsimError):
    """A server that did not answer, or not as it should. Asking again may help."""


class NoServer(WorldsimError):
    """Nobody at the address speaks what was expected; the line says who is there and what to type."""


def shown(text: str, secret: str | None = None, limit: int = SHOWN) -> str:
    """The end of a server's text, which of a traceback is what matters, as one harmless line."""
    text = text[-20 * limit :]
    text = text.replace(secret, "***") if secret else text
    text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text)
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= limit else f"... {line[-limit:]}"


@contextmanager
def faults_of(*errors: type[BaseException], doing: str) -> Iterator[None]:
    """Turn the errors of a network library into a ServerFault that says what was being done."""
    try:
        yield
    except TimeoutError as error:
        raise ServerFault(f"{doing}: no answer in time") from error
    except (OSError, EOFError, *errors) as error:
        raise ServerFault(f"{doing}: {shown(str(error) or type(error).__name__)}") from error
