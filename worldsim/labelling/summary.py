"""How far the raters of a run are, and how far they agree. Prints nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from worldsim.labelling.label import SCORES, Label
from worldsim.report.run_folder import About
from worldsim.statistics import Interval, Kappa, cohen_kappa, krippendorff_alpha, wilson_interval


@dataclass(frozen=True)
class Disagreement:
    """An episode that two raters or more decided differently, or that only some could tell, with each one's answer."""

    entry: About
    answers: Mapping[str, str]


@dataclass(frozen=True)
class PairAgreement:
    """Two raters over the clips that both labelled.

    Attributes:
        first: one rater.
        second: the other.
        shared: clips that both labelled.
        same: of those, on how many they said the same, "cannot tell" included.
        same_interval: Wilson's interval of that share; None without shared clips.
        decided: clips that both called a success or a failure.
        kappa: over the decided ones; None where there are none.
        asked_alike: False where they were not asked the same question.
    """

    first: str
    second: str
    shared: int
    same: int
    same_interval: Interval | None
    decided: int
    kappa: Kappa | None
    asked_alike: bool


@dataclass(frozen=True)
class Summary:
    """What a run's labels say.

    Attributes:
        total: clips to label.
        counts: how often each rater gave each answer.
        pairs: the agreement of every two raters.
        alpha: Krippendorff's alpha over all raters, "cannot tell" left out; None for fewer than three raters, or where nothing varies.
        disagreements: sorted by episode; None while a rater with labels is not done, who should not know of them yet.
    """

    total: int
    counts: Mapping[str, Mapping[str, int]]
    pairs: Sequence[PairAgreement]
    alpha: float | None
    disagreements: Sequence[Disagreement] | None

    def done(self, rater: str) -> bool:
        """Whether a rater has labelled every clip."""
        return sum(self.counts.get(rater, {}).values()) == self.total


def summarize(entries: Iterable[About], labels: Mapping[str, Mapping[str, Label]]) -> Summary:
    """The summary of labels, by rater and episode, over the episodes that were to be labelled. Labels of others are left out."""
    entries = sorted(entries, key=lambda entry: entry.episode)
    kept = {rater: {e.episode: given[e.episode] for e in entries if e.episode in given} for rater, given in labels.items()}
    kept = {rater: given for rater, given in kept.items() if given}
    counts = {rater: _counts(given.values()) for rater, given in kept.items()}
    decided = [_decided(entry, kept) for entry in entries]
    done = all(len(given) == len(entries) for given in kept.values())
    return Summary(
        len(entries),
        counts,
        [_pair(*pair, kept) for pair in combinations(kept, 2)],
        krippendorff_alpha(decided) if len(kept) > 2 else None,
        _disagreements(entries, kept) if done else None,
    )


def _counts(labels: Iterable[Label]) -> dict[str, int]:
    found = Counter(label.answer for label in labels)
    return {answer: found[answer] for answer in SCORES}


def _decided(entry: About, labels: Mapping[str, Mapping[str, Label]]) -> dict[str, str]:
    """What each rater who could tell said of an episode."""
    given = {rater: held[entry.episode].answer for rater, held in labels.items() if entry.episode in held}
    return {rater: answer for rater, answer in given.items() if SCORES[answer] is not None}


def _pair(first: str, second: str, labels: Mapping[str, Mapping[str, Label]]) -> PairAgreement:
    one, other = labels[first], labels[second]
    shared = [episode for episode in one if episode in other]
    said = [(one[episode].answer, other[episode].answer) for episode in shared]
    decided = [pair for pair in said if None not in (SCORES[pair[0]], SCORES[pair[1]])]
    same = sum(a == b for a, b in said)
    alike = {one[episode].asked for episode in shared} == {other[episode].asked for episode in shared}
    return PairAgreement(
        first,
        second,
        len(shared),
        same,
        wilson_interval(same, len(shared)) if shared else None,
        len(decided),
        cohen_kappa(*zip(*decided, strict=True)) if decided else None,
        alike,
    )


def _disagreements(entries: Iterable[About], labels: Mapping[str, Mapping[str, Label]]) -> list[Disagreement]:
    found = []
    for entry in entries:
        answers = {rater: held[entry.episode].answer for rater, held in labels.items() if entry.episode in held}
        if len(set(answers.values())) > 1:
            found.append(Disagreement(entry, answers))
    return found
