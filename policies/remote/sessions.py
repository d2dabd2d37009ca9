"""Episodes that others play with a policy of ours: who has which lane, and what was answered last. Knows no network.

An episode is known by its `episode_id`, wherever its requests come from, or else by its connection. A request that is repeated under the
same `step` gets the same answer again, so that a client which lost a reply may ask once more without the policy acting twice. It may do so
on a new connection: of the episodes whose connection is closed, the last few are remembered, and the lanes of the others are free.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.types import ChunkPolicy, Policy, Start, Task

MOST_EPISODES = 1024  # remembered; the one that was asked for longest ago is forgotten first
MOST_LEFT = 32  # of these, episodes whose connection is closed
IMAGE_KEYS = ("observation/image", "observation/exterior_image_1_left", "image")


@dataclass
class Session:
    """One episode: its lane, who asked last (None once closed), the number of its next request, what was asked and the answer `[T, A]`."""

    lane: int
    connection: int | None = None
    step: int = 0
    asked: tuple[Any, ...] = ()
    answer: np.ndarray | None = None


class Sessions:
    """A policy and those who play with it. One request at a time, as a policy need not bear more."""

    def __init__(self, policy: Policy | ChunkPolicy, most: int = MOST_EPISODES) -> None:
        self.policy, self._most = policy, most
        self._sessions: OrderedDict[Hashable, Session] = OrderedDict()
        self._free: list[int] = []
        self._lock = threading.Lock()

    def answer(self, message: Any, connection: int) -> np.ndarray:
        """The actions float32 `[T, A]` for one observation.

        Raises:
            InvalidInput: a message without a picture, a number that is none, or a step that does not follow.
            WorldsimError: what the policy says.
        """
        if not isinstance(message, dict):
            raise InvalidInput(f"the request is {type(message).__name__}, expected a map")
        key, frame, task, step = episode_of(message, connection), frame_of(message), instruction_of(message), message.get("step")
        seed = message.get("seed", 0)
        for name, value in (("seed", seed), ("step", 0 if step is None else step)):
            if type(value) is not int or not 0 <= value < 2**64:
                raise InvalidInput(f"{name} is {str(value)[:40]}, expected a whole number from 0 to 2**64 - 1")
        asked = (step, task, seed, frame.shape, hashlib.sha256(frame).digest())
        with self._lock:
            session = self._sessions.get(key)
            if step is not None and session is not None and session.asked == asked:
                session.connection = connection
                return session.answer
            session = self._session(key, step, begins=message.get("reset") is True or step == 0)
            session.connection = connection
            if session.step == 0:
                start = Start("served", frame[None], seed)
                self.policy.reset([session.lane], [Task("served", task, 2**31, (start,))], [seed])
            session.answer = self._act(frame, session.lane)
            session.asked, session.step = asked, session.step + 1
            return session.answer

    def end(self, connection: int) -> None:
        """A connection is closed: its episode is forgotten; those with an id stay a while, as their client may come back."""
        with self._lock:
            self._forget(("connection", connection))
            for session in self._sessions.values():
                session.connection = None if session.connection == connection else session.connection
            left = [key for key, session in self._sessions.items() if session.connection is None]
            for key in left[:-MOST_LEFT]:
                self._forget(key)

    def _session(self, key: Hashable, step: int | None, *, begins: bool) -> Session:
        """The episode of a request, a new one if it is not known yet or `begins`."""
        session = self._sessions.get(key)
        if session is None and step:
            raise InvalidInput(f"step {step} is of an episode that is not known here; begin it with step 0")
        if session is None or begins:
            self._forget(key)
            session = self._sessions[key] = Session(self._free.pop() if self._free else len(self._sessions))
        if step is not None and step != session.step:
            raise InvalidInput(f"step {step} does not follow, expected {session.step}, or {session.step - 1} as it was")
        self._sessions.move_to_end(key)
        while len(self._sessions) > self._most:
            self._forget(next(iter(self._sessions)))
        return session

    def _act(self, frame: np.ndarray, lane: int) -> np.ndarray:
        plans = isinstance(self.policy, ChunkPolicy)
        actions = self.policy.plan(frame[None], [lane])[0] if plans else self.policy.act(frame[None], [lane])
        faults = getattr(self.policy, "faults", {})
        if lane in faults:
            raise InvalidInput(f"the policy can no longer act: {faults[lane]}")
        return self.policy.action.check(actions)

    def _forget(self, key: Hashable) -> None:
        session = self._sessions.pop(key, None)
        if session is not None:
            self._free.append(session.lane)


def episode_of(message: Mapping[Any, Any], connection: int) -> Hashable:
    """By what an episode is known. Raises InvalidInput for an id that is neither text nor a number."""
    given = message.get("episode_id")
    if given is None:
        return "connection", connection
    if type(given) not in (str, int) or len(str(given)) > 200:
        raise InvalidInput(f"episode_id is {str(given)[:40]}, expected a text of at most 200 letters or a number")
    return "episode", given


def frame_of(message: Mapping[Any, Any]) -> np.ndarray:
    """The picture uint8 `[H, W, 3]` of a request: under a key of openpi's presets, or the only one there is. Raises InvalidInput."""
    pictures = {
        key: value for key, value in message.items() if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3
    }
    key = next((key for key in IMAGE_KEYS if key in pictures), next(iter(pictures)) if len(pictures) == 1 else None)
    if key is None or pictures[key].shape[2] != 3 or not pictures[key].size:
        raise InvalidInput(f"the request has no picture; expected {IMAGE_KEYS[0]}, uint8 [H, W, 3]")
    return np.array(pictures[key])  # its own memory: what was read of a message may not be written to


def instruction_of(message: Mapping[Any, Any]) -> str:
    """The instruction of a request; empty where it has none. Raises InvalidInput."""
    given = message.get("prompt", "")
    if not isinstance(given, str):
        raise InvalidInput(f"prompt is {type(given).__name__}, expected text")
    return given
