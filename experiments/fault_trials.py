"""The faults: kills, races, damaged files and a full disk, each a count of how trials ended. What starts with LOST must be 0."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from worldsim.experiments import cli
from worldsim.experiments.fault_runs import EPISODES, POLICIES, Process, Reference, command
from worldsim.report import run_lock
from worldsim.report.run_folder import RunFolder

MOST_KILLS = 8  # of one run before it may end
WHOLE = EPISODES * len(POLICIES)


def kill_trials(reference: Reference, kills: int, seed: int) -> Counter[str]:
    """SIGKILL evaluations at random, again while they resume, then let them end; what was finished must stay as it was."""
    rng, found, number = random.Random(seed), Counter({"LOST finished episodes": 0, "LOST: the end differs": 0}), 0
    while kills:
        number += 1
        run, kept = reference.folder / f"killed-{number}", {}
        for _ in range(rng.randint(1, min(MOST_KILLS, kills))):
            process = reference.evaluate(run)
            _wait_for_moment(process, run, rng, reference.seconds)
            if process.over():
                process.end()
                break
            process.kill()
            process.end()
            kills -= 1
            found[f"killed while {_phase(run)}"] += 1
            kept |= _stamps(run)
        ended = reference.evaluate(run).end()
        found["LOST finished episodes"] += sum(_stamps(run).get(path) != stamp for path, stamp in kept.items())
        found["finished episodes found and kept"] += len(kept)
        differs = reference.difference(run, ended)
        found["LOST: the end differs" if differs else "runs resumed to the same end"] += 1
        if differs:
            print(f"{run.name}: {differs}", file=sys.stderr)
        shutil.rmtree(run)
        print(f"{kills} kills to go: {dict(found)}", file=sys.stderr)
    return found


def _wait_for_moment(process: Process, run: Path, rng: random.Random, seconds: float) -> None:
    """Half of the moments by the clock, half a little after something appeared in the folder, so that short phases are met too."""
    target = rng.randrange(2 * WHOLE + 6) if rng.random() < 0.5 else None
    wait = time.monotonic() + (rng.uniform(0, seconds) if target is None else 2 * seconds)
    while time.monotonic() < wait and not process.over() and not (target is not None and _progress(run) >= target):
        time.sleep(0.001)
    if target is not None:
        time.sleep(rng.uniform(0, 0.03))


def _counts(run: Path) -> tuple[int, int]:
    lines = [path.read_bytes().count(b"\n") for path in run.glob("verdicts/*.jsonl")]
    return len(list(run.glob("episodes/[!.]*.h5"))), sum(lines)


def _progress(run: Path) -> int:
    written = sum((run / name).exists() for name in ("config.yaml", "results.json", "report/index.html"))
    return written + sum(_counts(run)) + sum(_counts(run / "probe"))


def _phase(run: Path) -> str:
    """What the folder says the process was doing when it was killed."""
    (episodes, verdicts), probe = _counts(run), _counts(run / "probe")
    if not (run / "config.yaml").exists():
        return "loading"
    if episodes < WHOLE or verdicts < WHOLE:
        return "playing" if episodes < WHOLE else "judging"
    if min(probe) < 2:
        return "probing"
    if not (run / "results.json").exists():
        return "computing results"
    return "writing the report" if not (run / "report" / "index.html").exists() else "ending or resuming a finished run"


def _stamps(run: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in run.rglob("episodes/[!.]*.h5")}


def race_trials(reference: Reference, races: int, processes: int, seed: int) -> Counter[str]:
    """Several processes for one folder at once; in every second race without the kernel's lock, each as if on a machine of its own."""
    rng, found = random.Random(seed), Counter({"LOST: written twice": 0, "LOST: the end differs": 0, "LOST: crashed": 0})
    for number in range(races):
        run, log, far = reference.folder / f"race-{number}", reference.folder / f"writes-{number}", bool(number % 2)
        if far:  # somebody on another machine was killed here long ago
            run.mkdir()
            (left := run / ".owner-00000000-1-left.json").write_text("{}")
            (run / ".lock").touch()
            os.utime(left, (1, 1))
        started = []
        for each in range(processes):
            started.append(Process(_racer(run, log, f"machine{each}" if far else ""), reference.folder / f"log-{each}"))
            time.sleep(rng.choice([0, 0, 0.01, 0.1]))
        for ended in [process.end() for process in started]:
            refused = ended.code == 1 and "another process is writing" in ended.said
            found["won" if ended.code == 0 else "refused, told by whom" if refused else "LOST: crashed"] += 1
        writes = Counter(log.read_text().splitlines()) if log.exists() else Counter()
        found["LOST: written twice"] += sum(count - 1 for count in writes.values())
        found["episodes and verdicts written"] += writes.total()
        found["races of one machine" if not far else "races of several machines, by heartbeat alone"] += 1
        if not reference.equals(run):
            found["races in which all stepped back"] += not writes
            found["LOST: the end differs"] += reference.evaluate(run).end().code != 0 or not reference.equals(run)
        shutil.rmtree(run)
    return found


def _racer(run: Path, log: Path, machine: str) -> Any:
    """One evaluation that notes every write of an episode or a verdict; with `machine`, as if on another computer."""

    def work() -> int:
        if machine:
            run_lock.this_machine = lambda: machine
            run_lock._locked = lambda path: (os.open(path / ".lock", os.O_RDWR | os.O_CREAT), False)
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        add_episode, add_verdicts = RunFolder.add_episode, RunFolder.add_verdicts

        def episode(self: RunFolder, name: str, trajectory: Any) -> None:
            os.write(out, f"{self.path.name} {name}\n".encode())
            add_episode(self, name, trajectory)

        def verdicts(self: RunFolder, verifier: str, said: Any) -> None:
            os.write(out, "".join(f"{self.path.name} {verifier} {name}\n" for name in said).encode())
            add_verdicts(self, verifier, said)

        RunFolder.add_episode, RunFolder.add_verdicts = episode, verdicts
        return cli.main(command(run, report="false"))

    return work


def disk_trial(reference: Reference, kilobytes: int) -> Counter[str]:
    """An evaluation on a disk that is too small, and again after room was made; as root a tmpfs, else a limit on the size of files."""
    found, place = Counter({"LOST: the end differs": 0, "LOST: half a file": 0}), reference.folder / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "worldsim-small", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        found["no tmpfs can be mounted here: not tried"] += 1
        return found
    try:
        run = place / "run"
        refused = reference.evaluate(run).end()
        found["refused before anything was played"] += refused.code == 1 and "too small" in refused.said
        full = reference.evaluate(run, ignore_disk="true").end()
        found["stopped in one line"] += full.code == 1 and "disk is full" in full.said and not full.crashed
        found["LOST: half a file"] += len(list(run.rglob(".*.tmp")))
        kept = _stamps(run)
        found["finished episodes on the full disk"] += len(kept)
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        ended = reference.evaluate(run).end()
        same = ended.code == 0 and reference.equals(run) and all(_stamps(run).get(path) == stamp for path, stamp in kept.items())
        found["resumed to the same end" if same else "LOST: the end differs"] += 1
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)
    return found
