"""The files in a folder and those below it, linked folders and links to nothing included. Knows nothing of what is in them."""

import os
from collections.abc import Iterator
from pathlib import Path

from worldsim.errors import InvalidInput


def files_below(root: Path) -> list[Path]:
    """All files in `root` and below, and all links to nothing, in order; none where `root` is no folder.

    Linked folders are followed, but for a link to a folder that it lies in, which would have no end.

    Raises:
        InvalidInput: a folder cannot be listed.
    """
    return sorted(_walk(root, frozenset())) if root.is_dir() else []


def leads_nowhere(file: Path) -> bool:
    """Whether it is a link whose target is gone, or that leads in a circle."""
    return file.is_symlink() and not os.path.exists(file)


def describe_lost(link: Path) -> str:
    """What to say of a link that leads nowhere."""
    return f"{link.name} is a link to {os.readlink(link)}, which is not there; copy that too, or remove the link"


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    above |= {os.path.realpath(folder)}
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be listed ({error.strerror}); make it readable, or move it away") from error
    for entry in entries:
        if entry.is_file() or leads_nowhere(entry):
            yield entry
        elif entry.is_dir() and os.path.realpath(entry) not in above:
            yield from _walk(entry, above)
