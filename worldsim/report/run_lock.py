"""Who may write to a run: one process at a time, of one machine or of several. Knows nothing of what a run holds.

On one machine the kernel's lock on `.lock` decides; it ends with its process, however that ends. It does not reach every other machine
that shares the disk. Between machines each writer's `.owner-MACHINE-PID-TOKEN.json` decides, which it touches every few seconds: a writer
makes its own file first and then looks for others, so of two at once at least one sees the other and steps back. A silent one is taken
over, and finds that out before it writes again. Ages are told by the clock of the disk, not by those of the machines.
"""

import errno
import fcntl
import getpass
import json
import os
import random
import secrets
import shlex
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from worldsim.data.files import digest_of, is_running, written_whole
from worldsim.errors import WorldsimError

BEAT = 5.0  # seconds between two signs of life
STALE = 60.0  # seconds of silence after which a writer on another machine counts as gone
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a disk says that has no locks
TRIES = 3


@dataclass(frozen=True)
class Owner:
    """A process that writes, or wrote, to a run, as its file tells. `since` is a time of its own clock, `silent` are seconds."""

    file: Path
    machine: str
    pid: int
    host: str
    user: str
    command: str
    since: str
    silent: float

    @property
    def here(self) -> bool:
        """Whether it ran on this machine."""
        return self.machine == this_machine()

    @property
    def alive(self) -> bool:
        """Whether it still runs, as far as can be told: here by its number, elsewhere by its last sign of life."""
        return is_running(self.pid) if self.here else self.silent < STALE

    def __str__(self) -> str:
        """Who, where and since when, in words."""
        who = f"process {self.pid} of {self.user} on {self.host}, since {self.since}, last heard {self.silent:.0f} s ago"
        return f"{who}: {self.command}" if self.command else who


class RunLock:
    """The right to write to the run at `path`, held from now until `release`.

    Raises:
        WorldsimError: another process has it; the line says who, where and since when.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stop, self._lost = path, threading.Event(), False
        self._descriptor, self._kernel = _locked(path)
        try:
            self._own = self._claim()
        except BaseException:
            os.close(self._descriptor)
            raise
        threading.Thread(target=self._beat, name="worldsim-heartbeat", daemon=True).start()

    def check(self) -> None:
        """Nothing, as long as nobody took over.

        Raises:
            WorldsimError: somebody did, since this process was not heard of for long.
        """
        if self._lost or not self._own.exists():
            now = ", ".join(map(str, owners(self._path))) or "another process"
            raise WorldsimError(f"{self._path} was taken over while this process was silent, by {now}; nothing more is written to it here")

    def release(self) -> None:
        """Let others write."""
        self._stop.set()
        self._own.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _claim(self) -> Path:
        """The file that says that the run is ours, once nobody else says so."""
        own = self._path / f".owner-{this_machine()}-{os.getpid()}-{secrets.token_hex(4)}.json"
        for attempt in range(TRIES):
            _write_owner(own)
            others = [owner for owner in owners(self._path, touch=True) if owner.file != own]
            living = [owner for owner in others if self._lives(owner)]
            if not living:
                for owner in others:
                    owner.file.unlink(missing_ok=True)
                return own
            own.unlink(missing_ok=True)
            if attempt + 1 < TRIES:
                time.sleep(random.uniform(0.05, 0.3))
        raise _refusal(self._path, living)

    def _lives(self, owner: Owner) -> bool:
        """Whether to step back: a process of this machine that had the kernel's lock is gone, as we have it now."""
        return owner.alive if not (owner.here and self._kernel) else False

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            try:
                os.utime(self._own)
            except FileNotFoundError:
                self._lost = not self._stop.is_set()
                return
            except OSError:
                continue  # a disk that is away for a moment; silence is noticed by others, and by `check`


def owners(path: Path, *, touch: bool = False) -> list[Owner]:
    """Every process that says that the run is its own, the longest silent first. `touch` asks the disk for its time by writing to it."""
    found = []
    now = _disk_time(path) if touch else time.time()
    for file in path.glob(".owner-*.json"):
        try:
            silent = max(0.0, now - file.stat().st_mtime)
            told = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            told = {}
        told = told if isinstance(told, dict) else {}
        _, machine, pid, *_ = *file.stem.split("-"), "", ""
        words = {key: str(told.get(key, "unknown")) for key in ("host", "user", "since")}
        found.append(Owner(file, machine, int(pid) if pid.isdigit() else 0, **words, command=str(told.get("command", "")), silent=silent))
    return sorted(found, key=lambda owner: -owner.silent)


def this_machine() -> str:
    """A short name of this machine, as it runs since it was switched on."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return digest_of([socket.gethostname(), boot.read_text(encoding="utf-8") if boot.exists() else ""])[:8]


def _locked(path: Path) -> tuple[int, bool]:
    """A descriptor that holds the kernel's lock, and whether the disk has such locks at all."""
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise _refusal(path, [owner for owner in owners(path) if owner.alive]) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            os.close(descriptor)
            raise
        return descriptor, False
    return descriptor, True


def _refusal(path: Path, others: list[Owner]) -> WorldsimError:
    who = f" ({'; '.join(map(str, others))})" if others else ""
    return WorldsimError(f"another process is writing to {path}{who}; wait for it to end or use another run=PATH")


def _write_owner(file: Path) -> None:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        user = str(os.getuid())
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:300]
    told = {"host": socket.gethostname(), "user": user, "command": command, "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    with written_whole(file) as aside:
        aside.write_text(json.dumps(told) + "\n", encoding="utf-8")


def _disk_time(path: Path) -> float:
    """The time now by the clock that dates files in `path`."""
    os.utime(path / ".lock")
    return (path / ".lock").stat().st_mtime
