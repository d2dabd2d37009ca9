"""A policy whose thinking happens elsewhere: one connection per lane, bounded retries, and a line for each lane that is lost.

Knows no wire. A request that fails is asked again on a fresh connection; a server that remembers its episode has then forgotten it, so
where it does (`stateful`), only an episode's first request is repeated. Numbers are taken only after they were checked.
"""

import threading
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from worldsim.actions import ActionSpec
from worldsim.errors import InvalidInput
from worldsim.policies.remote.arrays import MalformedMessage
from worldsim.policies.remote.faults import ServerFault
from worldsim.types import Task

Result = TypeVar("Result")
LONGEST_PLAN = 1024
MOST_THREADS = 32


@dataclass(frozen=True)
class Episode:
    """What a server may be told of an episode. `id` is unique among all that ever ask it; no number depends on it."""

    id: str
    instruction: str
    seed: int


class Wire(Protocol):
    """An open connection to a server. Every method raises ServerFault or MalformedMessage, and nothing else, when the server fails."""

    metadata: Mapping[str, Any]

    def begin(self, episode: Episode) -> None:
        """Tell the server that an episode begins."""

    def ask(self, frame: np.ndarray, episode: Episode, step: int) -> Any:
        """uint8 `[H, W, 3]` to the actions that the server gives for it, unchecked."""

    def close(self) -> None:
        """Hang up; never raises."""


@dataclass(frozen=True)
class Manner:
    """How a server is asked.

    Attributes:
        retries: further attempts after one that failed.
        backoff_seconds: wait before the first of them; it doubles each time.
        shared: one connection for all lanes.
        stateful: the server remembers the episode, so a request must not reach it twice.
        one_at_a_time: what it remembers is of one episode in all, not one per connection.
        clip: actions out of bounds are clipped, where else they are a fault.
    """

    retries: int = 2
    backoff_seconds: float = 0.5
    shared: bool = False
    stateful: bool = False
    one_at_a_time: bool = False
    clip: bool = False


@dataclass
class Line:
    """A connection that may be down, and who may use it now."""

    wire: Wire | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def drop(self) -> None:
        """Hang up."""
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.close()


@dataclass
class Lane:
    """An episode that is under way: the line it is asked over, the wire that knows it, and the number of its next request."""

    episode: Episode
    line: Line
    begun: Wire | None = None
    step: int = 0


