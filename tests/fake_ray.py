"""Ray as far as a dispatch uses it, in this process and with deaths on command."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """The base of what Ray raises."""


class RayTaskError(RayError):
    """A method raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Actor:
    """An object whose methods answer at once."""

    def __init__(self, ray: "FakeRay", part: Any) -> None:
        self._ray, self._part = ray, part

    def __getattr__(self, method: str) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda *given: self._ray.called(self, method, getattr(self._part, method), given))


class FakeRay:
    """Stands for the module. `dies(method, given)` says whether an actor dies of a call."""

    def __init__(self, dies: Callable[[str, tuple], bool] = lambda method, given: False) -> None:
        self.__spec__ = object()  # as of a module that is there
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.dies, self.answers, self.killed, self.made, self.options = dies, {}, 0, 0, {}

    def remote(self, part: type) -> SimpleNamespace:
        def make() -> Actor:
            self.made += 1
            return Actor(self, part())

        def options(**given: Any) -> SimpleNamespace:
            self.options = given
            return SimpleNamespace(remote=make)

        return SimpleNamespace(options=options)

    def called(self, actor: Actor, method: str, function: Callable, given: tuple) -> object:
        ref = object()
        if self.dies(method, given):
            self.answers[ref] = RayError("The actor died\nunexpectedly")
            return ref
        try:
            self.answers[ref] = function(*given)
        except Exception as error:
            self.answers[ref] = RayTaskError(error)
        return ref

    def wait(self, refs: list, timeout: float | None = None) -> tuple[list, list]:
        return refs[-1:], refs[:-1]  # the last first, so that answers come out of order

    def get(self, ref: object) -> Any:
        answer = self.answers.pop(ref)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Actor, *, no_restart: bool) -> None:
        self.killed += 1
