"""Which policies differ: the paired exact test, its correction for many pairs, and letters for a table. Knows nothing of a truth."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.stats import binomtest

from worldsim.errors import InvalidInput


def mcnemar_exact(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p value for "both policies succeed equally often", from outcomes 0/1 `[n]` paired by start.

    Only the pairs that differ carry information; under the null each falls either way with probability one half
    (McNemar 1947, exact binomial form). Pairs with a NaN are left out. With nothing discordant p is 1.

    Raises:
        InvalidInput: outcomes of different length or other than 0, 1 and NaN.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.ndim != 1 or a.shape != b.shape or not np.isin([*a[~np.isnan(a)], *b[~np.isnan(b)]], (0, 1)).all():
        raise InvalidInput(
            f"paired outcomes have shapes {list(a.shape)} and {list(b.shape)}, expected two equally long lists of 0, 1 or NaN"
        )
    only_a, only_b = int(np.sum(a > b)), int(np.sum(a < b))  # a comparison with NaN is False
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's step-down rule: comparing each with alpha keeps the family-wise error below it.

    The i-th smallest of m is multiplied by m - i + 1, then made non-decreasing and capped at 1 (Holm 1979).

    Raises:
        InvalidInput: a value outside [0, 1].
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InvalidInput(f"p values are {p_values}, expected a list of numbers in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted.tolist()


def compact_letters(names: Sequence[str], significant: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Letters for a table: two policies share a letter exactly where their difference is not significant.

    Insert and absorb (Piepho 2004): begin with one column holding everybody; a significant pair splits each column that
    contains both; columns inside another column are dropped.

    Args:
        names: in the order in which letters are dealt, best first.
        significant: the pairs that differ.

    Raises:
        InvalidInput: a pair names somebody unknown, or the same name twice.
    """
    columns = [frozenset(names)] if names else []
    for i, j in significant:
        if i == j or not {i, j} <= set(names):
            raise InvalidInput(f"({i}, {j}) is no pair of {', '.join(names)}; give two different names of the list")
        columns = _absorbed([part for column in columns for part in ([column - {i}, column - {j}] if {i, j} <= column else [column])])
    columns.sort(key=lambda column: [name not in column for name in names])
    return {name: "".join(_letter(index) for index, column in enumerate(columns) if name in column) for name in names}


def _absorbed(columns: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    distinct = list(dict.fromkeys(columns))
    return [column for column in distinct if not any(column < other for other in distinct)]


def _letter(index: int) -> str:
    """Letters a to z, then a' to z', and so on."""
    return chr(ord("a") + index % 26) + "'" * (index // 26)
