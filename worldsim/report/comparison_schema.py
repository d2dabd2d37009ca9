"""The published shape of what `worldsim compare out=FILE` writes, as JSON Schema (draft 2020-12). Computes nothing."""

from typing import Any

from worldsim.report.json_schema_words import COUNT, FLAG, INTERVAL, NUMBER, RATE, TEXT, nullable, object_of

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
        **object_of(
            schema_version={"const": COMPARISON_VERSION},
            level=NUMBER,
            comparisons={"type": "array", "items": _comparison(), "minItems": 1},
            averages={"type": "array", "items": _average()},
            notes=TEXTS,
        ),
    }


def _comparison() -> dict[str, Any]:
    side = object_of(source=TEXT, recipe=_recipe())
    found = object_of(test=SOME_TEXT, correction=TEXT, alpha=NUMBER, pairs=COUNT, reason=SOME_TEXT)
    return object_of(
        level=NUMBER,
        kind=TEXT,
        setting=SOME_TEXT,
        simulated=side,
        real=side,
        accepted=TEXTS,
        letters=nullable(object_of(simulated=found, real=found)),
        policies={"type": "array", "items": _row(), "minItems": 1},
        missing=object_of(real=TEXTS, simulated=TEXTS),
        agreement=_agreement(),
        more_trials=nullable(_more_trials()),
        powered=nullable(_powered()),
        published=nullable({"type": "object", "additionalProperties": object_of(pearson=NUMBER, mmrv=NUMBER)}),
        warnings=TEXTS,
        notes=TEXTS,
    )


def _recipe() -> dict[str, Any]:
    words = dict.fromkeys(("task", "averaging", "starts", "judge"), SOME_TEXT)
    rule, stopping = ({"enum": [*values, None]} for values in (("last_step", "ever"), ("fixed", "sequential")))
    return object_of(**words, rule=rule, stopping=stopping, horizon=SOME_COUNT, rate_hz=SOME_NUMBER, about=TEXT)


def _row() -> dict[str, Any]:
    corrected = nullable(object_of(success_rate=RATE, interval=INTERVAL, reason=TEXT))
    rate = object_of(
        success_rate=RATE,
        successes=SOME_COUNT,
        scored=SOME_COUNT,
        unscored=COUNT,
        interval=INTERVAL,
        corrected=corrected,
        letters=SOME_TEXT,
    )
    return object_of(
        name=TEXT, real_name=TEXT, simulated=rate, real=rate, difference=NUMBER, difference_interval=INTERVAL, same_rate_p=SOME_NUMBER
    )


def _agreement() -> dict[str, Any]:
    band = object_of(median=NUMBER, low=NUMBER, high=NUMBER)
    left_out = nullable(object_of(low=NUMBER, high=NUMBER, without=TEXT))
    permutation = object_of(p_value=NUMBER, hits=COUNT, orders=COUNT, exact=FLAG)
    layered = ("pearson", "spearman", "mmrv", "bias", "mean_absolute_error", "regret")
    return object_of(
        policies=COUNT,
        **dict.fromkeys(("pearson", "spearman", "kendall", "mmrv", "mmrv_bound", "slope", "intercept", "regret"), SOME_NUMBER),
        tie_rule=TEXT,
        gap=TEXT,
        mean_absolute_error=NUMBER,
        bias=NUMBER,
        top1_correct=nullable(FLAG),
        top1_probability=SOME_NUMBER,
        trial_layer=nullable(object_of(**dict.fromkeys(layered, band))),
        policy_layer=nullable(
            object_of(pearson_interval=INTERVAL, permutation=permutation, drop_one=left_out, drop_one_mmrv=INTERVAL),
        ),
        noise_ceiling=nullable(object_of(pearson=band, mmrv=band)),
        paired=nullable(object_of(phi=SOME_NUMBER, phi_within=SOME_NUMBER, paired_episodes=COUNT, false_successes=COUNT, missed=COUNT)),
    )


def _more_trials() -> dict[str, Any]:
    step = object_of(more=COUNT, pair_width=NUMBER, pair_chance=NUMBER, ranking_width=NUMBER, ranking_separated=NUMBER)
    return object_of(pair=TEXTS, neighbours=COUNT, steps={"type": "array", "items": step}, advice=TEXT)


def _powered() -> dict[str, Any]:
    policy = object_of(
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
    return object_of(policies={"type": "array", "items": policy}, method=TEXT, advice=TEXT)


def _average() -> dict[str, Any]:
    return object_of(
        setting=SOME_TEXT,
        how={"enum": ["equal_task_mean", "pooled"]},
        recipe=TEXT,
        tasks=TEXTS,
        policies={"type": "array", "items": _row()},
        agreement=_agreement(),
        warnings=TEXTS,
    )
