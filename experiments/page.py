"""Telling people where a page is that a command serves. Serves nothing."""

import os
import sys
import webbrowser


def announce(address: str, *, open_browser: bool) -> None:
    """Print the address, and open it in a browser where that is wanted and there is a screen."""
    print(f"open in one browser, once: {address}", flush=True)
    if open_browser and _has_screen():
        webbrowser.open(address)


def _has_screen() -> bool:
    """Whether a browser can be opened in a window: a text browser would take over the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
