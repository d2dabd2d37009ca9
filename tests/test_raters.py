"""Agreement of raters: worked examples of the textbooks, closed forms, and what must not change it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from worldsim.errors import InvalidInput
from worldsim.statistics import cohen_kappa, krippendorff_alpha, wilson_interval

Z = norm.isf(0.025)
ANSWERS = st.lists(st.tuples(st.sampled_from("ynu"), st.sampled_from("ynu")), min_size=1, max_size=40)


def sides(table):
    """Both raters' answers, from how often each pair was given."""
    pairs = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    return [a for a, _ in pairs], [b for _, b in pairs]


@pytest.mark.parametrize(
    ("table", "kappa", "error", "digits"),
    [
        # two pathologists, 118 slides (Landis and Koch's data in Agresti, Categorical Data Analysis): .493, standard error .057
        ([[22, 2, 2, 0], [5, 7, 14, 0], [0, 2, 36, 0], [0, 1, 17, 10]], 0.493, 0.057, 3),
        # psychiatric diagnoses, 100 subjects (Fleiss, Statistical Methods for Rates and Proportions): observed .89, chance .66, .68
        ([[75, 1, 4], [5, 4, 1], [0, 0, 10]], 0.68, 0.09, 2),
    ],
)
def test_kappa_is_the_textbooks(table, kappa, error, digits):
    found = cohen_kappa(*sides(table))
    assert round(found.value, digits) == kappa
    assert round((found.interval.high - found.interval.low) / (2 * Z), digits) == error
    assert found.interval.high + found.interval.low == pytest.approx(2 * found.value)


def test_kappa_of_a_table_by_hand():
    found = cohen_kappa(*sides([[20, 5], [10, 15]]))  # observed 35/50, chance 1/2
    assert (found.observed, found.expected) == pytest.approx((0.7, 0.5))
    assert found.value == pytest.approx(0.4)


@pytest.mark.parametrize(("same", "different"), [(4, 1), (30, 10), (7, 7), (1, 9)])
def test_with_even_margins_kappa_and_its_error_have_a_closed_form(same, different):
    """Both raters say each of two answers half of the time: kappa is 2 p - 1, so its variance is 4 p (1 - p) / n."""
    found = cohen_kappa(*sides([[same, different], [different, same]]))
    p, n = same / (same + different), 2 * (same + different)
    half = Z * math.sqrt(4 * p * (1 - p) / n)
    assert found.value == pytest.approx(2 * p - 1)
    assert found.interval == pytest.approx((max(-1, 2 * p - 1 - half), min(1, 2 * p - 1 + half)))


def test_agreement_in_all_of_few_cases_is_not_certain():
    found = cohen_kappa("yynyn", "yynyn")
    expected = 0.6**2 + 0.4**2
    assert found.value == 1
    assert found.interval == pytest.approx(((wilson_interval(5, 5).low - expected) / (1 - expected), 1))
    assert cohen_kappa("yn" * 50, "yn" * 50).interval.low > 0.9


def test_a_rater_with_one_answer_only_says_little():
    found = cohen_kappa("yn", "yy")  # observed and chance agreement 1/2, whatever the other says
    low, high = wilson_interval(1, 2)
    assert found.value == 0
    assert found.interval == pytest.approx((2 * low - 1, 2 * high - 1))


def test_kappa_is_not_known_where_only_one_answer_was_used():
    found = cohen_kappa("yyy", "yyy")
    assert (found.value, found.interval, found.observed, found.expected) == (None, None, 1, 1)


def test_raters_who_never_agree():
    assert cohen_kappa("yyy", "nnn").value == 0  # chance agreement is none either
    assert cohen_kappa("yynn", "nnyy").value == -1


@given(ANSWERS)
def test_kappa_knows_no_order_of_raters_cases_or_answers(pairs):
    first, second = zip(*pairs, strict=True)
    found = cohen_kappa(first, second)
    renamed = [[{"y": 3, "n": 1, "u": 2}[answer] for answer in side] for side in (second, first)]
    other = cohen_kappa(*(side[::-1] for side in renamed))
    assert (found.value is None) == (other.value is None)
    if found.value is not None:
        assert other.value == pytest.approx(found.value)
        assert other.interval == pytest.approx(found.interval)
        assert -1 <= found.interval.low <= found.value + 1e-12
        assert found.value - 1e-12 <= found.interval.high <= 1


def test_the_interval_of_kappa_covers_it():
    """1,000 samples of 100 cases from a known table: the 95 % interval holds the true kappa in about 95 of 100."""
    shares = np.array([[0.45, 0.10], [0.05, 0.40]])
    rows, columns = shares.sum(1), shares.sum(0)
    truth = (np.trace(shares) - rows @ columns) / (1 - rows @ columns)
    generator = np.random.default_rng(0)
    hits = 0
    for counts in generator.multinomial(100, shares.ravel(), size=1000):
        low, high = cohen_kappa(*sides(counts.reshape(2, 2))).interval
        hits += low <= truth <= high
    assert 0.93 <= hits / 1000 <= 0.97


@pytest.mark.parametrize(("first", "second"), [("", ""), ("y", "yn")])
def test_answers_that_cannot_be_compared_are_refused(first, second):
    with pytest.raises(InvalidInput, match="at least one"):
        cohen_kappa(first, second)


def cases(*rows):
    """Answers by rater of every case; a dot is no answer."""
    return [{f"rater {i}": answer for i, answer in enumerate(column) if answer != "."} for column in zip(*rows, strict=True)]


def test_alpha_is_krippendorffs():
    """Both worked examples of his Computing Krippendorff's Alpha-Reliability: two raters of ten cases, four raters with gaps of twelve."""
    assert krippendorff_alpha(cases("0100000010", "1110010000")) == pytest.approx(0.095, abs=5e-4)
    four = cases("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    assert krippendorff_alpha(four) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_two_raters_without_gaps_is_kappas_kin():
    """Two raters: 1 - (2n - 1) D / sum of products of unlike totals, by hand for yy yn nn nn: totals y 3, n 5; D 2 of 8 coincidences."""
    assert krippendorff_alpha(cases("yynn", "ynnn")) == pytest.approx(1 - 7 * 2 / (2 * 3 * 5))


def test_alpha_is_not_known_without_pairs_or_variety():
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha(cases("yn.", "..y")) is None
    assert krippendorff_alpha(cases("yyy", "yyy")) is None
    assert krippendorff_alpha(cases("yny", "yny")) == 1
