"""Causal surgery: turn a bidirectional video network into one that predicts a frame from its past, and prove that it is."""

from worldsim.models.causal import diffusers_parts as diffusers_parts  # announces its converters
from worldsim.models.causal.frame_levels import FrameLevels
from worldsim.models.causal.kernels import METHODS, extrapolation_bound, transfer_kernel
from worldsim.models.causal.layers import remembering
from worldsim.models.causal.probe import causality_leak
from worldsim.models.causal.surgery import CausalReport, acts_within_frame, causalize, converts

__all__ = [
    "METHODS",
    "CausalReport",
    "FrameLevels",
    "acts_within_frame",
    "causality_leak",
    "causalize",
    "converts",
    "extrapolation_bound",
    "remembering",
    "transfer_kernel",
]
