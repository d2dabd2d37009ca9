"""Files that exist whole or not at all, and the checksums that say so. Knows nothing of what is in them."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldsim.errors import DamagedFile

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path`; when the block ends without an error it is flushed to disk and renamed to `path`.

    A link stays one: what it leads to is replaced.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def trouble_with_files(error: OSError) -> str | None:
    """What to say where a disk is full, or a file may not be read or written; None of any other error."""
    if error.errno in NOT_ALLOWED and error.filename:
        return f"{error.filename} cannot be read or written ({error.strerror}); allow it, or name another place"
    if error.errno not in DISK_FULL:
        return None
    where = f" while writing {error.filename}" if error.filename else ""
    return f"the disk is full{where}; free some space and type the same command again to go on from what is finished"


def sweep(folder: Path) -> None:
    """Remove what `written_whole` was writing in `folder` for processes of this machine that are gone."""
    for left in folder.glob(".*.tmp"):
        pid = left.name.split(".")[-2]
        if not (pid.isdigit() and is_running(int(pid))):
            left.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN is refused."""
    text = json.dumps(value, indent=2, allow_nan=False)
    with written_whole(path) as aside:
        aside.write_text(text + "\n", encoding="utf-8")


def sha256_of(path: str | os.PathLike) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """A short stable name (16 hex digits) for a JSON value: the same on every machine and in every run."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


def digest_of_files(files: Iterable[Path], root: str | os.PathLike) -> str:
    """A short stable name for the content of files, every byte of them, and their paths below `root`."""
    return digest_of({str(path.relative_to(root)): sha256_of(path) for path in files})


def described_in(folder: str | os.PathLike) -> dict[str, Any] | None:
    """What `config.json` in `folder` says; None where there is none.

    Raises:
        DamagedFile: it is not JSON.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFile(f"{path} is not JSON ({error}); get the checkpoint again") from error
