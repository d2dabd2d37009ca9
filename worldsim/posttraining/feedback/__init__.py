"""Judges of rollouts by name, behind one interface: rollouts and what really happened to rewards per clip and, where known, per frame."""

from collections.abc import Mapping
from typing import Any

from worldsim.posttraining.feedback import agreement, chamfer, inverse_dynamics, side_by_side, simulator  # noqa: F401
from worldsim.posttraining.feedback.reward import FEEDBACK, Feedback, Kept, Reward, checked, frames_of, prompt_of, table_of

__all__ = ["FEEDBACK", "Feedback", "Kept", "Reward", "checked", "frames_of", "load_feedback", "prompt_of", "table_of"]


def load_feedback(spec: Any) -> Feedback:
    """A judge by name, or mapping with a name and its options.

    Raises:
        UnknownName, InvalidInput: no such judge, or options that it does not take.
    """
    name, options = (spec.get("name"), {k: v for k, v in spec.items() if k != "name"}) if isinstance(spec, Mapping) else (spec, {})
    return FEEDBACK.config(str(name), options).build()
