"""The instructions of a data set by number, of either version. Knows nothing of episodes."""

from collections.abc import Iterable
from pathlib import Path

from worldsim.data.lerobot.json_lines import json_lines, natural, text
from worldsim.data.lerobot.tables import plain, read_table
from worldsim.errors import DamagedFile

TASKS = {2: "meta/tasks.jsonl", 3: "meta/tasks.parquet"}


def read_tasks(root: Path, version: int) -> dict[int, str]:
    """Instructions by number; empty where the data set has no file of them.

    Raises:
        DamagedFile: there is one, and it cannot be read whole.
        MissingDependency: pyarrow is not installed.
    """
    name = TASKS[version]
    if not (root / name).exists():
        return {}
    try:
        return _by_number(_of_v2(root, name) if version == 2 else _of_v3(root, name))
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(f"{name} holds something else than numbered tasks ({type(error).__name__}); restore it") from error


def _by_number(pairs: Iterable[tuple[int, str]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for number, task in pairs:
        if found.setdefault(number, task) != task:
            raise ValueError(f"task {number} twice")
    return found


def _of_v2(root: Path, name: str) -> Iterable[tuple[int, str]]:
    notes: list[str] = []
    pairs = [(natural(row["task_index"]), text(row["task"])) for _, row in json_lines(root, name, notes)]
    if notes:
        raise DamagedFile(f"{notes[0]}; restore the file")
    return pairs


def _of_v3(root: Path, name: str) -> Iterable[tuple[int, str]]:
    """The text stands in pandas' index, which has a name of its own or pandas' usual one."""
    table = read_table(root, name)
    column = "task" if "task" in table.column_names else "__index_level_0__"
    pairs = zip(plain(table, "task_index"), plain(table, column), strict=True)
    return [(natural(number), text(task)) for number, task in pairs]
