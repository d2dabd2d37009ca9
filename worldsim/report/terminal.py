"""Tables on a terminal, none cut off: one that is too wide goes on below, its first column repeated. Knows nothing of what they hold."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

PIPED = 120  # characters of a line where the output is no terminal
NAME = 18  # characters below which names are not folded


def report_console() -> Console:
    """The console that reports are printed on: as wide as the terminal, or 120 characters."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED
    return console


def print_tables(console: Console, tables: Iterable[Table]) -> None:
    """Print tables one below the other, an empty line after each; wide ones in parts."""
    for table in tables:
        parts = fitted(table, console.width)
        console.print(*parts)
        if len(parts) > 1 and table.caption:
            console.print(Text.from_markup(str(table.caption), style="table.caption"))
        console.print()


def fitted(table: Table, width: int) -> list[Table]:
    """The table, or parts of its columns that are at most `width` wide, each behind the first column; no number is cut off.

    The first of several parts has the title, none the caption. A later part leaves out rows of which it has nothing to say.
    """
    needed = [_needed(column) for column in table.columns]
    needed[0] = min(needed[0], NAME)
    gap = 2 if table.collapse_padding else 3  # characters between two columns; one or two more stand at either end
    room = width - 2 * (1 + table.pad_edge)
    parts: list[list[int]] = [[0]]
    for place in range(1, len(needed)):
        if len(parts[-1]) > 1 and sum(needed[each] + gap for each in [*parts[-1], place]) - gap > room:
            parts.append([0])
        parts[-1].append(place)
    built = [_part(table, part, needed, room - gap * (len(part) - 1), again=number > 0) for number, part in enumerate(parts)]
    built[0].title, built[0].caption = table.title, table.caption if len(parts) == 1 else None
    return built


def words(cell: object) -> str:
    """What a cell, title or caption says, without markup."""
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell or "")).plain


def _needed(column: Column) -> int:
    """Characters that a column needs: those of its cells, and of the longest word above them."""
    return max([0, *(cell_len(word) for word in words(column.header).split()), *(cell_len(words(cell)) for cell in column.cells)])


def _part(table: Table, places: Sequence[int], needed: Sequence[int], room: int, *, again: bool) -> Table:
    """These columns as a table of their own; headings, then names, get what is left of the room."""
    part = Table(box=table.box, caption_justify=table.caption_justify, pad_edge=table.pad_edge, collapse_padding=table.collapse_padding)
    columns = [table.columns[place] for place in places]
    wanted = [max(_needed(column), cell_len(words(column.header))) for column in columns]
    widths = [needed[place] for place in places]
    for place in reversed(range(len(widths))):
        widths[place] += max(0, min(room - sum(widths), wanted[place] - widths[place]))
    for column, width in zip(columns, widths, strict=True):
        part.add_column(column.header, justify=column.justify, overflow="fold", width=width)
    for row in zip(*(column.cells for column in columns), strict=True):
        if not again or any(words(cell) for cell in row[1:]):
            part.add_row(*row)
    return part
