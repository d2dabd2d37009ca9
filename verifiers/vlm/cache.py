"""Answers on disk, one JSON file each, named by the content of their question: a rerun asks nothing again. Knows no server.

    FOLDER/ab/abcdef0123456789.json    {"facts": what was asked, "text": ..., "tokens": ..., "usage": ..., "seconds": ...}

Only words of a model are kept, as it wrote them, and read anew each time; a server's failure is not. No file holds a picture or a key.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldsim.data.files import written_whole
from worldsim.errors import InvalidInput
from worldsim.verifiers.vlm.logprobs import Token
from worldsim.verifiers.vlm.reply import Reply

log = logging.getLogger(__name__)


def cache_folder(cache: Any) -> Path | None:
    """Where answers are kept: true is the user's cache folder ($XDG_CACHE_HOME or ~/.cache) /worldsim/vlm, false nowhere, else a folder.

    Raises:
        InvalidInput: neither.
    """
    if cache is False:
        return None
    if cache is True:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "worldsim" / "vlm"
    if not isinstance(cache, str | Path) or not str(cache):
        raise InvalidInput(f"cache is {cache!r}, expected true (the user's cache folder), false (keep nothing) or a folder")
    return Path(cache)


class Cache:
    """Answers by key. A damaged file counts as absent and is written anew; one that cannot be written is not kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, key: str) -> tuple[Reply, float] | None:
        """A kept reply and how many seconds it took; None where there is none."""
        if self._folder is None:
            return None
        try:
            found = json.loads(self._path(key).read_text(encoding="utf-8"))
            return _reply(found), float(found["seconds"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def put(self, key: str, facts: Mapping[str, Any], reply: Reply, seconds: float) -> None:
        """Keep a reply."""
        if self._folder is None:
            return
        tokens = [{"text": token.text, "listed": dict(token.listed)} for token in reply.tokens]
        row = {"facts": dict(facts), "text": reply.text, "tokens": tokens, "usage": reply.usage, "seconds": seconds}
        try:
            with written_whole(self._path(key)) as aside:
                aside.write_text(json.dumps(row, allow_nan=False), encoding="utf-8")
        except OSError as error:
            log.warning("answers are no longer kept in %s (%s); judging goes on", self._folder, error)
            self._folder = None

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


def _reply(row: Mapping[str, Any]) -> Reply:
    tokens = tuple(Token(str(each["text"]), {str(name): float(p) for name, p in each["listed"].items()}) for each in row["tokens"])
    if not isinstance(row["text"], str):
        raise ValueError("no text")
    return Reply(row["text"], tokens, tuple(row["usage"]) if row["usage"] else None)
