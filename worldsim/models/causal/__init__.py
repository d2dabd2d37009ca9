"""Causal surgery: turn a bidirectional video network into one that predicts a frame from its past, and prove that it is."""

from worldsim.models.causal.kernels import METHODS, extrapolation_bound, transfer_kernel
from worldsim.models.causal.old import CausalReport, causality_leak, causalize

__all__ = ["METHODS", "CausalReport", "causality_leak", "causalize", "extrapolation_bound", "transfer_kernel"]
