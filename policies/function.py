"""A policy that is a Python function of the user's: `module:function`, from what is observed to an action. Knows no world."""

import inspect
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from typing import Any

from worldsim.errors import InvalidInput, UnknownName
from worldsim.policies.observing import ObservingPolicy
from worldsim.registry import POLICIES, did_you_mean
from worldsim.types import ActionSpec


@POLICIES.register("function")
@dataclass
class FunctionConfig:
    """A function of one's own, in a module that Python finds (PYTHONPATH=FOLDER).

    Attributes:
        call: `module:function`; it is given what is observed and returns an action `[A]`.
        observation: "frame": the last frames, uint8 `[stack, H, W, 3]`; or "state": the true state, a mapping of arrays by name, which is
            known in a truth only.
        stack: frames that are shown at once.
    """

    call: str
    observation: str = "frame"
    stack: int = 1

    def build(self, action: ActionSpec) -> ObservingPolicy:
        """The policy, whose actions are the world's.

        Raises:
            UnknownName: no such module or function.
            InvalidInput: `call` is not `module:function`.
        """
        return ObservingPolicy(action, self._function(), self.observation, self.stack)

    def facts(self) -> dict[str, str]:
        """What identifies it: the text of its module."""
        return {"source": sha256(inspect.getsource(inspect.getmodule(self._function())).encode()).hexdigest()}

    def _function(self) -> Any:
        module, colon, name = self.call.partition(":")
        if not (module and colon and name):
            raise InvalidInput(f'call is "{self.call}", expected module:function; type {{name: function, call: my_module:my_function}}')
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module.partition(".")[0]:
                raise
            raise UnknownName(f'no module "{module}" for the policy {self.call}; type PYTHONPATH=FOLDER before worldsim') from error
        function = getattr(found, name, None)
        if not callable(function):
            raise UnknownName(f'{module} has no function "{name}"; {did_you_mean(name, [each for each in vars(found) if each[0] != "_"])}')
        return function
