"""Counts to intervals, comparisons and agreement: numpy and scipy, pure functions, no files and no video."""

from worldsim.statistics.agreement import (
    Band,
    NoiseCeiling,
    agreement_intervals,
    bias,
    kendall,
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
from worldsim.statistics.correction import (
    Corrected,
    JudgeRates,
    Labelled,
    corrected_rate,
    corrected_rate_by_verdict,
    judge_rates_by_verdict,
)
from worldsim.statistics.few_policies import PermutationTest, drop_one, fisher_z_interval, permutation_test
from worldsim.statistics.intervals import Interval, clopper_pearson_interval, jeffreys_interval, student_interval, wilson_interval
from worldsim.statistics.probabilities import (
    AbstentionBand,
    calibration_error,
    centred,
    choose_band,
    choose_threshold,
    fit_temperature,
    log_loss,
    probability_of,
)
from worldsim.statistics.published import lattice_count, mmrv_bound
from worldsim.statistics.raters import Kappa, cohen_kappa, krippendorff_alpha
from worldsim.statistics.reliability import Bin, Reliability, reliability
from worldsim.statistics.same_rate import KruskalWallis, kruskal_wallis

__all__ = [
    "probability_of",
    "fit_temperature",
    "log_loss",
    "choose_threshold",
    "choose_band",
    "centred",
    "calibration_error",
    "AbstentionBand",
    "Band",
    "Bin",
    "Corrected",
    "Interval",
    "JudgeRates",
    "Kappa",
    "KruskalWallis",
    "Labelled",
    "NoiseCeiling",
    "PermutationTest",
    "Reliability",
    "agreement_intervals",
    "bias",
    "clopper_pearson_interval",
    "cohen_kappa",
    "compact_letters",
    "corrected_rate",
    "corrected_rate_by_verdict",
    "drop_one",
    "fisher_z_interval",
    "holm",
    "jeffreys_interval",
    "judge_rates_by_verdict",
    "kendall",
    "krippendorff_alpha",
    "kruskal_wallis",
    "lattice_count",
    "mcnemar_exact",
    "mean_absolute_error",
    "mmrv",
    "mmrv_bound",
    "noise_ceiling",
    "pearson",
    "permutation_test",
    "phi",
    "regret",
    "reliability",
    "spearman",
    "student_interval",
    "top1_correct",
    "wilson_interval",
]
