"""open_loop.json of a run: where it lies and what it holds, the quality of frames when recorded actions are replayed. Computes nothing.

`psnr` is the world model's, `copy_psnr` that of repeating the first frame; both in dB, one mean per step over `episodes_by_step`
episodes, with a 95 % interval over episodes, null at a step that one alone reaches. Older files lack the intervals.
"""

from pathlib import Path
from typing import Any

from worldsim.report.run_folder import RunFolder

NUMBERS = {"type": "array", "items": {"type": "number"}}
COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
INTERVALS = {"type": "array", "items": {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2}}
CELLS = ("agree", "scored", "unscored", "true_positive", "false_positive", "false_negative", "true_negative")
NEEDED = ("steps", "psnr", "copy_psnr", "episodes")


def open_loop_path(run: RunFolder) -> Path:
    """Where a run's open-loop numbers lie, or would lie."""
    return run.path / "open_loop.json"


def open_loop_schema() -> dict[str, Any]:
    """The JSON Schema of the block."""
    agreement = {"verifier": TEXT, "rate": SHARE, "low": SHARE, "high": SHARE} | dict.fromkeys(CELLS, COUNT)
    properties = {
        "steps": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
        "psnr": NUMBERS,
        "copy_psnr": NUMBERS,
        "psnr_interval": INTERVALS,
        "copy_psnr_interval": INTERVALS,
        "episodes": COUNT,
        "episodes_by_step": {"type": "array", "items": COUNT},
        "success_agreement": {
            "type": ["object", "null"],
            "properties": agreement,
            "required": list(agreement),
            "additionalProperties": False,
        },
        "shuffled_actions": {"type": "boolean"},
        "world_model": {"type": "object"},
        "sampler": {"type": "object"},
        "data": TEXT,
        "replayed": {"type": "array", "items": TEXT},
        "seed": {"type": "integer"},
    }
    return {"type": "object", "properties": properties, "required": list(NEEDED), "additionalProperties": False}
