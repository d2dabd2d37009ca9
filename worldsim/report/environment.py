"""How templates of pages become text: escaped, with nothing in it that does not print, and a name that is missing is an error."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from worldsim.report.printable import visible


def environment(filters: Mapping[str, Callable[..., Any]] | None = None) -> Environment:
    """The templates beside this file. Beside jinja's own filters and these there is `drawing`, for SVG that was made here."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"drawing": Markup, **(filters or {})}
    return made
