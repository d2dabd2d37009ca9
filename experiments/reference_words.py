"""How the reference is written in Markdown. Knows nothing of what is written."""

import re
from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Text of a cell: on one line, its bars, stars and angle brackets escaped where they stand outside of code."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    outside = [re.sub(r"([<*])", r"\\\1", piece) if place % 2 == 0 else piece for place, piece in enumerate(pieces)]
    return "".join(outside).replace("|", "\\|")


def table(heads: Sequence[str], rows: Iterable[str]) -> str:
    """A table of rows that are written already."""
    return "\n".join([f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *rows])


def anchor(title: str) -> str:
    """What a page calls the place of a heading.

    >>> anchor("worldsim train-policy")
    'worldsim-train-policy'
    """
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
