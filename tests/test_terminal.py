"""Tables on a narrow terminal: nothing is cut off, and what does not fit goes on below behind the same names."""

import io

import pytest
from rich import box
from rich.console import Console
from rich.table import Table

from worldsim.report.terminal import fitted, print_tables, words

NUMBERS = [f"[{place}.123, {place}.456]" for place in range(6)]


def made(*, collapse: bool) -> Table:
    table = Table(title="rates", caption="what they mean", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=collapse)
    table.add_column("policy", overflow="fold")
    for place in range(6):
        table.add_column(f"a heading of column {place}", justify="right")
    table.add_row("a-name-of-more-than-twenty-four-letters", *NUMBERS)
    table.add_row("late", *[""] * 5, NUMBERS[5])
    return table


@pytest.mark.parametrize("collapse", [True, False])
@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_number_is_cut_off_and_no_line_is_too_long(width, collapse):
    console = Console(file=io.StringIO(), width=width)
    print_tables(console, [made(collapse=collapse)])
    printed = console.file.getvalue()
    assert all(number in printed for number in NUMBERS)
    assert max(map(len, printed.split("\n"))) <= width
    assert (printed.count("rates"), printed.count("what they mean")) == (1, 1)
    assert printed.count("a-name-of-more-tha") == len(fitted(made(collapse=collapse), width))


def test_a_table_that_fits_stays_one_and_a_later_part_leaves_out_rows_without_cells():
    assert len(fitted(made(collapse=True), 200)) == 1
    parts = fitted(made(collapse=True), 80)
    assert [part.row_count for part in parts[:-1]] == [2] + [1] * (len(parts) - 2)
    assert list(parts[-1].columns[0].cells)[-1] == "late"


def test_words_of_a_cell_are_without_markup():
    assert words(r"\[bold]name") == "[bold]name"
    assert words(None) == ""
