"""The published shape of results.json, as JSON Schema (draft 2020-12), and the files it is published in. Computes nothing.

schemas/ holds one file per version, those of older versions as they were; the newest is written by `python -m worldsim.report.schema`.
"""

from pathlib import Path
from typing import Any

from worldsim.data.files import write_json
from worldsim.report.json_schema_words import ANY_OBJECT, COUNT, FLAG, INTEGER, INTERVAL, NUMBER, RATE, TEXT, nullable, object_of
from worldsim.report.open_loop import open_loop_schema

SCHEMA_VERSION = 3
SCHEMAS = Path(__file__).parent / "schemas"


def results_schema() -> dict[str, Any]:
    """The JSON Schema of results.json; `schema_version` rises whenever a reader of the old form would break."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "worldsim results",
        **object_of(
            schema_version={"const": SCHEMA_VERSION},
            level=NUMBER,
            task=ANY_OBJECT,
            sampler=ANY_OBJECT,
            seed=INTEGER,
            policies={"type": "array", "items": _policy()},
            faults={"type": "object", "additionalProperties": COUNT},
            agreement=nullable(_agreement()),
            world_model=object_of(name=TEXT, sha256=nullable(TEXT), parameters=nullable(INTEGER), leak=nullable(ANY_OBJECT)),
            verifier=object_of(name=TEXT, agreement_with_truth=RATE, interval=INTERVAL, judged_true_episodes=COUNT),
            throughput=object_of(
                rollouts_per_hour=nullable(NUMBER),
                frames_per_second=nullable(NUMBER),
                lanes_per_call=nullable(INTEGER),
                seconds={"type": "object", "additionalProperties": NUMBER},
            ),
            calibration=nullable(_calibration()),
            judges={"type": "array", "items": _judge()},
            probe=nullable(_probe()),
            gate=nullable(_gate()),
            open_loop=nullable(open_loop_schema()),
            quarantined={"type": "array", "items": TEXT},
            sha256=TEXT,
        ),
    }
    schema["required"].remove("sha256")  # the hash of the rest: of the file, not of the results
    schema["required"].remove("gate")  # of runs whose judge stands behind one
    return schema


def _policy() -> dict[str, Any]:
    rate = {"episodes": COUNT, "scored": COUNT, "unscored": COUNT, "successes": COUNT, "success_rate": RATE, "interval": INTERVAL}
    return object_of(
        name=TEXT,
        task=TEXT,
        **rate,
        corrected=nullable(object_of(success_rate=RATE, interval=INTERVAL, reason=TEXT)),
        real=nullable(object_of(**rate)),
        paired_episodes=COUNT,
        phi=nullable(NUMBER),
        agreement=RATE,
        letters=nullable(TEXT),
    )


def _agreement() -> dict[str, Any]:
    band = object_of(median=NUMBER, low=NUMBER, high=NUMBER)
    names = ("pearson", "mmrv", "bias", "mean_absolute_error", "phi")
    return object_of(
        policies=COUNT,
        pearson=nullable(NUMBER),
        spearman=nullable(NUMBER),
        mmrv=nullable(NUMBER),
        tie_rule=TEXT,
        gap=TEXT,
        mean_absolute_error=NUMBER,
        bias=NUMBER,
        top1_correct=nullable(FLAG),
        top1_probability=nullable(NUMBER),
        regret=nullable(NUMBER),
        phi=nullable(NUMBER),
        phi_within=nullable(NUMBER),
        paired_episodes=COUNT,
        false_successes=COUNT,
        missed=COUNT,
        intervals=object_of(**dict.fromkeys(names, INTERVAL)),
        noise_ceiling=nullable(object_of(pearson=band, mmrv=band)),
        line=nullable(object_of(slope=NUMBER, intercept=NUMBER)),
        trial_layer=nullable({"type": "object", "additionalProperties": band}),
        policy_layer=nullable(_policy_layer()),
    )


def _policy_layer() -> dict[str, Any]:
    permutation = object_of(p_value=NUMBER, hits=COUNT, orders=COUNT, exact=FLAG)
    drop_one = nullable(object_of(low=NUMBER, high=NUMBER, without=TEXT))
    return object_of(pearson_interval=INTERVAL, permutation=permutation, drop_one=drop_one)


def _calibration() -> dict[str, Any]:
    share = object_of(value=RATE, interval=INTERVAL)
    wrong = object_of(count=COUNT, of=COUNT, value=RATE, interval=INTERVAL)
    each = object_of(low=NUMBER, high=NUMBER, cases=COUNT, mean_score=NUMBER, share_true=RATE, interval=INTERVAL)
    return object_of(
        against=TEXT,
        about=TEXT,
        episodes=COUNT,
        unscored=COUNT,
        agreement=share,
        true_positive_rate=share,
        false_positive_rate=share,
        kappa=object_of(value=nullable(NUMBER), interval=INTERVAL),
        ece=RATE,
        brier=RATE,
        bins={"type": "array", "items": each},
        counts=ANY_OBJECT,
        paired=nullable(object_of(false_success=wrong, false_failure=wrong)),
        warnings={"type": "array", "items": TEXT},
    )


def _judge() -> dict[str, Any]:
    policy = object_of(name=TEXT, success_rate=RATE, rank=nullable(NUMBER))
    return object_of(
        verifier=TEXT,
        own=FLAG,
        scored=COUNT,
        unscored=COUNT,
        policies={"type": "array", "items": policy},
        kendall_to_own=nullable(NUMBER),
        pearson=nullable(NUMBER),
        mmrv=nullable(NUMBER),
    )


def _probe() -> dict[str, Any]:
    rate = {"scored": COUNT, "successes": COUNT, "success_rate": RATE, "interval": INTERVAL}
    kind = object_of(name=TEXT, truth=TEXT, episodes=COUNT, not_counted=COUNT, unscored=COUNT, **rate)
    left_out = {"type": "object", "additionalProperties": TEXT}
    return object_of(verifier=TEXT, optimism=object_of(**rate), kinds={"type": "array", "items": kind}, left_out=left_out)


def _gate() -> dict[str, Any]:
    policy = object_of(name=TEXT, gated=COUNT, withheld=COUNT)
    side = object_of(value=nullable(NUMBER), interval=INTERVAL)
    measure = object_of(without=side, gated=side, change=INTERVAL)
    measures = object_of(policies=COUNT, **dict.fromkeys(("pearson", "mmrv", "phi", "bias"), measure))
    policies = {"type": "array", "items": policy}
    told = object_of(episodes=COUNT, wrong=COUNT, area=RATE, interval=INTERVAL)
    counts = {"signal": TEXT, "limit": NUMBER, "gated": COUNT, "withheld": COUNT}
    return object_of(**counts, policies=policies, told=nullable(told), measures=nullable(measures))


def schema_file(version: int) -> Path:
    """Where the schema of a version is published with the package."""
    return SCHEMAS / f"results.{version}.schema.json"


if __name__ == "__main__":
    write_json(schema_file(SCHEMA_VERSION), results_schema())
