"""Pieces of work for actors of a Ray cluster, of which any may die at any time. Knows nothing of what a piece is.

Ray would call a dead actor's method again by itself or not at all; here a piece that was lost goes to whoever is free next, and an actor
that died is replaced.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from worldsim.errors import WorldsimError

TRIES = 3  # of one piece, and of beginning an actor
WAIT = 120.0  # seconds that actors have to get ready before work begins without those that are not

log = logging.getLogger("worldsim")


class Dispatch:
    """Actors of one class, and who of them is free.

    Args:
        part: their class, which has a method `prepare`.
        start: what each one's `prepare` is given before its first piece.
        options: what Ray is to reserve for each, `num_cpus` and `num_gpus`.
        room: for how many of them the cluster has that.
    """

    def __init__(self, part: type, start: tuple[Any, ...], options: dict[str, int], room: int) -> None:
        import ray

        self._ray = ray
        self._make, self._start = ray.remote(part).options(max_restarts=0, **options), start
        self._idle: list[Any] = []
        self._coming: dict[Any, Any] = {}  # by the reference of what each is doing
        self._busy: dict[Any, tuple[Any, object, int]] = {}
        self._failed = 0
        self._room = room
        self.workers = 0

    def hire(self, count: int) -> bool:
        """Have at least `count` actors, and wait for those that the cluster has room for; others join in as they come.

        Returns:
            Whether there are more than before.

        Raises:
            WorldsimError: the cluster has room for none, or they cannot get ready.
        """
        before, self.workers = self.workers, max(self.workers, count)
        if self._room < 1:
            raise WorldsimError("the Ray cluster has no room for one worker; type fewer threads=, device=cpu, or another ray_address=")
        if count > max(before, self._room):
            log.warning("the Ray cluster has room for %d of %d workers; the others wait for more", self._room, count)
        for _ in range(before, count):
            self._hire()
        deadline = time.monotonic() + WAIT
        while self._coming and len(self._idle) < min(count, self._room) and (left := deadline - time.monotonic()) > 0:
            done, _ = self._ray.wait(list(self._coming), timeout=left)
            for ref in done:
                self._came(ref)
        if not self._idle:
            log.warning("no worker of the Ray cluster has begun in %.0f seconds; still waiting for one", WAIT)
        return self.workers > before

    def each(self, method: str, pieces: Sequence[tuple[Any, ...]], sizes: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """(number of a piece, what the actors' `method` made of it), as they come. `sizes` are the numbers of episodes in the pieces.

        Raises:
            WorldsimError: what a method raised, or the same piece was lost too often.
        """
        call, waiting, tries, left = object(), deque(range(len(pieces))), Counter(), len(pieces)
        while left:
            self._assign(call, method, pieces, waiting)
            (ref,), _ = self._ray.wait([*self._busy, *self._coming])
            if ref in self._coming:
                self._came(ref)
                continue
            actor, whose, number = self._busy.pop(ref)
            try:
                answer = self._answer(ref)
            except _Lost as loss:
                self._replace(actor)
                if whose is call:
                    tries[number] += 1
                    self._lost(loss, tries[number], sizes[number])
                    waiting.appendleft(number)
                continue
            except Exception:
                self._idle.append(actor)
                if whose is call:
                    raise
                continue
            self._idle.append(actor)
            if whose is call:
                left -= 1
                self._assign(call, method, pieces, waiting)  # before the answer is looked at
                yield number, answer

    def _assign(self, call: object, method: str, pieces: Sequence[tuple[Any, ...]], waiting: deque[int]) -> None:
        """Give pieces that wait to actors that do. `call` says later whose they were: an earlier call may have been left halfway."""
        while waiting and self._idle:
            actor, number = self._idle.pop(), waiting.popleft()
            self._busy[getattr(actor, method).remote(*pieces[number])] = (actor, call, number)

    def _answer(self, ref: Any) -> Any:
        """What a call gave.

        Raises:
            _Lost: the actor, or the machine that held its answer, is gone.
        """
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, WorldsimError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            raise _Lost(_last_line(error)) from error

    def _came(self, ref: Any) -> None:
        """An actor is ready, or died on the way."""
        actor = self._coming.pop(ref)
        try:
            self._answer(ref)
        except _Lost as loss:
            self._failed += 1
            if self._failed >= TRIES:
                raise WorldsimError(f"no worker of the Ray cluster can begin ({loss}); all its machines need the same worldsim") from loss
            self._replace(actor)
        else:
            self._failed = 0
            self._idle.append(actor)

    def _hire(self) -> None:
        actor = self._make.remote()
        self._coming[actor.prepare.remote(*self._start)] = actor

    def _replace(self, actor: Any) -> None:
        self._ray.kill(actor, no_restart=True)  # where only the way to it was lost
        self._hire()

    def _lost(self, loss: Exception, tries: int, size: int) -> None:
        """Say so, and stop where it happens over and over."""
        if tries >= TRIES:
            raise WorldsimError(
                f"{tries} Ray workers died over the same {size} episodes ({loss}), perhaps for want of memory; "
                "what is finished is kept, type the same command with a smaller batch="
            ) from loss
        log.warning("a Ray worker died; its %d episodes are played again, try %d of %d", size, tries + 1, TRIES)


class _Lost(Exception):
    """The answer of a call will never come."""


def _last_line(error: Exception) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