class RemotePolicy:
    """A `ChunkPolicy` behind a wire. `faults` holds the lanes that are lost until they are reset, each with its reason."""

    def __init__(self, action: ActionSpec, connect: Callable[[], Wire], manner: Manner) -> None:
        self.action, self.faults = action, {}
        self._connect, self._manner = connect, manner
        self._lanes: dict[int, Lane] = {}
        self._lines: dict[int, Line] = {}
        self._length: int | None = None  # of a plan, from the first good one on
        self._halt = threading.Event()
        self.close = weakref.finalize(self, _hang_up, self._lines)

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Begin an episode in each of `lanes` on a fresh connection, or on the shared one.

        Raises:
            InvalidInput: several lanes for a server that remembers one episode only.
        """
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            line = self._lines.setdefault(0 if self._manner.shared else lane, Line())
            if not self._manner.shared:
                line.drop()
            self._lanes[lane] = Lane(Episode(uuid.uuid4().hex, task.instruction, int(seed)), line)
            self.faults.pop(lane, None)
        if self._manner.one_at_a_time and self._manner.stateful and len(self._lanes) > 1:
            raise InvalidInput(
                f"this server remembers one episode for all who ask and {len(self._lanes)} were begun; "
                "type batch=1, or stateful: false for a server that remembers none"
            )
        self._each(lanes, lambda lane: self._persist(lane, self._ready))

    def plan(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]` to float32 `[B, T, A]`; a lane with a fault has NaN.

        Raises:
            InvalidInput: a lane that was never reset.
        """
        for lane in lanes:
            if lane not in self._lanes:
                raise InvalidInput(f"lane {lane} was never reset; call reset before plan")
        shown = dict(zip(lanes, frames, strict=True))
        plans: dict[int, np.ndarray | None] = {}
        waiting = [lane for lane in lanes if lane not in self.faults]
        while waiting and self._length is None:  # the first good plan says how long a plan is
            lane = waiting.pop(0)
            plans |= self._each([lane], lambda lane: self._asked(lane, shown[lane]))
        plans |= self._each(waiting, lambda lane: self._asked(lane, shown[lane]))
        lost = np.full((self._length or 1, self.action.size), np.nan, dtype=np.float32)
        return np.stack([lost if plans.get(lane) is None else plans[lane] for lane in lanes])

    def _each(self, lanes: Sequence[int], do: Callable[[int], Result]) -> dict[int, Result]:
        """`do` for every lane, at the same time. An interruption hangs up, so that nobody waits for a server."""
        if len(lanes) < 2:
            return {lane: do(lane) for lane in lanes}
        with ThreadPoolExecutor(min(len(lanes), MOST_THREADS)) as threads:
            try:
                return dict(zip(lanes, threads.map(do, lanes), strict=True))
            except BaseException:
                self._halt.set()
                _hang_up(self._lines)
                raise

    def _asked(self, lane: int, frame: np.ndarray) -> np.ndarray | None:
        """The checked plan of one lane, or None when it is lost."""
        plan = self._persist(lane, lambda each: self._checked(self._ready(each).ask(frame, each.episode, each.step)))
        if plan is not None:
            self._length = len(plan)
            self._lanes[lane].step += 1
        return plan

    def _ready(self, lane: Lane) -> Wire:
        """An open wire on which the lane's episode has begun."""
        if lane.line.wire is None:
            lane.line.wire = self._connect()
        if lane.begun is not lane.line.wire:
            lane.line.wire.begin(lane.episode)
            lane.begun = lane.line.wire
        return lane.line.wire

    def _persist(self, number: int, do: Callable[[Lane], Result]) -> Result | None:
        """`do`, again after a fault as often as the manner allows; None and a line in `faults` when that is over."""
        lane, reason, attempts = self._lanes[number], "", 0
        while attempts <= self._manner.retries and not self._halt.is_set():
            if attempts and self._halt.wait(self._manner.backoff_seconds * 2 ** (attempts - 1)):
                break
            attempts += 1
            with lane.line.lock:
                try:
                    return do(lane)
                except (ServerFault, MalformedMessage) as error:
                    reason = str(error)
                    lane.line.drop()
            if self._manner.stateful and lane.step:
                reason += "; not asked again, as the server's memory of the episode is gone"
                break
        self.faults[number] = f"{reason} (attempt {attempts} at request {lane.step + 1})"
        return None

    def _checked(self, given: Any) -> np.ndarray:
        """What a server gave as float32 `[T, A]`.

        Raises:
            ServerFault: no array of numbers, another shape, not finite or out of bounds.
        """
        plan = _numbers(given)
        plan = plan[None] if plan.ndim == 1 else plan
        if plan.ndim != 2 or plan.shape[1] != self.action.size or not 0 < len(plan) <= LONGEST_PLAN:
            raise ServerFault(f"the server gave actions of shape {list(plan.shape)}, expected [actions, {self.action.size}]")
        if self._length not in (None, len(plan)):
            raise ServerFault(f"the server gave {len(plan)} actions, expected {self._length} as before")
        with np.errstate(over="ignore"):
            plan = plan.astype(np.float32)
        if not np.isfinite(plan).all():
            raise ServerFault("the server gave an action that is not finite")
        if self._manner.clip:
            return np.clip(plan, np.float32(self.action.low), np.float32(self.action.high))
        outside = ~((plan >= np.float32(self.action.low) - 1e-6) & (plan <= np.float32(self.action.high) + 1e-6))
        if outside.any():
            row, axis = np.argwhere(outside)[0]
            bounds = f"[{self.action.low[axis]:g}, {self.action.high[axis]:g}]"
            raise ServerFault(f'the server gave {plan[row, axis]:g} as "{self.action.names[axis]}", expected a number in {bounds}')
        return plan


def _numbers(given: Any) -> np.ndarray:
    """An array of floats, or lists of numbers, as an array; anything else is no plan."""
    if isinstance(given, list):
        try:
            given = np.array([np.asarray(each) for each in given], dtype=np.float64) if _plain(given) else None
        except (TypeError, ValueError, OverflowError):
            given = None
    if not isinstance(given, np.ndarray) or given.dtype.kind != "f":
        kind = f"an array of {given.dtype}" if isinstance(given, np.ndarray) else type(given).__name__
        raise ServerFault(f"the server gave {kind} as actions, expected an array of floats")
    return given


def _plain(value: Any) -> bool:
    """True for numbers, arrays of floats, and lists of them; text and truth values are no numbers."""
    if isinstance(value, list):
        return all(map(_plain, value))
    return (isinstance(value, int | float) and not isinstance(value, bool)) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


def _hang_up(lines: Mapping[int, Line]) -> None:
    for line in list(lines.values()):
        line.drop()
