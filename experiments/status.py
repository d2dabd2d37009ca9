"""How far runs are, from their files alone: episodes, verdicts, shards, who writes, pace and disk. Loads no model, decodes no frame."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from worldsim.errors import DamagedFile
from worldsim.experiments.evaluate import SHARDS
from worldsim.experiments.schema import StatusConfig
from worldsim.report.json_lines import read_lines
from worldsim.report.line_forms import is_session, is_verdict
from worldsim.report.run_folder import CONFIG, TIMINGS, RunFolder
from worldsim.report.run_lock import Owner, owners

AGAIN = "the command that began the run, typed again,"


@dataclass(frozen=True)
class Status:
    """What lies in a run folder.

    Attributes:
        planned: number of episodes that the run was begun for, None where its configuration does not say.
        episodes: finished episodes by (policy, world).
        verdicts: (scored, unscored) by verifier.
        damaged: what is damaged, one line each.
        quarantined: damaged episodes that were put aside and not made again.
        unjudged: imagined episodes on which the run's own verifier has said nothing yet.
        owners: who writes to the run, or was killed doing so.
        seconds_each: seconds that an episode takes, None where nothing tells.
        size: bytes on disk.
        command: what began the run.
    """

    planned: int | None
    episodes: Counter[tuple[str, str]]
    verdicts: dict[str, tuple[int, int]]
    damaged: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    unjudged: int = 0
    owners: list[Owner] = field(default_factory=list)
    seconds_each: float | None = None
    size: int = 0
    command: str = ""

    @property
    def complete(self) -> bool:
        """Every planned episode is there."""
        return self.planned is not None and self.episodes.total() >= self.planned


def run(config: StatusConfig) -> None:
    """Print the status of all runs asked for, and of their shards."""
    for name in [config.run, *config.more]:
        _show(name, status_of(name))
        for shard in shards_of(Path(name)):
            _show(str(shard), status_of(shard), brief=True)


def shards_of(run: Path) -> list[Path]:
    """The run folders in `run`/shards, in the order of their numbers."""
    found = [file.parent for file in run.glob(f"{SHARDS}/*/{CONFIG}")]
    return sorted(found, key=lambda shard: ([int(word) for word in shard.name.split("-of-") if word.isdigit()], shard.name))


def status_of(run: str | Path) -> Status:
    """The status of the run folder `run`; one that holds nothing but shards has their plan and no episodes.

    Raises:
        UnknownName: the folder is not there or holds no run.
        DamagedFile: its configuration cannot be read.
    """
    run = Path(run)
    if not (run / CONFIG).is_file() and (shards := shards_of(run)):
        plan = RunFolder(shards[0]).config.get("plan", {})
        return Status(plan.get("episodes"), Counter(), {}, size=_size(run), command=f"worldsim merge {run}")
    folder = RunFolder(run)
    abouts, damaged = [], []
    for episode in folder.episode_ids():
        try:
            abouts.append(folder.about(episode))
        except DamagedFile as error:
            damaged.append(f"{error}; {AGAIN} makes it again")
    verdicts, own = {}, set()
    for name in folder.verifiers():
        verdicts[name] = _verdicts(folder, name, damaged, own)
    living, planned = owners(run), folder.config.get("planned")
    imagined = [about for about in abouts if about.world == "imagined"]
    return Status(
        planned if isinstance(planned, int) else None,
        Counter((about.policy, about.world) for about in abouts),
        verdicts,
        damaged,
        folder.quarantined(),
        sum(about.episode not in own for about in imagined),
        living,
        _seconds_each(folder, living, damaged),
        _size(run),
        str(folder.config.get("command", "")),
    )


def _verdicts(folder: RunFolder, verifier: str, damaged: list[str], own: set[str]) -> tuple[int, int]:
    """(scored, unscored) by the last word of one verifier. Adds damaged lines to `damaged`, and to `own` what the run's verifier judged."""
    file = folder.verdict_path(verifier)
    rows, bad = read_lines(file, is_verdict)
    if bad:
        damaged.append(f"{file} in line {', '.join(map(str, bad))}; {AGAIN} puts that aside")
    scores = {row["episode"]: row["score"] for row in rows}
    if verifier == folder.identity.get("verifier", {}).get("name"):
        own.update(scores)
    unscored = sum(score is None for score in scores.values())
    return len(scores) - unscored, unscored


def _seconds_each(folder: RunFolder, living: Sequence[Owner], damaged: list[str]) -> float | None:
    """Seconds per episode: of the session that goes on, where there is one, else of the finished ones."""
    since = [
        datetime.strptime(owner.since, "%Y-%m-%d %H:%M:%S").timestamp() for owner in living if owner.alive and owner.since[:1].isdigit()
    ]
    if since:
        made = [when for path in folder.path.glob("episodes/[!.]*.h5") if (when := path.stat().st_mtime) >= min(since)]
        return (max(made) - min(since)) / len(made) if made else None
    rows, bad = read_lines(folder.path / TIMINGS, is_session)
    if bad:
        damaged.append(f"{folder.path / TIMINGS} in line {', '.join(map(str, bad))}; {AGAIN} puts that aside")
    rollouts = sum(row["rollouts"] for row in rows)
    return sum(sum(row["seconds"].values()) for row in rows) / rollouts if rollouts else None


def _size(run: Path) -> int:
    return sum(path.stat().st_size for path in run.rglob("*") if path.is_file())


def _show(run: str, status: Status, *, brief: bool = False) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    for line in lines_of(run, status):
        console.print(line, markup=False)
    if status.episodes and not brief:
        console.print(_table(status))
    for name, (scored, unscored) in {} if brief else status.verdicts.items():
        console.print(f"verdicts of {name}: {scored} scored, {unscored} could not tell", markup=False)
    for line in status.damaged:
        console.print(f"damaged: {line}", markup=False)


def lines_of(run: str, status: Status) -> list[str]:
    """What is to be said of a run, line by line."""
    done, alive = status.episodes.total(), any(owner.alive for owner in status.owners)
    go_on = f"to go on type: {status.command}" if status.command else "type the command that began it again to go on"
    advice = "complete" if status.complete else "being played" if alive else go_on
    lines = [f"{run}: {done} of {'an unknown number of' if status.planned is None else status.planned} episodes; {advice}"]
    lines += [f"  {'written to by' if owner.alive else 'left by (gone)'} {owner}" for owner in status.owners]
    left = (status.planned or 0) - done
    if status.seconds_each and left > 0:
        pace = f"{3600 / status.seconds_each:.0f} episodes an hour"
        lines.append(f"  {pace}; {_duration(left * status.seconds_each)} for the {left} left, at that pace")
    counts = {"not judged yet": status.unjudged, "damaged": len(status.damaged), "put aside and not made again": len(status.quarantined)}
    said = [f"{count} {what}" for what, count in counts.items() if count]
    return [*lines, f"  {', '.join([*said, f'{status.size / 2**20:.1f} MiB on disk'])}"]


def _duration(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 86400:.1f} days"


def _table(status: Status) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("policy", "world", "episodes")
    for (policy, world), count in sorted(status.episodes.items()):
        table.add_row(escape(policy), escape(world), str(count))
    return table
