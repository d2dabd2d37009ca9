"""What people said, as a judge: labels given by `worldsim label`, from the run that is judged, another run, or an exported file.

A judge sees trajectories and no episode ids, so labels are found by what they were given for: each carries a hash of the task, the
instruction and the frames that the rater saw (`worldsim.labelling.label.content_of`). It holds in a copy of the run, on another machine and
under another id, and it never holds for an episode that was played again under its old id and shows something else.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from worldsim.errors import InvalidInput, UnknownName
from worldsim.labelling.label import SCORES, WORDS, Label, content_of
from worldsim.labelling.label_file import read_labels
from worldsim.labelling.ledger import all_labels
from worldsim.registry import VERIFIERS, did_you_mean
from worldsim.report.printable import printable
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory, Verdict

Answers = Mapping[str, Mapping[str, str]]  # y, n or u by what was shown and by rater


class Human:
    """Says what raters said: one of them, or the majority of those who could tell; a tie, like no label, is unscored."""

    revisable = True  # people label more, and change their minds

    def __init__(self, answers: Answers, rater: str | None = None) -> None:
        self._answers, self._rater = answers, rater

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """1 or 0 for each, None where nobody labelled it, nobody could tell, or as many said the one as the other."""
        return [self._judge(self._answers.get(content_of(trajectory), {})) for trajectory in trajectories]

    def _judge(self, given: Mapping[str, str]) -> Verdict:
        if self._rater is not None:
            given = {rater: answer for rater, answer in given.items() if rater == self._rater}
        if not given:
            return Verdict(None, f"not labelled by {self._rater or 'anybody'}")
        counts = Counter(given.values())
        said = ", ".join(f"{WORDS[answer]} {counts[answer]}" for answer in SCORES if counts[answer])
        score = None if counts["y"] == counts["n"] else float(counts["y"] > counts["n"])
        return Verdict(score, f"raters: {said}", {"labels": dict(sorted(given.items()))})


@VERIFIERS.register("human")
@dataclass
class HumanConfig:
    """Labels of people, as `worldsim label` asks for them.

    Attributes:
        rater: whose; None is the majority of all.
        labels: exported labels, or a run folder that was labelled; None is the run that is judged.
    """

    rater: str | None = None
    labels: str | None = None

    def in_run(self, path: str | Path) -> Self:
        """This judge for the run at `path`: its labels are read from there, unless they are to be read from elsewhere."""
        return self if self.labels else replace(self, labels=str(path))

    def build(self) -> Human:
        """Read the labels.

        Raises:
            InvalidInput: no place to read them from, none there, or a file that does not say what was shown.
            UnknownName: a rater who gave none.
        """
        if not self.labels:
            raise InvalidInput("human judges by labels; type: worldsim score RUN verifier=human, or {name: human, labels: RUN_OR_FILE}")
        answers: dict[str, dict[str, str]] = {}
        raters: set[str] = set()
        for label in _labels(self.labels):
            given = answers.setdefault(label.content, {})
            same = given.get(label.rater, label.answer) == label.answer
            given[label.rater] = label.answer if same else "u"  # two episodes that look alike, labelled differently by one person
            raters.add(label.rater)
        if not raters:
            raise InvalidInput(f"nobody has labelled {self.labels} yet; type: worldsim label {self.labels}")
        if self.rater is not None and self.rater not in raters:
            raise UnknownName(f'no rater "{printable(self.rater)}" in {self.labels}; {did_you_mean(self.rater, raters)}')
        return Human(answers, self.rater)


def _labels(source: str) -> Iterable[Label]:
    """The labels of a run folder or of an exported file.

    Raises:
        InvalidInput: a row without the hash of what was shown.
    """
    if Path(source).is_dir():
        return [label for given in all_labels(RunFolder(source)).values() for label in given.values()]
    labels = []
    for row in read_labels(source):
        if row.content is None:
            advice = f"type: worldsim label RUN import={source}"
            raise InvalidInput(f"{row.where}, column content: it is empty, so nobody knows what was shown; {advice}")
        labels.append(row.label(row.content))
    return labels
