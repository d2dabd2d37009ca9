"""The label page's routes. Episodes go by random names here; policy, world, start and file names never pass."""

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from worldsim.errors import DamagedFile
from worldsim.labelling.deck import Card
from worldsim.labelling.label import MOST_REPLAYS, MOST_SECONDS
from worldsim.labelling.sitting import Sitting
from worldsim.report.printable import printable
from worldsim.serving.guard import Guard, Keys
from worldsim.serving.pages import page_app

FILES = ("page.js", "player.js", "page.css")
UNWRITTEN = "this answer is not saved ({reason}); make room and answer again"


class Answer(BaseModel):
    """What the page sends: an answer to one card, how many seconds it was looked at and how often it began again."""

    model_config = ConfigDict(strict=True, extra="forbid")
    card: Annotated[str, Field(max_length=64)]
    answer: Literal["y", "n", "u"]
    seconds: Annotated[float, Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)]
    replays: Annotated[int, Field(ge=0, le=MOST_REPLAYS)]


def label_app(sitting: Sitting, keys: Keys, finish: Callable[[], None]) -> Guard:
    """The page of one sitting, behind its guard. `finish` is called when the rater is done with it."""
    app = page_app(Path(__file__).parent, FILES, "this is no answer", UNWRITTEN)
    app.add_exception_handler(DamagedFile, _damaged)
    _add_cards(app, sitting, keys)
    _add_clips(app, sitting)

    @app.post("/api/finish")
    def end() -> dict[str, Any]:
        if sitting.next():
            raise HTTPException(409, "clips are left")
        finish()
        return {"finished": True}

    return Guard(app, keys)


def _damaged(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "this clip's file is damaged or gone; end worldsim label and type the command again"}, 410)


def _add_cards(app: FastAPI, sitting: Sitting, keys: Keys) -> None:
    """What is asked, clip by clip, and the answers."""

    def state(card: Card | None) -> dict[str, Any]:
        shown = asdict(sitting.shown(card)) if card else None
        return {"card": shown, "last": sitting.last().id, "done": sitting.done, "total": sitting.total, "counts": sitting.counts}

    @app.get("/api/sitting")
    def about() -> dict[str, Any]:
        question = sitting.question
        return {"csrf": keys.csrf, "rater": printable(sitting.rater), "rule": question.rule_text, "rubric": _readable(question.rubric)}

    @app.get("/api/card")
    def following() -> dict[str, Any]:
        return state(sitting.next())

    @app.get("/api/card/{id}")
    def one(id: str) -> dict[str, Any]:
        return state(_card(sitting, id))

    @app.post("/api/label")
    def record(answer: Answer) -> dict[str, Any]:
        sitting.record(_card(sitting, answer.card), answer.answer, answer.seconds, answer.replays)
        return state(sitting.next())


def _add_clips(app: FastAPI, sitting: Sitting) -> None:
    """Videos and stills by card, of the clip to judge or of the one beside it."""

    @app.get("/{side}/{id}.mp4")
    def video(side: Literal["clip", "reference"], id: str, request: Request) -> Response:
        return ranged(sitting.clip(_episode(sitting, side, id)).video, request.headers.get("range"))

    @app.get("/{side}/{id}/{end}.png")
    def still(side: Literal["clip", "reference"], id: str, end: Literal["first", "last"]) -> Response:
        clip = sitting.clip(_episode(sitting, side, id))
        return Response(clip.first if end == "first" else clip.last, media_type="image/png")


def _card(sitting: Sitting, id: str) -> Card:
    try:
        return sitting.card(id)
    except KeyError:
        raise HTTPException(404) from None


def _episode(sitting: Sitting, side: str, id: str) -> str:
    card = _card(sitting, id)
    episode = card.entry.episode if side == "clip" else card.reference
    if episode is None:
        raise HTTPException(404)
    return episode


def ranged(content: bytes, asked: str | None) -> Response:
    """A video, or the one part of it that a Range header asks for, so that a browser can seek in it (RFC 9110, section 14)."""
    headers = {"accept-ranges": "bytes"}
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked or "")
    if not found or not any(found.groups()):
        return Response(content, media_type="video/mp4", headers=headers)
    first, last = found.groups()
    begin = int(first) if first else max(0, len(content) - int(last))
    end = min(int(last), len(content) - 1) if first and last else len(content) - 1
    if begin > end:
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{len(content)}"})
    part = {"content-range": f"bytes {begin}-{end}/{len(content)}"}
    return Response(content[begin : end + 1], 206, media_type="video/mp4", headers=headers | part)


def _readable(text: str) -> str:
    """`printable`, with line ends kept."""
    return "\n".join(printable(line) for line in text.splitlines())
