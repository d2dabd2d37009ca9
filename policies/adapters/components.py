"""Which numbers an action has, in which order, under which names."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.policies.adapters.base import Converted, component
from worldsim.registry import ADAPTERS
from worldsim.types import ActionSpec


class Arranged(Converted):
    """Components picked by place, and constants between them."""

    def __init__(self, policy: Any, action: ActionSpec, places: Sequence[int | None], constants: Sequence[float]) -> None:
        super().__init__(policy, action)
        self._places, self._constants = places, constants

    def convert(self, actions: np.ndarray) -> np.ndarray:
        """`[B, A]` to `[B, A']`."""
        lost = np.isnan(actions).any(axis=1)  # a lane that failed stays so, even where constants are all that is left
        columns = [
            np.where(lost, np.nan, constant) if place is None else actions[:, place]
            for place, constant in zip(self._places, self._constants, strict=True)
        ]
        return np.stack(columns, axis=1)


@ADAPTERS.register("components")
@dataclass
class ComponentsConfig:
    """Order, rename and fill up components: the world's, or `order`.

    Attributes:
        order: names of the wanted components; none takes the world's.
        rename: the policy's name of a component by the wanted one, where they differ.
        constants: the value of components that the policy has not.
    """

    order: Sequence[str] = ()
    rename: dict[str, str] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)

    def build(self, policy: Any, action: ActionSpec | None = None) -> Arranged:
        """Around a policy that has all wanted components but the constants.

        Raises:
            InvalidInput: a component that the policy lacks, or no world and no `order`.
        """
        wanted = tuple(self.order) or (action.names if action else ())
        if not wanted:
            raise InvalidInput("components needs the names of what is wanted; type {name: components, order: [x, y, ...]}")
        given = policy.action
        places = [None if name in self.constants else component(given, self.rename.get(name, name)) for name in wanted]
        constants = [float(self.constants.get(name, 0.0)) for name in wanted]
        low, high = (
            tuple(constant if place is None else bounds[place] for place, constant in zip(places, constants, strict=True))
            for bounds in (given.low, given.high)
        )
        return Arranged(policy, replace(given, names=wanted, low=low, high=high), places, constants)
