"""Text from elsewhere (task names, instructions, raters) made harmless for a terminal. Knows nothing of HTML."""

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
