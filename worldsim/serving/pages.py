"""The files of a page, and what it answers to requests that cannot be read. Knows no page."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
SHARED = ("base.css", "base.js")  # beside this file, for every page


def page_app(folder: Path, names: Sequence[str], unreadable: str, unwritten: str) -> FastAPI:
    """An application that serves `page.html` of `folder` at `/`, its files `names` and the shared ones under their names, and no other.

    Args:
        folder: where the page's files are.
        names: of its scripts and style sheets.
        unreadable: what is said of a request that has another form than its route takes; the framework would repeat what was sent.
        unwritten: what is said where the disk refuses to keep something; `{reason}` in it becomes why.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def refuse(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": unreadable}, 422)

    def tell(request: Request, error: Exception) -> Response:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return JSONResponse({"detail": unwritten.format(reason=reason)}, 507)

    app.add_exception_handler(RequestValidationError, refuse)
    app.add_exception_handler(OSError, tell)
    files = {"": folder / "page.html"} | {name: folder / name for name in names}
    files |= {name: Path(__file__).parent / name for name in SHARED}
    for name, path in files.items():
        _add_file(app, name, path)
    app.add_api_route("/favicon.ico", lambda: Response(status_code=204), methods=["GET"])  # browsers ask for one unasked
    return app


def _add_file(app: FastAPI, name: str, path: Path) -> None:
    content, kind = path.read_bytes(), KINDS[path.suffix]
    app.add_api_route(f"/{name}", lambda: Response(content, media_type=kind), methods=["GET"])
