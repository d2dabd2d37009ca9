"""The published shape of results.json, as JSON Schema (draft 2020-12), and the files it is published in. Computes nothing.

schemas/ holds one file per version, those of older versions as they were; the newest is written by `python -m worldsim.report.schema`.
"""

from pathlib import Path
from typing import Any

from worldsim.data.files import write_json
from worldsim.report.open_loop import open_loop_schema

SCHEMA_VERSION = 3
SCHEMAS = Path(__file__).parent / "schemas"

NUMBER, INTEGER, TEXT, FLAG, ANY_OBJECT = ({"type": kind} for kind in ("number", "integer", "string", "boolean", "object"))
COUNT = {"type": "integer", "minimum": 0}
RATE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
INTERVAL = {"type": ["array", "null"], "items": NUMBER, "minItems": 2, "maxItems": 2}


def results_schema() -> dict[str, Any]:
    """The JSON Schema of results.json; `schema_version` rises whenever a reader of the old form would break."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "worldsim results",
        **_object(
            schema_version={"const": SCHEMA_VERSION},
            level=NUMBER,
            task=ANY_OBJECT,
            sampler=ANY_OBJECT,
            seed=INTEGER,
            policies={"type": "array", "items": _policy()},
            faults={"type": "object", "additionalProperties": COUNT},
            agreement=_nullable(_agreement()),
            world_model=_object(name=TEXT, sha256=_nullable(TEXT), parameters=_nullable(INTEGER), leak=_nullable(ANY_OBJECT)),
            verifier=_object(name=TEXT, agreement_with_truth=RATE, interval=INTERVAL, judged_true_episodes=COUNT),
            throughput=_object(
                rollouts_per_hour=_nullable(NUMBER),
                frames_per_second=_nullable(NUMBER),
                lanes_per_call=_nullable(INTEGER),
                seconds={"type": "object", "additionalProperties": NUMBER},
            ),
            calibration=_nullable(_calibration()),
            judges={"type": "array", "items": _judge()},
            probe=_nullable(_probe()),
            open_loop=_nullable(open_loop_schema()),
            quarantined={"type": "array", "items": TEXT},
            sha256=TEXT,
        ),
    }
    schema["required"].remove("sha256")  # the hash of the rest: of the file, not of the results
    return schema


def _policy() -> dict[str, Any]:
    rate = {"episodes": COUNT, "scored": COUNT, "unscored": COUNT, "successes": COUNT, "success_rate": RATE, "interval": INTERVAL}
    return _object(
        name=TEXT,
        task=TEXT,
        **rate,
        corrected=_nullable(_object(success_rate=RATE, interval=INTERVAL, reason=TEXT)),
        real=_nullable(_object(**rate)),
        paired_episodes=COUNT,
        phi=_nullable(NUMBER),
        agreement=RATE,
        letters=_nullable(TEXT),
    )


def _agreement() -> dict[str, Any]:
    band = _object(median=NUMBER, low=NUMBER, high=NUMBER)
    names = ("pearson", "mmrv", "bias", "mean_absolute_error", "phi")
    return _object(
        policies=COUNT,
        pearson=_nullable(NUMBER),
        spearman=_nullable(NUMBER),
        mmrv=_nullable(NUMBER),
        tie_rule=TEXT,
        gap=TEXT,
        mean_absolute_error=NUMBER,
        bias=NUMBER,
        top1_correct=_nullable(FLAG),
        regret=_nullable(NUMBER),
        phi=_nullable(NUMBER),
        paired_episodes=COUNT,
        false_successes=COUNT,
        missed=COUNT,
        intervals=_object(**dict.fromkeys(names, INTERVAL)),
        noise_ceiling=_nullable(_object(pearson=band, mmrv=band)),
        line=_nullable(_object(slope=NUMBER, intercept=NUMBER)),
        trial_layer=_nullable({"type": "object", "additionalProperties": band}),
        policy_layer=_nullable(_policy_layer()),
    )


def _policy_layer() -> dict[str, Any]:
    permutation = _object(p_value=NUMBER, hits=COUNT, orders=COUNT, exact=FLAG)
    drop_one = _nullable(_object(low=NUMBER, high=NUMBER, without=TEXT))
    return _object(pearson_interval=INTERVAL, permutation=permutation, drop_one=drop_one)


def _calibration() -> dict[str, Any]:
    share = _object(value=RATE, interval=INTERVAL)
    wrong = _object(count=COUNT, of=COUNT, value=RATE, interval=INTERVAL)
    each = _object(low=NUMBER, high=NUMBER, cases=COUNT, mean_score=NUMBER, share_true=RATE, interval=INTERVAL)
    return _object(
        against=TEXT,
        about=TEXT,
        episodes=COUNT,
        unscored=COUNT,
        agreement=share,
        true_positive_rate=share,
        false_positive_rate=share,
        kappa=_object(value=_nullable(NUMBER), interval=INTERVAL),
        ece=RATE,
        brier=RATE,
        bins={"type": "array", "items": each},
        counts=ANY_OBJECT,
        paired=_nullable(_object(false_success=wrong, false_failure=wrong)),
        warnings={"type": "array", "items": TEXT},
    )


def _judge() -> dict[str, Any]:
    policy = _object(name=TEXT, success_rate=RATE, rank=_nullable(NUMBER))
    return _object(
        verifier=TEXT,
        own=FLAG,
        scored=COUNT,
        unscored=COUNT,
        policies={"type": "array", "items": policy},
        kendall_to_own=_nullable(NUMBER),
        pearson=_nullable(NUMBER),
        mmrv=_nullable(NUMBER),
    )


def _probe() -> dict[str, Any]:
    rate = {"scored": COUNT, "successes": COUNT, "success_rate": RATE, "interval": INTERVAL}
    kind = _object(name=TEXT, truth=TEXT, episodes=COUNT, not_counted=COUNT, unscored=COUNT, **rate)
    left_out = {"type": "object", "additionalProperties": TEXT}
    return _object(verifier=TEXT, optimism=_object(**rate), kinds={"type": "array", "items": kind}, left_out=left_out)


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these keys."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


def schema_file(version: int) -> Path:
    """Where the schema of a version is published with the package."""
    return SCHEMAS / f"results.{version}.schema.json"


if __name__ == "__main__":
    write_json(schema_file(SCHEMA_VERSION), results_schema())
