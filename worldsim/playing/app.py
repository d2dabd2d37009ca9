"""The routes of the page that a world is played on. Every answer is JSON or a picture; all work is done by the game's own thread."""

from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from worldsim.data.csgo_actions import Press
from worldsim.errors import WorldsimError
from worldsim.playing.controls import Command
from worldsim.playing.errands import Errands
from worldsim.playing.game import Game
from worldsim.playing.moments import Moment
from worldsim.playing.pilots import YOU
from worldsim.playing.recording import record
from worldsim.playing.seat import Seat, SeatTaken
from worldsim.playing.tuning import Tuning
from worldsim.report.printable import printable
from worldsim.serving.guard import Guard, Keys
from worldsim.serving.pages import page_app
from worldsim.serving.pictures import png
from worldsim.types import Task

FILES = ("page.js", "driving.js", "strip.js", "page.css")
UNWRITTEN = "nothing was recorded ({reason}); make room and record again"
KEPT = 4  # denoising trajectories held in memory
MOST_PIXELS = 1_000_000.0
Name = Annotated[str, Field(max_length=60)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Asked(BaseModel):
    """What every request carries: the seat of the tab that it comes from."""

    model_config = ConfigDict(extra="forbid", strict=True)
    seat: Annotated[str, Field(max_length=64)]


class Step(Asked):
    """One step from a moment: by whom, and what is pressed (see `worldsim.playing.controls.Command`)."""

    at: Annotated[int, Field(ge=0)]
    by: Annotated[str, Field(max_length=200)] = YOU
    push: Annotated[dict[Name, Finite], Field(max_length=64)] = {}
    keys: Annotated[list[Name], Field(max_length=16)] = []
    clicks: Annotated[list[Name], Field(max_length=4)] = []
    mouse_x: Annotated[float, Field(ge=-MOST_PIXELS, le=MOST_PIXELS)] = 0.0
    mouse_y: Annotated[float, Field(ge=-MOST_PIXELS, le=MOST_PIXELS)] = 0.0

    def command(self) -> Command:
        """What is pressed."""
        return Command(self.push, Press(tuple(self.keys), tuple(self.clicks), self.mouse_x, self.mouse_y))


class Begin(Asked):
    """A new game: the number of a start, null for the next one, and a seed, null for the same one."""

    start: Annotated[int, Field(ge=0)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Tune(Asked):
    """How later frames are drawn."""

    steps: Annotated[int, Field(ge=1)]
    guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    history: Literal["stream", "block", "window", "recompute"]


class Here(Asked):
    """A moment."""

    at: Annotated[int, Field(ge=0)]


class Desk:
    """The game as the page sees it: who may ask, the thread that answers, where recordings go, and what the world is called."""

    def __init__(self, game: Game, errands: Errands, out: str | Path, title: str) -> None:
        self.game, self.errands, self.out, self.title = game, errands, Path(out), title
        self.seat = Seat()
        self.unrolled = lru_cache(KEPT)(game.denoising)

    def work(self, asked: Asked, call: Callable[[], Any]) -> Any:
        """Let the game's thread make a call for the tab that has the seat.

        Raises:
            SeatTaken: another tab has it.
            WorldsimError: what the call says.
        """
        self.seat.check(asked.seat)
        return self.errands.ask(call)


def play_app(desk: Desk, keys: Keys) -> Guard:
    """The page of one game, behind its guard."""
    app = page_app(Path(__file__).parent, FILES, "this is not what the page sends", UNWRITTEN)
    app.add_exception_handler(WorldsimError, _refused)
    app.add_exception_handler(SeatTaken, _taken)
    _add_seat(app, desk, keys)
    _add_moves(app, desk)
    _add_pictures(app, desk)
    return Guard(app, keys)


def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": printable(" ".join(str(error).split()))}, 400)


def _taken(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "another tab or window drives now"}, 409)


def _add_seat(app: FastAPI, desk: Desk, keys: Keys) -> None:
    """Entering, and taking the seat; whoever sat there before is told so when it next asks for anything."""

    @app.get("/api/keys")
    def secret() -> dict[str, str]:
        return {"csrf": keys.csrf}

    @app.post("/api/sit")
    def sit() -> dict[str, Any]:
        game, seat = desk.game, desk.seat.take()
        return {
            "seat": seat,
            "title": printable(desk.title),
            "task": printable(game.task.id),
            "starts": len(game.task.starts),
            "height": game.world.spec.height,
            "width": game.world.spec.width,
            "fps": game.world.spec.fps,
            "controls": game.controls.describe(),
            "names": list(game.world.spec.action.names),
            "pilots": game.pilots.names,
            "tuning": game.tuning and asdict(game.tuning),
            "histories": game.world.histories,
            "truth": game.has_truth,
            "out": printable(desk.out),
            "moments": [told(each, game.task) for each in game.story],
            "latest": game.latest.id,
        }


def _add_moves(app: FastAPI, desk: Desk) -> None:
    """All that changes something."""
    game = desk.game

    @app.post("/api/step")
    def step(asked: Step) -> dict[str, Any]:
        return told(desk.work(asked, lambda: game.step(asked.at, asked.by, asked.command())), game.task)

    @app.post("/api/begin")
    def begin(asked: Begin) -> dict[str, Any]:
        moment = desk.work(asked, lambda: game.begin(asked.start, asked.seed))
        return {"moment": told(moment, game.task), "held": [each.id for each in game.story]}

    @app.post("/api/tune")
    def tune(asked: Tune) -> dict[str, Any]:
        return asdict(desk.work(asked, lambda: game.tune(Tuning(asked.steps, asked.guidance, asked.history))))

    @app.post("/api/unroll")
    def unroll(asked: Here) -> dict[str, Any]:
        return {"counts": [len(row) for row in desk.work(asked, lambda: desk.unrolled(asked.at))]}

    @app.post("/api/record")
    def save(asked: Here) -> dict[str, Any]:
        paths = desk.work(asked, lambda: record(desk.out, game.story.line(asked.at), game.task, game.world.spec))
        return {"files": [printable(path) for path in paths]}


def _add_pictures(app: FastAPI, desk: Desk) -> None:
    """Frames by the number of their moment, imagined and true, and how one came out of noise."""
    story = desk.game.story

    @app.get("/{world}/{id}.png")
    def frame(world: Literal["imagined", "truth"], id: int) -> Response:
        moment = story.moment(id)
        if world == "truth" and not moment.truth:
            raise HTTPException(404)
        return _picture(moment.truth.frame if world == "truth" else moment.frame)

    @app.get("/unrolled/{id}/{row}/{place}.png")
    def unrolled(id: int, row: int, place: int) -> Response:
        rows = desk.errands.ask(lambda: desk.unrolled(id))
        if not (0 <= row < len(rows) and 0 <= place < len(rows[row])):
            raise HTTPException(404)
        return _picture(rows[row][place])


def _picture(frame: np.ndarray) -> Response:
    return Response(png(frame), media_type="image/png")


def told(moment: Moment, task: Task) -> dict[str, Any]:
    """What the page is told of a moment."""
    states = moment.truth.states if moment.truth else {}
    return {
        "id": moment.id,
        "parent": moment.parent,
        "step": moment.step,
        "start": printable(moment.start.id),
        "number": moment.number,
        "instruction": printable(task.at(moment.start).instruction),
        "seed": moment.seed,
        "by": moment.by,
        "action": None if moment.action is None else [round(float(value), 4) for value in moment.action],
        "tuning": moment.tuning and asdict(moment.tuning),
        "fault": printable(moment.fault),
        "apart": moment.apart and round(moment.apart, 2),
        "states": {name: round(float(value), 4) for name, value in states.items() if np.ndim(value) == 0},
    }
