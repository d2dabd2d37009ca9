"""A run on disk: its config, episodes, verdicts and timings, safe to stop and resume at any moment. Computes nothing from them.

NAME/config.yaml                  identity (what the episodes depend on) and free facts
     episodes/<episode id>.h5     whole or absent
     verdicts/<verifier>.jsonl    one line per judged episode, appended
     timings.jsonl                one line per session of work
     quarantine/                  damaged episode files, kept and never counted
     .lock                        held by the one process that writes
"""

import fcntl
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

from worldsim.data.trajectory_file import read_trajectory, write_trajectory
from worldsim.errors import DamagedFile, InvalidInput, UnknownName, WorldsimError
from worldsim.report.json_lines import append_rows, read_rows
from worldsim.report.run_config import merged, plain, read_config, refuse_another_run, write_config
from worldsim.types import Trajectory, Verdict

CONFIG = "config.yaml"
WORLDS = ("imagined", "truth")

log = logging.getLogger(__name__)


class RunFolder:
    """An existing run. `RunFolder(path)` reads; `RunFolder.open(path, config)` makes or resumes one and keeps every other writer out.

    Raises:
        UnknownName: there is no run at `path`.
        DamagedFile: its config.yaml is not a mapping with an identity.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        if not (self.path / CONFIG).is_file():
            raise UnknownName(f"{self.path} is no run folder (it has no config.yaml); make one with: worldsim evaluate run={self.path}")
        self.config: dict[str, Any] = read_config(self.path / CONFIG)
        self._lock: int | None = None

    @classmethod
    def open(cls, path: str | os.PathLike, config: Mapping[str, Any]) -> Self:
        """Make the run `path`, or resume it where it was made by the same identity; then hold its lock until `close`.

        Free keys (all but "identity") may change between sessions: given ones replace those of the folder, mappings are merged
        by name. A policy that both name under "policies" must be the same policy.

        Args:
            path: folder of the run.
            config: JSON values, with a mapping under "identity".

        Raises:
            RunMismatch: the folder holds another identity; the line names the first key that differs.
            WorldsimError: another process has the run open.
            InvalidInput: a config without an identity, or with a value that is not JSON.
        """
        path, given = Path(path), plain(config)
        path.mkdir(parents=True, exist_ok=True)
        lock = _locked(path)
        try:
            file = path / CONFIG
            if file.exists():
                held = read_config(file)
                refuse_another_run(path, held, given)
                given = merged(held, given)
            write_config(file, given)
            run = cls(path)
        except BaseException:
            os.close(lock)
            raise
        run._lock = lock
        return run

    def close(self) -> None:
        """Let another process write to the run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def identity(self) -> dict[str, Any]:
        """What every episode of the run depends on: world model, verifier, task, sampler and seed."""
        return self.config["identity"]

    def episode_path(self, episode: str) -> Path:
        """Where the episode with this id lies, or would lie.

        Raises:
            InvalidInput: an id that cannot be a file name.
        """
        if not re.fullmatch(r"\w[\w.-]*", episode):
            raise InvalidInput(f'episode id "{episode}" cannot name a file; use letters, digits, ".", "_" and "-"')
        return self.path / "episodes" / f"{episode}.h5"

    def has_episode(self, episode: str) -> bool:
        """Whether the episode is on disk."""
        return self.episode_path(episode).is_file()

    def episode_ids(self) -> list[str]:
        """All ids on disk, sorted."""
        return sorted(path.stem for path in (self.path / "episodes").glob("*.h5") if not path.name.startswith("."))

    def add_episode(self, episode: str, trajectory: Trajectory) -> None:
        """Keep one finished episode.

        Raises:
            InvalidInput: metadata that names no policy, or a world other than "imagined" and "truth".
        """
        if not trajectory.metadata.get("policy") or trajectory.metadata.get("world") not in WORLDS:
            raise InvalidInput(
                f'episode {episode} needs metadata "policy" and "world" ({" or ".join(WORLDS)}), got {dict(trajectory.metadata)}'
            )
        write_trajectory(self.episode_path(episode), trajectory)

    def episode(self, episode: str) -> Trajectory:
        """One episode by id.

        Raises:
            DamagedFile: it is missing or not what its checksum promises.
        """
        return read_trajectory(self.episode_path(episode))

    def episodes(self) -> Iterator[tuple[str, Trajectory]]:
        """Every sound episode with its id, sorted by id, one in memory at a time. Damaged files go to quarantine/ with a warning."""
        for episode in self.episode_ids():
            try:
                trajectory = self.episode(episode)
            except DamagedFile as error:
                self._quarantine(episode, error)
            else:
                yield episode, trajectory

    def put_aside_broken(self) -> int:
        """Move the episodes that broke off to quarantine/, so that they are played again; how many there were."""
        broken = [episode for episode, trajectory in self.episodes() if "fault" in trajectory.metadata]
        for episode in broken:
            self._put_aside(episode)
        return len(broken)

    def quarantined(self) -> list[str]:
        """Ids of the damaged episodes that were put aside and not made again since."""
        return sorted({path.stem for path in (self.path / "quarantine").glob("*.h5")} - set(self.episode_ids()))

    def _quarantine(self, episode: str, error: DamagedFile) -> None:
        aside = self._put_aside(episode)
        log.warning("moved a damaged episode to %s; the same command makes it again (%s)", aside, error)

    def _put_aside(self, episode: str) -> Path:
        aside = self.path / "quarantine" / f"{episode}.h5"
        aside.parent.mkdir(exist_ok=True)
        return self.episode_path(episode).replace(aside)

    def add_verdicts(self, verifier: str, verdicts: Mapping[str, Verdict]) -> None:
        """Append verdicts by episode id; they are on disk when this returns."""
        rows = [{"episode": id, "score": v.score, "reason": v.reason, "details": dict(v.details)} for id, v in verdicts.items()]
        append_rows(self._verdict_path(verifier), rows)

    def verdicts(self, verifier: str) -> dict[str, Verdict]:
        """What this verifier said, by episode id; its last word where it spoke twice, empty where it never spoke."""
        return {row["episode"]: Verdict(row["score"], row["reason"], row["details"]) for row in read_rows(self._verdict_path(verifier))}

    def verifiers(self) -> list[str]:
        """The names of all verifiers that have spoken, sorted."""
        return sorted(unquote(path.stem) for path in (self.path / "verdicts").glob("[!.]*.jsonl"))

    def _verdict_path(self, verifier: str) -> Path:
        return self.path / "verdicts" / f"{quote(verifier, safe='')}.jsonl"  # a verifier may be named by its path

    def add_throughput(self, seconds: Mapping[str, float], *, rollouts: int, frames: int, lanes: int | None = None) -> None:
        """Append how one session spent its time: seconds by part (world_model, policy, verifier, other), rollouts and frames made.

        `lanes` is the most of them that were in one call of the world model, as it was at the end.
        """
        row = {"seconds": dict(seconds), "rollouts": rollouts, "frames": frames, "lanes": lanes}
        append_rows(self.path / "timings.jsonl", [row])

    def throughput(self) -> list[dict[str, Any]]:
        """The sessions in order: `{"seconds": {part: seconds}, "rollouts": n, "frames": n, "lanes": n or None}`."""
        return read_rows(self.path / "timings.jsonl")


def _locked(path: Path) -> int:
    """A descriptor that holds the run's lock; the system lets go of it when the process ends, however it ends."""
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise WorldsimError(f"another process is writing to {path}; wait for it to end or use another run=PATH") from error
    return descriptor
