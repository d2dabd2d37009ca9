"""How far an imagined rollout can be trusted: signals against it, and a limit beyond which its verdict does not count."""

from worldsim.trust.gate import Gate, read_gate, write_gate
from worldsim.trust.reseeded import apart, reseeded
from worldsim.trust.signals import SIGNALS, SUMMARIES, Measuring, measure, rollout_values, unsureness

__all__ = [
    "SIGNALS",
    "SUMMARIES",
    "Gate",
    "Measuring",
    "apart",
    "measure",
    "read_gate",
    "reseeded",
    "rollout_values",
    "unsureness",
    "write_gate",
]
