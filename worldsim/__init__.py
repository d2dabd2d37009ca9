"""worldsim: rank robot policies inside a learned video world model, and say how sure the ranking is.

Importing this package loads no torch; parts are imported when first used.
"""

from importlib import import_module
from typing import Any

from worldsim.types import (
    ActionSpec,
    EpisodeResult,
    EvaluationResult,
    Policy,
    Start,
    Task,
    Trajectory,
    Verdict,
    Verifier,
    WorldModel,
    WorldSpec,
)

__version__ = "0.1.0"

_LAZY = {
    "load_world_model": "worldsim.load",
    "load_policy": "worldsim.load",
    "load_verifier": "worldsim.load",
    "load_task": "worldsim.load",
}
_PACKAGES = ("data", "diffusion", "models", "report", "statistics", "training", "envs", "policies", "verifiers", "experiments")

__all__ = [
    "ActionSpec",
    "EpisodeResult",
    "EvaluationResult",
    "Policy",
    "Start",
    "Task",
    "Trajectory",
    "Verdict",
    "Verifier",
    "WorldModel",
    "WorldSpec",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _PACKAGES:
        return import_module(f"worldsim.{name}")
    raise AttributeError(f"module 'worldsim' has no attribute '{name}'")


import_module("worldsim.envs")  # registers the Gymnasium ids; by name, because imports point down
