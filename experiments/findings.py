"""One line of what `worldsim doctor` found. Finds nothing itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the table. `fix` says what to type; `state` is good, optional (absent, no fault), note (to be looked at) or bad."""

    what: str
    found: str
    state: str = "good"
    fix: str = ""


def size(count: float) -> str:
    """A number of bytes in words."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
