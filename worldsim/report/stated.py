"""What only people know of a study, typed by them into RUN/checklist.yaml: one line of text per key. Decides nothing from it."""

from collections.abc import Collection

import yaml

from worldsim.errors import DamagedFile, UnknownName
from worldsim.registry import did_you_mean
from worldsim.report.run_folder import RunFolder

STATED = "checklist.yaml"


def read_stated(run: RunFolder, known: Collection[str]) -> dict[str, str]:
    """The texts by key; empty where there is no file.

    Raises:
        DamagedFile: the file is no YAML mapping of keys to text.
        UnknownName: a key that no item of the checklist has.
    """
    file = run.path / STATED
    if not file.is_file():
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{file} is not YAML ({str(error).splitlines()[0]}); write lines such as rubric: the drawer is shut") from error
    if not isinstance(found, dict) or not all(isinstance(value, str | int | float) for value in found.values()):
        raise DamagedFile(f"{file} is not a mapping of keys to text; write lines such as rubric: the drawer is shut")
    for key in found:
        if key not in known:
            raise UnknownName(f'{file} has "{key}", which no item of the checklist has; {did_you_mean(str(key), known)}')
    return {key: str(value) for key, value in found.items()}
