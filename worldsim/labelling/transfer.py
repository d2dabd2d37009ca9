"""Labels between a run and a file: out of everybody's in the run, and into it, once every row is known to be right."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from worldsim.errors import InvalidInput
from worldsim.labelling.label import Label, content_of
from worldsim.labelling.label_file import Row, read_labels, suffix_of, write_labels
from worldsim.labelling.ledger import all_labels, opened
from worldsim.registry import did_you_mean
from worldsim.report.printable import printable
from worldsim.report.run_folder import RunFolder


def export_labels(run: RunFolder, path: str | Path, rater: str | None = None) -> int:
    """Write the last word of every rater, or of one, to a file; how many labels that are.

    Raises:
        InvalidInput: there are none, or the file is neither .csv nor .jsonl.
    """
    suffix_of(path)
    held = all_labels(run)
    if not held:
        raise InvalidInput(f"nobody has labelled {run.path} yet; type: worldsim label {run.path}")
    if rater is not None and rater not in held:
        raise InvalidInput(f'"{printable(rater)}" has not labelled {run.path}; {did_you_mean(rater, held)}')
    labels = [label for name in held for label in held[name].values() if rater in (None, name)]
    write_labels(path, labels)
    return len(labels)


def import_labels(run: RunFolder, path: str | Path, rater: str | None = None) -> tuple[int, int]:
    """Add the labels of a file to a run, all or none; how many were new or changed, and how many were there already.

    Raises:
        InvalidInput: a row that is wrong in itself, of an episode that the run lacks, or of other frames than the run's.
        WorldsimError: one of the raters is labelling at the same time.
    """
    labels = _checked(run, read_labels(path, rater))
    added = 0
    with ExitStack() as stack:
        ledgers = {name: stack.enter_context(opened(run, name)) for name in dict.fromkeys(label.rater for label in labels)}
        for name, ledger in ledgers.items():
            new = [label for label in labels if label.rater == name and ledger.labels.get(label.episode) != label]
            if new:
                ledger.add(new)
            added += len(new)
    return added, len(labels) - added


def _checked(run: RunFolder, rows: Iterable[Row]) -> list[Label]:
    """The labels of a file, each with the hash of what the run's episode shows."""
    known, contents = run.episode_ids(), {}
    labels = []
    for row in rows:
        if row.episode not in known:
            said = f'{run.path} has no episode "{printable(row.episode)[:80]}"'
            raise InvalidInput(f"{row.where}, column episode: {said}; {_closest(row.episode, known)}")
        if row.episode not in contents:
            contents[row.episode] = content_of(run.episode(row.episode))
        if row.content not in (None, contents[row.episode]):
            raise InvalidInput(f"{row.where}, column content: other frames were labelled than those of {row.episode}; leave the row out")
        labels.append(row.label(contents[row.episode]))
    return labels


def _closest(episode: str, known: list[str]) -> str:
    close = did_you_mean(episode, known)
    return close if close.startswith("did") else "episodes are named as their files in episodes/"
