"""Parquet files as columns of checked numbers. Knows nothing of episodes or data sets; pyarrow is loaded on use."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.errors import DamagedFile, MissingDependency, install_extra

if TYPE_CHECKING:
    import pyarrow

AGAIN = "copy it again from where it came"
BATCH = 512  # rows that are decoded at a time
POINTER = b"version https://git-lfs"  # how a file begins that git has only noted


def arrow() -> Any:
    """The package pyarrow with `compute` and `parquet`.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency(f"LeRobot data needs pyarrow; type: {install_extra('lerobot-data')}") from error
    return pyarrow


def content_of(root: Path, name: str) -> bytes:
    """The bytes of the file `name` below `root`.

    Raises:
        DamagedFile: it cannot be read, or is a pointer that git-lfs left in its place.
    """
    require_file(root, name)
    return (root / name).read_bytes()


def require_file(root: Path, name: str) -> None:
    """Refuse a file that is not there, cannot be opened, or is a pointer that git-lfs left in its place. Raises DamagedFile."""
    try:
        with open(root / name, "rb") as file:
            pointer = file.read(len(POINTER)) == POINTER
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise DamagedFile(f"{name} cannot be read ({getattr(error, 'strerror', None) or 'bad name'}); {AGAIN}") from error
    if pointer:
        raise DamagedFile(f"{name} is a pointer of git-lfs, not the file itself; type: git lfs pull")


def read_table(root: Path, name: str, columns: Sequence[str] | None = None, where: tuple[str, int] | None = None) -> "pyarrow.Table":
    """Columns of a parquet file, of all rows or of those where a column has one value; other row groups are not read.

    Checksums of pages are verified where the file has them.

    Args:
        root: the data set's folder.
        name: the file, below it.
        columns: top-level names; None for all. Those that the file lacks are missing from the table too.
        where: (column, number).

    Raises:
        DamagedFile: the file is missing or torn, or lacks the column to look in.
    """
    pa = arrow()
    require_file(root, name)
    with _told_as_damage(name, pa), pa.parquet.ParquetFile(root / name, page_checksum_verification=True, pre_buffer=False) as file:
        known = file.schema_arrow.names
        names = known if columns is None else [column for column in columns if column in known]
        groups = list(range(file.num_row_groups)) if where is None else _groups(file, *where)
        batches = []
        for batch in file.iter_batches(BATCH, row_groups=groups, columns=names):
            batch = batch.select(names)  # "a" has brought "a.b" along
            batches.append(batch if where is None else batch.filter(pa.compute.equal(batch.column(where[0]), where[1])))
        return pa.Table.from_batches(batches, schema=pa.schema([file.schema_arrow.field(each) for each in names]))


def vectors(table: "pyarrow.Table", name: str, size: int) -> np.ndarray:
    """A column of vectors (or, for size 1, of numbers) as float64 `[rows, size]`.

    Raises:
        DamagedFile: no such column, a row without a value, or one of another length or that is no number.
    """
    pa = arrow()
    with _told_as_damage(f'column "{name}"', pa):
        column = _column(table, name)
        lists = pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
        lengths = set(pa.compute.list_value_length(column).to_pylist()) if lists else {1}
        if lengths - {size}:
            raise DamagedFile(f'"{name}" has vectors of {", ".join(map(str, sorted(lengths)))} numbers, meta/info.json says {size}')
        flat = column.flatten() if lists else column
        if flat.null_count or not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type) or pa.types.is_boolean(flat.type)):
            raise DamagedFile(f'"{name}" holds {flat.type}, or nothing, where numbers are expected')
        return np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float64).reshape(len(table), size)


def whole_numbers(table: "pyarrow.Table", name: str) -> np.ndarray:
    """A column as int64 `[rows]`. Raises DamagedFile: no such column, a row without a value, or one that is no whole number."""
    pa = arrow()
    with _told_as_damage(f'column "{name}"', pa):
        column = _column(table, name)
        if not pa.types.is_integer(column.type):
            raise DamagedFile(f'"{name}" holds {column.type}, expected whole numbers')
        return column.to_numpy(zero_copy_only=False).astype(np.int64)


def plain(table: "pyarrow.Table", name: str) -> list[Any]:
    """A column as Python values. Raises DamagedFile: no such column, a row without a value, or text that is not UTF-8."""
    with _told_as_damage(f'column "{name}"', arrow()):
        return _column(table, name).to_pylist()


def _column(table: "pyarrow.Table", name: str) -> "pyarrow.Array":
    if name not in table.column_names:
        raise DamagedFile(f'there is no column "{name}"')
    column = table.column(name).combine_chunks()
    if column.null_count:
        raise DamagedFile(f'"{name}" has {column.null_count} rows without a value')
    return column


def _groups(file: Any, column: str, value: int) -> list[int]:
    """The row groups that may hold `value`, by the extremes that the file notes."""
    names = [file.metadata.schema.column(place).path for place in range(file.metadata.num_columns)]
    if column not in names:
        raise DamagedFile(f'there is no column "{column}"')
    place, chosen = names.index(column), []
    for group in range(file.num_row_groups):
        noted = file.metadata.row_group(group).column(place).statistics
        if noted is None or not noted.has_min_max or noted.min <= value <= noted.max:
            chosen.append(group)
    return chosen


@contextmanager
def _told_as_damage(what: str, pa: Any) -> Iterator[None]:
    """Whatever pyarrow cannot do with a damaged file is told in one line."""
    try:
        yield
    except DamagedFile:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, MemoryError, OverflowError) as error:
        raise DamagedFile(f"{what} cannot be read as parquet ({type(error).__name__}); {AGAIN}") from error
