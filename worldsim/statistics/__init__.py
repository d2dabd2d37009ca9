"""Counts to intervals, comparisons and agreement: numpy and scipy, pure functions, no files and no video."""

from worldsim.statistics.agreement import (
    Band,
    NoiseCeiling,
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
from worldsim.statistics.anytime import anytime_interval
from worldsim.statistics.betting import betting_interval
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
from worldsim.statistics.intervals import (
    Interval,
    clopper_pearson_interval,
    jeffreys_interval,
    posterior_interval,
    student_interval,
    wilson_interval,
)
from worldsim.statistics.line import Line, regression_line
from worldsim.statistics.planning import (
    MoreTrials,
    power_of_difference,
    trials_for_difference,
    trials_for_width,
    what_more_trials_buy,
    width_after,
)
from worldsim.statistics.prediction_powered import (
    Estimate,
    control_variate_rate,
    prediction_powered_bounds,
    prediction_powered_rate,
    prediction_powered_wilson,
    real_trials_saved,
    shrunk_correlation,
)
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
from worldsim.statistics.resampled_starts import agreement_differences, agreement_intervals, agreement_values
from worldsim.statistics.same_rate import KruskalWallis, kruskal_wallis
from worldsim.statistics.selective import Kept, Told, area_under_curve, choose_limit, coverage_curve, rank_correlation, upper_bound
from worldsim.statistics.sequential import Advice, SequentialComparison
from worldsim.statistics.shared_starts import Difference, alike_by_chance, paired_bootstrap
from worldsim.statistics.trial_layer import top1_probability, trial_layer
from worldsim.statistics.two_policies import barnard, boschloo, newcombe_interval, probability_better
from worldsim.statistics.within_policies import phi_within

__all__ = [
    "AbstentionBand",
    "Advice",
    "Band",
    "Bin",
    "Corrected",
    "Difference",
    "Estimate",
    "Interval",
    "JudgeRates",
    "Kappa",
    "Kept",
    "KruskalWallis",
    "Labelled",
    "Line",
    "MoreTrials",
    "NoiseCeiling",
    "PermutationTest",
    "Reliability",
    "SequentialComparison",
    "agreement_differences",
    "agreement_intervals",
    "agreement_values",
    "Told",
    "alike_by_chance",
    "anytime_interval",
    "area_under_curve",
    "barnard",
    "betting_interval",
    "bias",
    "boschloo",
    "calibration_error",
    "centred",
    "choose_band",
    "choose_limit",
    "choose_threshold",
    "clopper_pearson_interval",
    "cohen_kappa",
    "compact_letters",
    "control_variate_rate",
    "corrected_rate",
    "corrected_rate_by_verdict",
    "coverage_curve",
    "drop_one",
    "fisher_z_interval",
    "fit_temperature",
    "holm",
    "jeffreys_interval",
    "judge_rates_by_verdict",
    "kendall",
    "krippendorff_alpha",
    "kruskal_wallis",
    "lattice_count",
    "log_loss",
    "mcnemar_exact",
    "mean_absolute_error",
    "mmrv",
    "mmrv_bound",
    "newcombe_interval",
    "noise_ceiling",
    "paired_bootstrap",
    "pearson",
    "permutation_test",
    "phi",
    "phi_within",
    "posterior_interval",
    "power_of_difference",
    "prediction_powered_bounds",
    "prediction_powered_rate",
    "prediction_powered_wilson",
    "probability_better",
    "probability_of",
    "rank_correlation",
    "real_trials_saved",
    "shrunk_correlation",
    "regression_line",
    "regret",
    "reliability",
    "spearman",
    "student_interval",
    "top1_correct",
    "top1_probability",
    "trial_layer",
    "trials_for_difference",
    "trials_for_width",
    "upper_bound",
    "what_more_trials_buy",
    "width_after",
    "wilson_interval",
]
