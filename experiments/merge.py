"""`worldsim merge`: episodes and verdicts of shards, played anywhere, copied into one run. What it has stays; nothing is played."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import written_whole
from worldsim.errors import DamagedFile, InvalidInput, RunMismatch
from worldsim.experiments.evaluate import finish, restore
from worldsim.experiments.schema import MergeConfig
from worldsim.experiments.status import shards_of
from worldsim.labelling.ledger import opened
from worldsim.report.json_lines import append_rows, read_lines
from worldsim.report.line_forms import is_session, is_verdict
from worldsim.report.probe import has_probe, probe_path
from worldsim.report.run_config import merged, refuse_another_run
from worldsim.report.run_folder import PEOPLE, TIMINGS, RunFolder
from worldsim.report.run_lock import owners
from worldsim.types import Verdict

log = logging.getLogger(__name__)


@dataclass
class Copied:
    """What a merge did: how much was new, and what could not be taken or differs, one line each."""

    episodes: int = 0
    verdicts: int = 0
    named: list[str] = field(default_factory=list)


def run(config: MergeConfig) -> Path:
    """Merge as configured, print what was done and return the run folder. The same command again changes nothing.

    Raises:
        WorldsimError: no shards, or such of another identity or another plan; nothing is copied then.
    """
    out = Path(config.run)
    sources = [RunFolder(path) for path in config.shards or shards_of(out)]
    if not sources:
        raise InvalidInput(f"{out} has no shards; name run folders: worldsim merge {out} FOLDER FOLDER")
    record = checked(out, sources)
    with RunFolder.open(out, record) as folder:
        restore(folder)
        copied = merge(folder, sources)
        finish(folder, report=config.report)
    for line in copied.named:
        print(line)
    done, planned = len(RunFolder(out).episode_ids()), record["planned"]
    new = f"{copied.episodes} episodes and {copied.verdicts} verdicts were new"
    print(f"merged {len(sources)} run folders: {new}; {done} of {planned} are there")
    if done < planned or "shard" in sources[0].config.get("plan", {}):
        print(f"to play and judge what is missing, and the probe, type the command of the shards with run={out} and without shard=")
    return out


def checked(out: Path, sources: list[RunFolder]) -> dict[str, Any]:
    """The config of the run that these make together.

    Raises:
        RunMismatch: another identity or policy, or shards of different plans.
        InvalidInput: a run that would be merged into itself.
    """
    record: dict[str, Any] = dict(RunFolder(out).config) if (out / "config.yaml").is_file() else {}
    first = next((source for source in sources if "shard" in source.config.get("plan", {})), None)
    for source in sources:
        if source.path.resolve() == out.resolve():
            raise InvalidInput(f"{out} cannot be merged into itself; leave it out of the shards")
        if record:
            refuse_another_run(source.path, record, source.config)
        plan = source.config.get("plan", {})
        if first and "shard" in plan and _whole(plan) != _whole(first.config["plan"]):
            raise RunMismatch(
                f"{source.path} is a shard of another plan than {first.path}; give all shards the same episodes=, policies= and batch="
            )
        record = merged(record, source.config)
    ids = {episode for source in sources for episode in source.episode_ids()} | {path.stem for path in out.glob("episodes/[!.]*.h5")}
    planned = first.config["plan"]["episodes"] if first else 0
    plan = {key: value for key, value in record.get("plan", {}).items() if key not in ("shard", "batch")}
    return record | {"planned": max(planned, len(ids)), "plan": plan, "command": f"worldsim merge {out}"}


def _whole(plan: dict[str, Any]) -> tuple[Any, ...]:
    return plan.get("digest"), plan.get("batch"), plan["shard"].partition("/")[2]


def merge(folder: RunFolder, sources: Iterable[RunFolder]) -> Copied:
    """Copy what `folder` lacks from each source, and from their probes into its own. Every step is whole or not done."""
    copied = Copied()
    for source in sources:
        if any(owner.alive for owner in owners(source.path)):
            copied.named.append(f"{source.path} is still being played; merge again when it has ended")
        _copy(folder, source, copied)
        if has_probe(source):
            inner = RunFolder(probe_path(source))
            held = RunFolder(probe_path(folder)).config if has_probe(folder) else inner.config
            with RunFolder.open(probe_path(folder), merged(held, inner.config)) as probe:
                restore(probe)
                _copy(probe, inner, copied)
    return copied


def _copy(folder: RunFolder, source: RunFolder, copied: Copied) -> None:
    replaced = set()
    for episode in source.episode_ids():
        try:
            if _copy_episode(folder, source, episode, copied):
                replaced.add(episode)
        except DamagedFile as error:
            copied.named.append(f"not merged: {error}")
    for verifier in source.verifiers():
        _copy_verdicts(folder, source, verifier, replaced, copied)
    rows, bad = read_lines(source.path / TIMINGS, is_session)
    held = read_lines(folder.path / TIMINGS, is_session).rows
    if new := [row for row in rows if row not in held]:
        append_rows(folder.path / TIMINGS, new)
    if bad:
        copied.named.append(f"not merged: damaged lines {', '.join(map(str, bad))} of {source.path / TIMINGS}")


def _copy_episode(folder: RunFolder, source: RunFolder, episode: str, copied: Copied) -> bool:
    """Copy one episode if it is missing, or if it broke off there and not here. Returns whether it was copied."""
    theirs = source.about(episode)
    if folder.has_episode(episode):
        mine = folder.about(episode)
        if not mine.fault or theirs.fault:
            if not _same(folder, source, episode):
                copied.named.append(f"{episode} differs in {source.path}; the one of {folder.path} stays")
            return False
    with written_whole(folder.episode_path(episode)) as aside:
        aside.write_bytes(source.episode_path(episode).read_bytes())
    folder.about(episode)  # what was copied is what was read
    copied.episodes += 1
    return True


def _same(folder: RunFolder, source: RunFolder, episode: str) -> bool:
    """Whether both have the same bytes or, as other versions pack them otherwise, the same content."""
    if folder.episode_path(episode).read_bytes() == source.episode_path(episode).read_bytes():
        return True
    mine, theirs = folder.episode(episode), source.episode(episode)
    return np.array_equal(mine.frames, theirs.frames) and np.array_equal(mine.actions, theirs.actions) and mine.metadata == theirs.metadata


def _copy_verdicts(folder: RunFolder, source: RunFolder, verifier: str, replaced: set[str], copied: Copied) -> None:
    """Append what a judge said of episodes of which it has said nothing here, or which were replaced."""
    rows, bad = read_lines(source.verdict_path(verifier), is_verdict)
    if bad:
        copied.named.append(f"not merged: damaged lines {', '.join(map(str, bad))} of {source.verdict_path(verifier)}")
    theirs = {row["episode"]: Verdict(row["score"], row["reason"], row["details"]) for row in rows}
    held = folder.verdicts(verifier)
    both = theirs.keys() & held.keys()
    differ = sorted(each for each in both if theirs[each] != held[each] and each not in replaced)
    if differ:
        copied.named.append(f"{verifier} says otherwise of {', '.join(differ)} in {source.path}; its word in {folder.path} stays")
    fresh = {each for each in theirs if each not in held or (each in replaced and held[each] != theirs[each])}
    new = {each: theirs[each] for each in theirs if each in fresh and folder.has_episode(each)}
    if new and verifier.startswith(PEOPLE):
        with opened(folder, verifier.removeprefix(PEOPLE)):
            folder.add_verdicts(verifier, new)
    elif new:
        folder.add_verdicts(verifier, new)
    copied.verdicts += len(new)
