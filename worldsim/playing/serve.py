"""The page that a world is played on as a server beside the thread that plays it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldsim.playing.errands import Errands
from worldsim.playing.game import Game
from worldsim.serving.server import LEAVE_SECONDS, PageServer


class PlayServer:
    """The page of one game: `address` lets in one browser, once. The game's networks run in the thread that calls `run`.

    Args:
        game: the game.
        out: folder for recordings.
        title: what the page calls the world.
        port: on the loopback; 0 is any free one.

    Raises:
        MissingDependency: fastapi or uvicorn is not installed.
        InvalidInput: the port is taken or may not be used.
    """

    def __init__(self, game: Game, out: str | Path, title: str, port: int = 0) -> None:
        self._errands = Errands()

        def build(keys: Any, stop: Callable[[], None]) -> Any:
            from worldsim.playing.app import Desk, play_app

            return play_app(Desk(game, self._errands, out, title), keys)

        self._server = PageServer("play", build, port)
        self.address, self.port = self._server.address, self._server.port

    def run(self) -> None:
        """Play until `stop`.

        Raises:
            KeyboardInterrupt: interrupted; what was recorded is on disk.
        """
        thread = threading.Thread(target=self._server.run, name="worldsim-page", daemon=True)
        thread.start()
        try:
            self._errands.run()
        finally:
            self._server.stop()
            thread.join(LEAVE_SECONDS)

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._errands.stop()
