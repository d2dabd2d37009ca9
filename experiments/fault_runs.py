"""Evaluations as forked processes that can be killed, and what a run folder must be equal to in the end. Knows no fault."""

import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from worldsim.data.trajectory_file import read_trajectory
from worldsim.experiments import cli

POLICIES, EPISODES = ("begin", "random", "still"), 2
SLOW = 120  # seconds after which a process counts as hung


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, minus the signal that killed it, and what it wrote to stderr."""

    code: int
    said: str

    @property
    def crashed(self) -> bool:
        """Neither an end of its own choosing nor our kill."""
        return "Traceback" in self.said or self.code not in (0, 1, 2, -9)


class Process:
    """A forked process that calls `work` and ends with what that returns; its words go to `log`."""

    def __init__(self, work: Callable[[], int], log: Path) -> None:
        self.log, self.begun = log, time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: ours do nothing
            self.pid = os.fork()
        if not self.pid:
            self._live(work)

    def _live(self, work: Callable[[], int]) -> None:
        code = 70
        try:
            out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1), os.dup2(out, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, "utf-8", closefd=False) for number in (1, 2))
            _draw_no_first_weights()
            code = work()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def over(self) -> bool:
        """Whether it has ended, without taking note of it."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, 9)

    def end(self) -> Ended:
        """Wait for its end; killed where it hangs."""
        while not self.over() and time.monotonic() - self.begun < SLOW:
            time.sleep(0.005)
        if not self.over():
            self.kill()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ended(code, self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else "")


def command(run: Path, **more: Any) -> list[str]:
    """An evaluation of shipped parts that takes about a second: three policies, six episodes of one step, a probe, a report."""
    keys = {"run": run, "policies": f"[{','.join(POLICIES)}]", "episodes": EPISODES, "horizon": 1, "steps": 1, "batch": 2, "probe": 1}
    keys |= {"determinism": "strict", "report": "true"} | more
    return ["evaluate", *(f"{key}={value}" for key, value in keys.items())]


@dataclass(frozen=True)
class Reference:
    """A run that nothing happened to."""

    folder: Path
    run: Path
    results: dict[str, Any]
    contents: dict[str, bytes]
    seconds: float

    @classmethod
    def made(cls, folder: Path) -> "Reference":
        """Play it, in `folder`."""
        run, modules = folder / "reference", folder / "modules"

        def play_and_tell() -> int:
            code = cli.main(command(folder / "warm"))
            modules.write_text("\n".join(sys.modules))
            return code

        warm = Process(play_and_tell, folder / "log").end()
        if warm.code:
            raise SystemExit(f"the reference run failed: {warm.said}")
        for name in modules.read_text().splitlines():  # loaded once, for all that are forked from here
            with suppress(Exception), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import_module(name)
        begun = time.monotonic()
        Process(lambda: cli.main(command(run)), folder / "log").end()
        made = cls(folder, run, results_of(run), contents_of(run), time.monotonic() - begun)
        if not made.equals(folder / "warm"):
            raise SystemExit("two uninterrupted runs differ, so nothing can be told from a third")
        return made

    def equals(self, run: Path) -> bool:
        """Whether a run came to the same."""
        try:
            return results_of(run) == self.results and contents_of(run) == self.contents
        except (OSError, ValueError, KeyError):
            return False

    def difference(self, run: Path, ended: Ended) -> str:
        """What tells a run that ended from this one, in words; empty where nothing does."""
        if ended.code:
            return f"ended with {ended.code}: {ended.said[-2000:]}"
        if halves := [str(path.relative_to(run)) for path in run.rglob(".*.tmp")]:
            return f"half-written files are left: {halves}"
        return "" if self.equals(run) else "other results, frames, actions or verdicts"

    def evaluate(self, run: Path, **more: Any) -> Process:
        """The same evaluation in another folder, or resumed there."""
        return Process(lambda: cli.main(command(run, **more)), self.folder / "log")

    def copy(self, name: str) -> Path:
        """A copy of the finished run."""
        copy = self.folder / name
        shutil.rmtree(copy, ignore_errors=True)
        return shutil.copytree(self.run, copy)


def _draw_no_first_weights() -> None:
    """Spare this process, where torch is loaded, the random weights of networks, which checkpoints are loaded over."""
    if torch := sys.modules.get("torch"):
        for name in ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_"):
            setattr(torch.nn.init, name, lambda tensor, *given, **named: tensor)


def results_of(run: Path) -> dict[str, Any]:
    """results.json but for what no two runs share. Unlike the product this does not look at hashes."""
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return {key: value for key, value in results.items() if key not in ("throughput", "sha256")}


def contents_of(run: Path) -> dict[str, bytes]:
    """Every episode's frames and actions and its verdicts, of a run and of its probe; a second one of the same would show.

    A verdict of an episode that is not there counts nowhere.
    """
    found: dict[str, bytes] = {}
    for inner in (run, run / "probe"):
        episodes = {path.stem: path for path in inner.glob("episodes/[!.]*.h5")}
        for path in episodes.values():
            trajectory = read_trajectory(path)
            found[f"{inner.name == 'probe'} {path.stem}"] = trajectory.frames.tobytes() + trajectory.actions.tobytes()
        for path in inner.glob("verdicts/*.jsonl"):
            rows = sorted(row for row in path.read_text(encoding="utf-8").splitlines() if json.loads(row)["episode"] in episodes)
            found[f"{inner.name == 'probe'} {path.name}"] = "\n".join(rows).encode()
    return found
