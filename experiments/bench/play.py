"""Frames per second of `worldsim play`: over its wire alone, and in a browser without a screen under a hundred key presses."""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import fields
from functools import partial
from http.client import HTTPConnection
from typing import Any

from worldsim.errors import MissingDependency, WorldsimError
from worldsim.experiments.bench.browser import chromium
from worldsim.experiments.schema import BenchConfig, PlayConfig
from worldsim.options import EngineKeys

PRESSES = 100
WAIT = 240.0  # seconds that a hundred frames may take
KEYS = "\ue013\ue014w\ue012s"  # up, right, w, left, s, as WebDriver writes them
TIMED = """
const last = Number(document.body.dataset.moment) + arguments[0];
addEventListener("keydown", () => { window.begun ??= performance.now(); }, true);
new MutationObserver(() => { if (Number(document.body.dataset.moment) >= last) window.ended ??= performance.now(); })
  .observe(document.body, { attributes: true, attributeFilter: ["data-moment"] });
document.getElementById("pace").value = "0";
"""


def measure_play(config: BenchConfig) -> dict[str, Any]:
    """`play_fps[way]` with the truth beside it, ways being wire (request, answer and both pictures) and browser (frames shown)."""
    from worldsim.experiments.play import prepare
    from worldsim.playing.serve import PlayServer

    keys = ("world_model", "task", "device", "threads", "guidance", *(each.name for each in fields(EngineKeys)))
    asked = PlayConfig(**{key: getattr(config, key) for key in keys})
    game = prepare(asked)
    worlds = ("imagined", "truth") if game.has_truth else ("imagined",)
    found: dict[str, Any] = {"play_fps": {}, "play_worlds": list(worlds)}
    for way, drive in {"wire": _by_wire, "browser": _by_browser}.items():
        with tempfile.TemporaryDirectory(prefix="worldsim-bench-") as out:
            server = PlayServer(game, out, "bench")
            try:
                found["play_fps"][way] = PRESSES / _meanwhile(server, partial(drive, server, worlds))
            except MissingDependency as error:
                found[f"play_{way}_skipped"] = str(error)
    return found


def _meanwhile(server: Any, work: Callable[[], float]) -> float:
    """What `work` gives, from another thread, while this one serves.

    Raises:
        WorldsimError: what `work` says.
    """
    told: list[Any] = []

    def drive() -> None:
        try:
            told.append(work())
        except Exception as error:
            told.append(error)
        finally:
            server.stop()

    thread = threading.Thread(target=drive, daemon=True)
    thread.start()
    server.run()
    thread.join(WAIT)
    if not told or isinstance(told[0], Exception):
        raise told[0] if told else WorldsimError(f"the page did not come to {PRESSES} frames in {WAIT:g} s")
    return told[0]


def _by_wire(server: Any, worlds: Sequence[str]) -> float:
    """Seconds that a hundred steps take a client which asks for each frame's pictures."""
    line = HTTPConnection("127.0.0.1", server.port, timeout=WAIT)
    with closing(line):
        return _played(line, server.address.partition(str(server.port))[2], worlds)


def _played(line: HTTPConnection, entrance: str, worlds: Sequence[str]) -> float:
    headers = {"content-type": "application/json"}

    def ask(path: str, body: dict[str, Any] | None = None) -> bytes:
        line.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
        answer = line.getresponse()
        headers.setdefault("cookie", (answer.headers["set-cookie"] or "").split(";")[0])
        return answer.read()

    ask(entrance)
    headers["x-csrf-token"] = json.loads(ask("/api/keys"))["csrf"]
    seated = json.loads(ask("/api/sit", {}))
    here, begun = seated["latest"], time.perf_counter()
    for _ in range(PRESSES):
        here = json.loads(ask("/api/step", {"seat": seated["seat"], "at": here}))["id"]
        for world in worlds:
            ask(f"/{world}/{here}.png")
    return time.perf_counter() - begun


def _by_browser(server: Any, worlds: Sequence[str]) -> float:
    """Seconds from the first of a hundred key presses to the hundredth frame on the page.

    Raises:
        MissingDependency: no selenium, chromium or its driver.
        WorldsimError: the page does not come so far.
    """
    driver = chromium()
    from selenium.webdriver import ActionChains

    try:
        driver.get(server.address)
        _until(driver, "return document.body.dataset.moment")
        driver.execute_script(TIMED, PRESSES)
        ActionChains(driver).send_keys(KEYS * (PRESSES // len(KEYS))).perform()
        return _until(driver, "return window.ended && (window.ended - window.begun) / 1000")
    finally:
        driver.quit()


def _until(driver: Any, script: str) -> Any:
    """What a script in the page returns, once that is something."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if found := driver.execute_script(script):
            return found
        time.sleep(0.2)
    raise WorldsimError(f"the page did not come to {PRESSES} frames in {WAIT:g} s")
