"""A run on disk: its config, episodes, verdicts and timings, safe to stop and resume at any moment. Computes nothing from them.

NAME/config.yaml                  identity (what the episodes depend on) and free facts
     episodes/<episode id>.h5     whole or absent
     verdicts/<verifier>.jsonl    one line per judged episode, appended
     timings.jsonl                one line per session of work
     quarantine/                  damaged episodes and lines, kept and never counted
     .lock .owner-*.json          who writes, one process at a time

Everything carries a checksum; an episode also its own id and the digest of the run's identity. What older versions wrote is read as it is.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

from worldsim.data.files import digest_of, sweep
from worldsim.data.trajectory_file import read_about, read_trajectory, write_trajectory
from worldsim.errors import DamagedFile, InvalidInput, UnknownName, WorldsimError
from worldsim.report.json_lines import append_rows, put_aside_damaged, read_rows
from worldsim.report.line_forms import is_session, is_verdict
from worldsim.report.run_config import merged, plain, read_config, refuse_another_run, write_config
from worldsim.report.run_lock import RunLock
from worldsim.types import Trajectory, Verdict

CONFIG = "config.yaml"
TIMINGS = "timings.jsonl"
WORLDS = ("imagined", "truth")
PEOPLE = "human:"  # verdicts of a name that begins so are labels, which nobody can make again
WRITTEN = ("", "episodes", "verdicts", "calibration", "report", "report/videos")  # folders that hold files being written, if a process died
AGAIN = "the command that began the run, typed again, puts that aside"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class About:
    """What an episode file says beside its frames. `fault` says how its world or policy broke, if it did; `rate_hz` how often it acted."""

    episode: str
    policy: str
    world: str
    start: str
    seed: int
    fault: str = ""
    rate_hz: float | None = None


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
        self._made_by = digest_of(self.config["identity"])
        self._read: dict[str, tuple[tuple[int, int, int], About]] = {}  # by episode: the file that was read, and what it says
        self._lock: RunLock | None = None

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
            WorldsimError: another process has the run open, or nothing can be written there.
            DamagedFile: its config.yaml is damaged.
            InvalidInput: a config without an identity, or with a value that is not JSON.
        """
        path, given = Path(path), plain(config)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = RunLock(path)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise WorldsimError(f"cannot write to {path} ({error.strerror}); use another run=PATH") from error
        try:
            file = path / CONFIG
            if file.exists():
                held = read_config(file)
                refuse_another_run(path, held, given)
                given = merged(held, given)
            write_config(file, given)
            run = cls(path)
        except BaseException:
            lock.release()
            raise
        run._lock = lock
        for folder in WRITTEN:
            sweep(path / folder)
        return run

    def close(self) -> None:
        """Let another process write to the run."""
        if self._lock is not None:
            self._lock.release()
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
        self._may_write()
        known = {"episode": episode, "run": self._made_by}
        write_trajectory(self.episode_path(episode), replace(trajectory, metadata={**trajectory.metadata, **known}))

    def episode(self, episode: str) -> Trajectory:
        """One episode by id.

        Raises:
            DamagedFile: it is missing, not what its checksum promises, or another episode than its name says.
        """
        trajectory = read_trajectory(self.episode_path(episode))
        return replace(trajectory, metadata=self._own(episode, trajectory.metadata))

    def about(self, episode: str) -> About:
        """What one episode says of itself, its checksum checked, without decoding a frame. Read again only if the file has changed.

        Raises:
            DamagedFile: as `episode`.
        """
        path = self.episode_path(episode)
        try:
            found = path.stat()
        except OSError as error:
            raise DamagedFile(f"{path} cannot be read ({error.strerror})") from error
        version = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._read.get(episode, (None,))[0] != version:
            about = read_about(path)
            metadata = self._own(episode, about["metadata"])
            try:
                who = (metadata["policy"], metadata["world"])
            except KeyError as error:
                raise DamagedFile(f"{path} does not say which policy acted in which world") from error
            fault, rate_hz = metadata.get("fault", ""), metadata.get("fps")
            self._read[episode] = version, About(episode, *who, about["start_id"], about["seed"], fault, rate_hz)
        return self._read[episode][1]

    def _own(self, episode: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata as it was given; a file under another's name or of another run is refused, and older ones do not say."""
        if metadata.get("episode", episode) != episode:
            raise DamagedFile(f"{self.episode_path(episode)} holds episode {metadata['episode']}")
        if metadata.get("run", self._made_by) != self._made_by:
            raise DamagedFile(f"{self.episode_path(episode)} was made by a run of another identity than config.yaml has")
        return {key: value for key, value in metadata.items() if key not in ("episode", "run")}

    def episodes(self) -> Iterator[tuple[str, Trajectory]]:
        """Every sound episode with its id, sorted by id, one in memory at a time. Damaged files go to quarantine/ with a warning."""
        return ((episode, trajectory) for episode, trajectory in self._sound(self.episode))

    def abouts(self) -> Iterator[About]:
        """What every sound episode says of itself, as `episodes`, in a small part of the time."""
        return (about for _, about in self._sound(self.about))

    def _sound(self, read: Any) -> Iterator[tuple[str, Any]]:
        for episode in self.episode_ids():
            try:
                found = read(episode)
            except DamagedFile as error:
                self._quarantine(episode, error)
            else:
                yield episode, found

    def put_aside_broken(self) -> int:
        """Move the episodes that broke off to quarantine/, so that they are played again; how many there were."""
        broken = [about.episode for about in self.abouts() if about.fault]
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
        self._may_write()
        rows = [{"episode": id, "score": v.score, "reason": v.reason, "details": dict(v.details)} for id, v in verdicts.items()]
        append_rows(self.verdict_path(verifier), rows)

    def verdicts(self, verifier: str) -> dict[str, Verdict]:
        """What this verifier said, by episode id; its last word where it spoke twice, empty where it never spoke.

        Raises:
            DamagedFile: a damaged line.
        """
        label = f"worldsim label run={self.path} rater={verifier.removeprefix(PEOPLE)}, begun once, puts that aside"
        rows = read_rows(self.verdict_path(verifier), is_verdict, label if verifier.startswith(PEOPLE) else AGAIN)
        return {row["episode"]: Verdict(row["score"], row["reason"], row["details"]) for row in rows}

    def put_aside_damaged(self, *verifiers: str) -> int:
        """Move damaged lines to quarantine/: those of these verifiers, or of all whose verdicts can be made again, and of the timings.

        What was judged there is then unjudged. Returns how many lines there were.
        """
        chosen = verifiers or [name for name in self.verifiers() if not name.startswith(PEOPLE)]
        files = [(self.verdict_path(name), is_verdict) for name in chosen]
        files += [] if verifiers else [(self.path / TIMINGS, is_session)]
        counts = {file: put_aside_damaged(file, self.path / "quarantine" / file.name, form) for file, form in files}
        for file, count in counts.items():
            if count:
                log.warning("moved %d damaged line(s) of %s to quarantine/", count, file)
        return sum(counts.values())

    def verifiers(self) -> list[str]:
        """The names of all verifiers that have spoken, sorted."""
        return sorted(unquote(path.stem) for path in (self.path / "verdicts").glob("[!.]*.jsonl"))

    def verdict_path(self, verifier: str) -> Path:
        """Where the verdicts of this verifier lie, or would lie."""
        return self.path / "verdicts" / f"{quote(verifier, safe='')}.jsonl"  # a verifier may be named by its path

    def add_throughput(self, seconds: Mapping[str, float], *, rollouts: int, frames: int, lanes: int | None = None) -> None:
        """Append how one session spent its time: seconds by part (world_model, policy, verifier, other), rollouts and frames made.

        `lanes` is the most of them that were in one call of the world model, as it was at the end.
        """
        row = {"seconds": dict(seconds), "rollouts": rollouts, "frames": frames, "lanes": lanes}
        self._may_write()
        append_rows(self.path / TIMINGS, [row])

    def throughput(self) -> list[dict[str, Any]]:
        """The sessions in order: `{"seconds": {part: seconds}, "rollouts": n, "frames": n, "lanes": n or None}`.

        Raises:
            DamagedFile: a damaged line.
        """
        return read_rows(self.path / TIMINGS, is_session, AGAIN)

    def _may_write(self) -> None:
        if self._lock is not None:
            self._lock.check()
