"""Verifiers: each judges finished trajectories. Importing this registers them by name and loads no torch."""

if not __name__.startswith("worldsim."):
    raise ImportError(f'import "worldsim.verifiers", not "{__name__}": a second copy of its classes would not be the same classes')

from worldsim.verifiers import classifier, gated, human, nobody, recorded, state, vlm, vote  # noqa: F401
