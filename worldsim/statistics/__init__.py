"""Counts to intervals, comparisons and agreement: numpy and scipy, pure functions, no files and no video."""

from worldsim.statistics.agreement import (
    Band,
    NoiseCeiling,
    agreement_intervals,
    bias,
    mean_absolute_error,
    mmrv,
    noise_ceiling,
    pearson,
    phi,
    regret,
    spearman,
    top1_correct,
)
from worldsim.statistics.comparison import compact_letters, holm, mcnemar_exact
from worldsim.statistics.intervals import Interval, clopper_pearson_interval, jeffreys_interval, student_interval, wilson_interval

__all__ = [
    "Band",
    "Interval",
    "NoiseCeiling",
    "agreement_intervals",
    "bias",
    "clopper_pearson_interval",
    "compact_letters",
    "holm",
    "jeffreys_interval",
    "mcnemar_exact",
    "mean_absolute_error",
    "mmrv",
    "noise_ceiling",
    "pearson",
    "phi",
    "regret",
    "spearman",
    "student_interval",
    "top1_correct",
    "wilson_interval",
]
