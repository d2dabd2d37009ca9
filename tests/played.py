"""Small worlds to play in: one of a robot beside a true one, and one that is driven by keys and a mouse, both untrained."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import tiny
from toy import PixelShift, Seeker, shift_task

from worldsim.data.csgo_actions import NAMES
from worldsim.load import load_world_model
from worldsim.playing.game import Game
from worldsim.playing.pilots import Pilots
from worldsim.playing.serve import PlayServer
from worldsim.types import ActionSpec, Start, Task

PRESSED = ActionSpec(NAMES, (0.0,) * len(NAMES), (1.0,) * len(NAMES), rate_hz=16.0)


@cache
def tiny_model(kind: str = "robot"):
    """An untrained world model, driven like a robot or like Counter-Strike."""
    action = tiny.ACTION if kind == "robot" else PRESSED
    return load_world_model(str(tiny.world_model(Path(mkdtemp(prefix="worldsim-tiny-")) / kind, action=action)))


def starts(count: int = 3) -> Task:
    return Task("tiny", "close the drawer", 4, tuple(Start(f"{seed:07d}", tiny.picture(seed)[None], seed) for seed in range(count)))


def robot_game(truth: bool = True, **options) -> Game:
    """The tiny world beside a true one, with one policy."""
    return Game(tiny_model(), starts(), Pilots({"same": lambda: Same(tiny.ACTION)}), tiny.Slide() if truth else None, **options)


def pressed_game(**options) -> Game:
    return Game(tiny_model("csgo"), starts(), Pilots({}), **options)


def toy_game(**options) -> Game:
    """A world without anything to tune, whose frames can be computed by hand."""
    return Game(PixelShift(), shift_task(), Pilots({"seeker": Seeker}), **options)


class Same:
    """Acts alike in every step, and counts how often it was told that an episode begins."""

    def __init__(self, action: ActionSpec) -> None:
        self.action, self.resets = action, 0

    def reset(self, lanes, tasks, seeds) -> None:
        self.resets += 1

    def act(self, frames, lanes):
        return np.full((len(frames), self.action.size), 0.25, np.float32)


@contextmanager
def played(game: Game, out: Path) -> Iterator[PlayServer]:
    """The page of a game, answering on a free port until the block ends."""
    server = PlayServer(game, out, "tiny")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()
