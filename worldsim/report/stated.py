"""What only people know of a study, typed by them into RUN/checklist.yaml: one line of text per key. Decides nothing from it."""

from collections.abc import Collection

import yaml

from worldsim.errors import DamagedFile, UnknownName
from worldsim.registry import did_you_mean
from worldsim.report.run_folder import RunFolder

STATED = "checklist.yaml"
ADVICE = "write lines such as rubric: the drawer is shut"


def read_stated(run: RunFolder, known: Collection[str]) -> dict[str, str]:
    """The texts by key, as they were typed; empty where there is no file. A key without text is left out.

    Raises:
        DamagedFile: the file is no YAML mapping of keys to text.
        UnknownName: a key that no item of the checklist has.
    """
    file = run.path / STATED
    if not file.is_file():
        return {}
    try:
        found = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader) or {}  # every value stays text: yes is no truth value
    except OSError as error:
        raise DamagedFile(f"{file} cannot be read ({error.strerror or error}); {ADVICE}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError: bytes that are no text
        raise DamagedFile(f"{file} is not YAML ({(str(error).splitlines() or [''])[0]}); {ADVICE}") from error
    if not isinstance(found, dict):
        raise DamagedFile(f"{file} is not a mapping of keys to text; {ADVICE}")
    for key, value in found.items():
        if not isinstance(value, str):
            raise DamagedFile(f'{file} has no text under "{key}" but a {"list" if isinstance(value, list) else "mapping"}; {ADVICE}')
        if key not in known:
            raise UnknownName(f'{file} has "{key}", which no item of the checklist has; {did_you_mean(str(key), known)}')
    return {key: value for key, value in found.items() if value.strip()}
