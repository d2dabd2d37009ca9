"""The published shape of what `worldsim compare out=FILE` writes, as JSON Schema (draft 2020-12). Computes nothing."""

from typing import Any

from worldsim.report.schema import COUNT, FLAG, INTERVAL, NUMBER, RATE, TEXT, _nullable, _object

COMPARISON_VERSION = 1
SOME_NUMBER = {"type": ["number", "null"]}
SOME_TEXT = {"type": ["string", "null"]}
SOME_COUNT = {"type": ["integer", "null"], "minimum": 0}
TEXTS = {"type": "array", "items": TEXT}


def comparison_schema() -> dict[str, Any]:
    """The JSON Schema of a comparison; `schema_version` rises whenever a reader of the old form would break."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "worldsim comparison",
        **_object(
            schema_version={"const": COMPARISON_VERSION},
            level=NUMBER,
            comparisons={"type": "array", "items": _comparison(), "minItems": 1},
            averages={"type": "array", "items": _average()},
            notes=TEXTS,
        ),
    }


def _comparison() -> dict[str, Any]:
    side = _object(source=TEXT, recipe=_recipe())
    found = _object(test=SOME_TEXT, correction=TEXT, alpha=NUMBER, pairs=COUNT, reason=SOME_TEXT)
    return _object(
        level=NUMBER,
        kind=TEXT,
        setting=SOME_TEXT,
        simulated=side,
        real=side,
        accepted=TEXTS,
        letters=_nullable(_object(simulated=found, real=found)),
        policies={"type": "array", "items": _row(), "minItems": 1},
        missing=_object(real=TEXTS, simulated=TEXTS),
        agreement=_agreement(),
        more_trials=_nullable(_more_trials()),
        powered=_nullable(_powered()),
        published=_nullable({"type": "object", "additionalProperties": _object(pearson=NUMBER, mmrv=NUMBER)}),
        warnings=TEXTS,
        notes=TEXTS,
    )


def _recipe() -> dict[str, Any]:
    words = dict.fromkeys(("task", "averaging", "starts", "judge"), SOME_TEXT)
    rule, stopping = ({"enum": [*values, None]} for values in (("last_step", "ever"), ("fixed", "sequential")))
    return _object(**words, rule=rule, stopping=stopping, horizon=SOME_COUNT, rate_hz=SOME_NUMBER, about=TEXT)


def _row() -> dict[str, Any]:
    corrected = _nullable(_object(success_rate=RATE, interval=INTERVAL, reason=TEXT))
    rate = _object(
        success_rate=RATE,
        successes=SOME_COUNT,
        scored=SOME_COUNT,
        unscored=COUNT,
        interval=INTERVAL,
        corrected=corrected,
        letters=SOME_TEXT,
    )
    return _object(
        name=TEXT, real_name=TEXT, simulated=rate, real=rate, difference=NUMBER, difference_interval=INTERVAL, same_rate_p=SOME_NUMBER
    )


def _agreement() -> dict[str, Any]:
    band = _object(median=NUMBER, low=NUMBER, high=NUMBER)
    left_out = _nullable(_object(low=NUMBER, high=NUMBER, without=TEXT))
    permutation = _object(p_value=NUMBER, hits=COUNT, orders=COUNT, exact=FLAG)
    layered = ("pearson", "spearman", "mmrv", "bias", "mean_absolute_error", "regret", "top1_probability")
    return _object(
        policies=COUNT,
        **dict.fromkeys(("pearson", "spearman", "kendall", "mmrv", "mmrv_bound", "slope", "intercept", "regret"), SOME_NUMBER),
        tie_rule=TEXT,
        gap=TEXT,
        mean_absolute_error=NUMBER,
        bias=NUMBER,
        top1_correct=_nullable(FLAG),
        trial_layer=_nullable(_object(**dict.fromkeys(layered, band))),
        policy_layer=_nullable(
            _object(pearson_interval=INTERVAL, permutation=permutation, drop_one=left_out, drop_one_mmrv=INTERVAL),
        ),
        noise_ceiling=_nullable(_object(pearson=band, mmrv=band)),
        paired=_nullable(_object(phi=SOME_NUMBER, paired_episodes=COUNT, false_successes=COUNT, missed=COUNT)),
    )


def _more_trials() -> dict[str, Any]:
    step = _object(more=COUNT, pair_width=NUMBER, pair_chance=NUMBER, ranking_width=NUMBER, ranking_separated=NUMBER)
    return _object(pair=TEXTS, neighbours=COUNT, steps={"type": "array", "items": step}, advice=TEXT)


def _powered() -> dict[str, Any]:
    policy = _object(
        name=TEXT,
        pairs=COUNT,
        extra=COUNT,
        plain=SOME_NUMBER,
        plain_interval=INTERVAL,
        powered=SOME_NUMBER,
        powered_interval=INTERVAL,
        weight=SOME_NUMBER,
        phi=SOME_NUMBER,
        trials_saved=SOME_NUMBER,
        reason=SOME_TEXT,
    )
    return _object(policies={"type": "array", "items": policy}, method=TEXT, advice=TEXT)


def _average() -> dict[str, Any]:
    return _object(
        setting=SOME_TEXT,
        how={"enum": ["equal_task_mean", "pooled"]},
        recipe=TEXT,
        tasks=TEXTS,
        policies={"type": "array", "items": _row()},
        agreement=_agreement(),
        warnings=TEXTS,
    )
