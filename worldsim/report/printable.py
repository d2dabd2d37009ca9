"""Text from elsewhere (task names, instructions, raters) made harmless for a terminal, and visible on a page."""

from typing import Any

from rich.markup import escape


def printable(text: object) -> str:
    r"""`text` with every character that does not print, escape codes and reversed writing among them, spelled out as an escape.

    >>> printable("push\x1b[2J it")
    'push\\x1b[2J it'
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))


def plain(text: object) -> str:
    """`text` for rich: harmless, line by line, and without markup."""
    return escape("\n".join(printable(line) for line in str(text).split("\n")))


def visible(value: Any) -> Any:
    """What a page shows of a value: of plain text no character that does not print, such as reversed writing; lines and tabs stay."""
    if type(value) is not str:  # numbers, and markup that was made here
        return value
    return "".join(char if char in "\n\t" else printable(char) for char in value)
