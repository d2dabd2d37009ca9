"""Where labels are kept: one file of verdicts per rater in the run folder, which only grows.

The run's own lock is not taken, so people label while an evaluation goes on, and several raters label at once. What makes that safe:
a rater's file is written by nobody else, a lock of its own (verdicts/.human%3ANAME.lock) keeps a second sitting of the same rater out, and
each label is appended whole and flushed to disk before it is acknowledged. All other files of the run are only read.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from worldsim.errors import DamagedFile, InvalidInput, WorldsimError
from worldsim.labelling.label import PREFIX, Label, check_rater, verifier_of
from worldsim.report.printable import printable
from worldsim.report.run_folder import RunFolder


def raters_of(run: RunFolder) -> list[str]:
    """Everybody who has labelled in a run, sorted."""
    names = [unquote(path.stem) for path in (run.path / "verdicts").glob("*.jsonl")]
    return sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))


def labels_of(run: RunFolder, rater: str) -> dict[str, Label]:
    """The last word of a rater on each episode, by episode id; empty where the rater never labelled.

    Raises:
        DamagedFile: a line of the rater's file that is no label.
    """
    labels = {episode: Label.of_verdict(episode, verdict) for episode, verdict in run.verdicts(verifier_of(rater)).items()}
    for episode, label in labels.items():
        if label.rater != rater:
            raise DamagedFile(f"the labels of {printable(rater)} hold one of {printable(label.rater)} (episode {printable(episode)})")
    return labels


def all_labels(run: RunFolder) -> dict[str, dict[str, Label]]:
    """The labels of everybody, by rater and episode."""
    return {rater: labels_of(run, rater) for rater in raters_of(run)}


class Ledger:
    """The labels of one rater, open for more. Made by `opened`."""

    def __init__(self, run: RunFolder, rater: str) -> None:
        self._run, self.rater = run, rater
        self.labels = labels_of(run, rater)

    def add(self, labels: Iterable[Label]) -> None:
        """Append labels; they are on disk when this returns. A second label of an episode replaces the first, which stays in the file."""
        new = {label.episode: label for label in labels}
        self._run.add_verdicts(verifier_of(self.rater), {episode: label.verdict() for episode, label in new.items()})
        self.labels |= new


@contextmanager
def opened(run: RunFolder, rater: str) -> Iterator[Ledger]:
    """The labels of `rater`, kept from any other writer until the block ends.

    Raises:
        InvalidInput: a name that cannot be one, or that differs from another rater's in capitals only.
        WorldsimError: the same rater is labelling this run elsewhere.
    """
    check_rater(rater)
    for other in raters_of(run):
        if other != rater and other.casefold() == rater.casefold():
            raise InvalidInput(f'rater "{printable(rater)}" is "{printable(other)}" in other capitals; type that name or another')
    lock = _locked(run.path / "verdicts" / f".{quote(verifier_of(rater), safe='')}.lock", rater)
    try:
        run.put_aside_damaged(verifier_of(rater))
        yield Ledger(run, rater)
    finally:
        os.close(lock)


def _locked(file: Path, rater: str) -> int:
    """A descriptor that holds the rater's lock; the system lets go of it when the process ends, however it ends."""
    file.parent.mkdir(exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise WorldsimError(f"{printable(rater)} labels this run in another process; end that one, or type another rater=NAME") from error
    return descriptor
