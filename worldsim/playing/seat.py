"""Who drives: the tab that came last. Knows no web."""

import secrets


class SeatTaken(Exception):
    """Another tab drives now."""


class Seat:
    """One seat; whoever takes it has it until the next one does."""

    def __init__(self) -> None:
        self._whose = secrets.token_urlsafe(16)

    def take(self) -> str:
        """Sit down. Returns what proves it."""
        self._whose = secrets.token_urlsafe(16)
        return self._whose

    def check(self, whose: str) -> None:
        """Refuse anybody else.

        Raises:
            SeatTaken: with proof of an earlier seat, or of none.
        """
        if not secrets.compare_digest(whose.encode(), self._whose.encode()):
            raise SeatTaken
