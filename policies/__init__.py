"""Policies: each turns the frames it sees into actions. Importing this registers them by name and loads no torch."""

if not __name__.startswith("worldsim."):
    raise ImportError(f'import "worldsim.policies", not "{__name__}": a second copy of its classes would not be the same classes')

from worldsim.policies import adapters, cloned, function, lerobot, openvla, random, relay, replay, rt1, sb3  # noqa: F401
