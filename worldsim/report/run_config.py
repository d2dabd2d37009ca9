"""A run's config.yaml: read, written, and compared with the one a command brings. Knows nothing of what the keys mean.

Its first line holds the hash of the rest; one of an older version has no such line and is read as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from worldsim.data.files import written_whole
from worldsim.errors import DamagedFile, InvalidInput, RunMismatch

MISSING = object()
HEAD = "# worldsim run, sha256 "
AGAIN = "delete it and type the command that began the run again: finished episodes stay"


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as JSON would give it back, so that what is compared is what is on disk.

    Raises:
        InvalidInput: a value that is not JSON, or no mapping under "identity".
    """
    try:
        plain = json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"a run's config must hold JSON values only ({error}); convert arrays with .tolist() and paths with str()"
        ) from error
    if not isinstance(plain.get("identity"), dict):
        raise InvalidInput('a run\'s config needs a mapping under "identity" (world_model, verifier, task, sampler, seed)')
    return plain


def read_config(file: Path) -> dict[str, Any]:
    """The config of a run.

    Raises:
        DamagedFile: it cannot be read, is not what its hash promises, is no YAML, or has no mapping under "identity".
    """
    try:
        raw = file.read_bytes()
        head, _, rest = raw.partition(b"\n")
        if raw.startswith(b"#") and head.decode() != HEAD + hashlib.sha256(rest).hexdigest():
            raise DamagedFile(f"{file} does not match its checksum; {AGAIN}")
        config = yaml.safe_load(raw.decode())
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DamagedFile(f"{file} is not YAML ({(str(error).splitlines() or [''])[0]}); {AGAIN}") from error
    except DamagedFile:
        raise
    except OSError as error:
        raise DamagedFile(f"{file} cannot be read ({error.strerror or error}); {AGAIN}") from error
    if not isinstance(config, dict) or not isinstance(config.get("identity"), dict):
        raise DamagedFile(f'{file} has no mapping under "identity"; {AGAIN}')
    return config


def write_config(file: Path, config: Mapping[str, Any]) -> None:
    """Write a config as YAML under its hash, whole or not at all."""
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).encode()
    with written_whole(file) as aside:
        aside.write_bytes(f"{HEAD}{hashlib.sha256(text).hexdigest()}\n".encode() + text)


def refuse_another_run(path: Path, held: dict[str, Any], given: dict[str, Any]) -> None:
    """Nothing, where `given` may resume the run that was made with `held`.

    Raises:
        RunMismatch: another identity, or another policy under a name that the run already has; one line with the first key
            that differs.
    """
    found = difference("", held["identity"], given["identity"]) or _policy_difference(held.get("policies"), given.get("policies"))
    if found:
        key, old, new = found
        raise RunMismatch(f"given {key} {shown(new)}, but {path} was made with {shown(old)}; use another run=PATH or the same value")


def difference(prefix: str, held: Any, given: Any) -> tuple[str, Any, Any] | None:
    """The first key, dotted, at which two configs differ, with both values: MISSING where one has none."""
    if not (isinstance(held, dict) and isinstance(given, dict)):
        return None if held == given else (prefix, held, given)
    for key in dict.fromkeys([*held, *given]):
        found = difference(f"{prefix}.{key}".lstrip("."), held.get(key, MISSING), given.get(key, MISSING))
        if found:
            return found
    return None


def _policy_difference(held: Any, given: Any) -> tuple[str, Any, Any] | None:
    if not (isinstance(held, dict) and isinstance(given, dict)):
        return None
    shared = [name for name in held if name in given]
    return difference("policies", {name: held[name] for name in shared}, {name: given[name] for name in shared})


def shown(value: Any) -> str:
    """A value of a config for an error line."""
    return "nothing" if value is MISSING else json.dumps(value)


def merged(held: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Given values over held ones; a mapping on both sides keeps what only the folder knows."""
    both = {key: {**held[key], **given[key]} for key in held if isinstance(held[key], dict) and isinstance(given.get(key), dict)}
    return {**held, **given, **both}
