"""What training inside a world model gained, from a run: by start, over trainings, and in words."""

import numpy as np
import pytest

from worldsim.experiments.inside.gain import gain_of_all, main, true_scores
from worldsim.report.outcomes import Outcome
from worldsim.types import Verdict


class Run:
    """A run whose path is all that is asked of it."""

    path = "run"


@pytest.fixture
def played(monkeypatch):
    """Three policies from four true starts each; `second` broke once."""
    ends = {"base": [0, 0, 1, 0], "first": [1, 1, 1, 0], "second": [1, None, 1, 1], "short": [1], "void": [None] * 4}
    rows = [
        Outcome(f"{name}{start}", name, "truth", f"{start}", start, Verdict(None if end is None else float(end)))
        for name, each in ends.items()
        for start, end in enumerate(each)
    ]
    monkeypatch.setattr("worldsim.experiments.inside.gain.read_outcomes", lambda run: rows)
    monkeypatch.setattr("worldsim.experiments.inside.gain.RunFolder", lambda path: Run())


def test_scores_are_those_of_the_truth_by_start(played):
    found = true_scores(Run(), ["base", "second"])
    assert found["base"].tolist() == [0, 0, 1, 0]
    assert np.isnan(found["second"][1])


def test_a_gain_is_a_mean_over_trainings_and_starts():
    base, better = np.zeros(50), np.ones(50)
    assert gain_of_all(base, [better, better]) == (1, 1, 1, 50)
    assert gain_of_all(base, [better, base]).value == 0.5
    assert gain_of_all(base, [better, base])[1:3] == (0, 1)  # the two trainings differ: that is doubt, however many starts there are
    some = gain_of_all(base, [np.arange(50) % 2.0] * 3)
    assert 0.3 < some.low < 0.5 < some.high < 0.7


def test_the_lines(played, capsys):
    assert main(["run", "base", "first", "second"]) == 0
    said = capsys.readouterr().out
    assert "base: 0.250 of 4 true episodes" in said
    assert "first: 0.750, gain +0.500" in said
    assert "all 2: gain" in said
    assert "over 3 starts" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "Usage"),
        (["run", "base", "short"], "has 1 true episodes"),
        (["run", "base", "x"], '"x" has 0'),
        (["run", "base", "void"], "no start of run is scored for all of base, void"),
    ],
)
def test_what_cannot_be_compared(played, capsys, words, said):
    assert main(words) == 2
    assert said in capsys.readouterr().err
