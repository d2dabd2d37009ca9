"""Drawing one of a scene's behaviours from a named mix. Knows no scene."""

from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np

from worldsim.errors import UnknownName
from worldsim.registry import did_you_mean

State = Mapping[str, np.ndarray]
Behaviour = Generator[np.ndarray, State, None]


def chosen(
    behaviours: Mapping[str, Callable[[np.random.Generator], Behaviour]], mixes: Mapping[str, Any], mix: str, rng: np.random.Generator
) -> tuple[str, Behaviour]:
    """Draw a behaviour by the weights of a mix, started and ready to be sent states.

    Raises:
        UnknownName: no such mix; with the closest known name.
    """
    if mix not in mixes:
        raise UnknownName(f'unknown mix "{mix}"; {did_you_mean(mix, mixes)}')
    names, weights = zip(*mixes[mix].items(), strict=True)
    name = str(rng.choice(names, p=weights))
    behaviour = behaviours[name](rng)
    next(behaviour)
    return name, behaviour
