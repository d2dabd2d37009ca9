"""The experts of the table as a policy, or one with another plan. It reads the true state, so it acts in the true world only."""

from dataclasses import dataclass, field
from functools import partial

from worldsim.envs.drawer.scripted import ScriptedPolicy
from worldsim.envs.table.experts import EXPERTS, Plan
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import POLICIES, did_you_mean
from worldsim.types import ActionSpec


@POLICIES.register("table-scripted")
@dataclass
class TableScriptedConfig:
    """The scripted expert of one of the table's tasks, in the true world only.

    Attributes:
        id: the task: close, open, push, or close-push.
        offset: metres by which it aims beside what it ought to touch, (x, y, z).
        speed: share of the fastest.
        short: metres by which it stops before the goal; below 0, beyond.
    """

    id: str = "close"
    offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    speed: float = 1.0
    short: float = 0.0

    def build(self, action: ActionSpec | None = None) -> ScriptedPolicy:
        """The policy.

        Raises:
            UnknownName, InvalidInput: no such task, or an offset that is no place.
        """
        if self.id not in EXPERTS:
            raise UnknownName(f'the table has no task "{self.id}"; {did_you_mean(self.id, EXPERTS)}')
        if len(self.offset) != 3:
            raise InvalidInput(f"offset is {self.offset}, expected three numbers in metres, for example [0.06, 0, 0]")
        return ScriptedPolicy(partial(EXPERTS[self.id], plan=Plan(tuple(self.offset), self.speed, self.short)))
