"""The label page in a real browser without a screen: what is pressed is what is kept. Needs Debian's chromium and chromium-driver."""

import csv
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browsers import browsing, complaints, press, text, until, webdriver
from labelled import make_run, served

from worldsim.labelling.deck import Choice
from worldsim.labelling.ledger import labels_of
from worldsim.labelling.transfer import export_labels

pytestmark = pytest.mark.slow


@pytest.fixture
def browser():
    with browsing() as driver:
        yield driver


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "runsecret")


def ready(driver, before=None):
    """What the page shows now, once that is loaded and is not `before`: a card and its label, or "end"."""

    def now():
        shown = driver.execute_script("return document.body.dataset.ready ?? ''")
        return shown if shown and shown != before else None

    return until(now, "the page is not ready")


def video(driver, attribute, id="clip"):
    return driver.execute_script("return document.getElementById(arguments[0])[arguments[1]]", id, attribute)


def test_ten_clips_by_keyboard_with_a_reload_a_step_back_and_an_end(browser, run, tmp_path):
    keys = "ynuyYnunyn"
    pressed = {}
    with served(run) as (server, sitting):
        browser.get(server.address)
        shown = ready(browser)
        assert "token" not in browser.current_url
        for place, key in enumerate(keys):
            card = shown.split()[0]
            pressed[sitting.card(card).entry.episode] = key.lower()
            press(browser, key)
            shown = ready(browser, shown)
            assert labels_of(run, "ann")[sitting.card(card).entry.episode].answer == key.lower()  # on disk before the next clip shows
            if place == 3:
                browser.refresh()
                assert ready(browser) == shown  # the reload lost nothing
                assert text(browser, "count") == "4 of 10 labelled"
            if place == 5:
                press(browser, webdriver.Keys.BACKSPACE)
                again = ready(browser, shown)
                assert again == f"{card} n"
                assert "You said: Failure" in text(browser, "status")
                press(browser, "u")
                pressed[sitting.card(card).entry.episode] = "u"
                assert ready(browser, again) == shown  # and goes on where it was
        assert shown == "end"
        assert text(browser, "counts").split() == ["Success", "4", "Failure", "3", "Cannot", "tell", "3"]
        press(browser, "b")
        last = ready(browser, "end")
        press(browser, webdriver.Keys.ENTER)  # keeps the answer
        assert ready(browser, last) == "end"
        browser.find_element("id", "finish").click()
        until(
            lambda: "You can close this page" in browser.page_source and not browser.find_elements("css selector", "#end:not([hidden])"),
            "no end",
        )
        until(lambda: server._server.should_exit, "the server does not end")
        assert complaints(browser) == []
    export_labels(run, tmp_path / "labels.csv")
    with open(tmp_path / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["episode"]: row["label"] for row in rows} == pressed
    assert len(rows) == 10
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert sorted(int(row["order"]) for row in rows) == list(range(1, 11))


def test_keys_rule_the_playback(browser, run):
    with served(run, choice=Choice(layout="pair")) as (server, _):
        browser.get(server.address)
        ready(browser)
        until(lambda: video(browser, "currentTime") > 0.2, "it does not play by itself")
        for key, rate in zip("1234", (0.5, 1, 2, 4), strict=True):
            press(browser, key)
            assert {video(browser, "playbackRate", id) for id in ("clip", "reference")} == {rate}
        assert browser.find_element("id", "loop").get_attribute("aria-pressed") == "true"
        press(browser, " ")
        assert video(browser, "paused")
        assert video(browser, "paused", "reference")
        press(browser, "l")
        assert browser.find_element("id", "loop").get_attribute("aria-pressed") == "false"
        press(browser, " ")
        until(lambda: video(browser, "ended"), "it does not stop at its end")
        browser.execute_script("const seek = document.getElementById('seek'); seek.value = 0.5; seek.dispatchEvent(new Event('input'))")
        until(lambda: not video(browser, "seeking"), "it does not seek")
        assert abs(video(browser, "currentTime") - video(browser, "duration") / 2) < 0.05
        webdriver.ActionChains(browser).key_down(webdriver.Keys.CONTROL).send_keys("y").key_up(webdriver.Keys.CONTROL).perform()  # not ours
        assert labels_of(run, "ann") == {}


def test_how_long_and_how_often_a_clip_was_seen_is_kept(browser, run):
    with served(run) as (server, _):
        browser.get(server.address)
        shown = ready(browser)
        begun = time.monotonic()
        press(browser, "4")
        turns = []

        def twice():
            turns.append(video(browser, "currentTime"))
            return sum(later < before for before, later in zip(turns, turns[1:], strict=False)) >= 2

        until(twice, "it does not loop")
        press(browser, "y")
        ready(browser, shown)
        (label,) = labels_of(run, "ann").values()
        assert label.replays >= 2
        assert 0.2 < label.seconds <= time.monotonic() - begun + 1


def test_a_key_that_is_held_down_answers_once(browser, run):
    with served(run) as (server, _):
        browser.get(server.address)
        shown = ready(browser)
        hold = "for (let i = 0; i < 5; i++) document.dispatchEvent(new KeyboardEvent('keydown', {key: 'y', repeat: i > 0, bubbles: true}))"
        browser.execute_script(hold.replace("document.dispatch", "document.body.dispatch"))
        ready(browser, shown)
        assert len(labels_of(run, "ann")) == 1


def test_buttons_answer_too_and_space_presses_the_one_that_tab_reached(browser, run):
    with served(run) as (server, sitting):
        browser.get(server.address)
        shown = ready(browser)
        browser.find_element("id", "answer-n").click()
        after = ready(browser, shown)
        assert [label.answer for label in labels_of(run, "ann").values()] == ["n"]
        paused = video(browser, "paused")
        press(browser, " ")  # the button was clicked, not reached by keyboard: space still plays and pauses
        assert video(browser, "paused") != paused
        assert len(labels_of(run, "ann")) == 1
        while browser.switch_to.active_element.get_attribute("id") != "answer-u":
            press(browser, webdriver.Keys.TAB)
        press(browser, " ")
        ready(browser, after)
        assert labels_of(run, "ann")[sitting.card(after.split()[0]).entry.episode].answer == "u"


def test_what_can_be_pressed_has_a_name(browser, run):
    with served(run) as (server, _):
        browser.get(server.address)
        ready(browser)
        pressable = browser.find_elements(
            "css selector", "main:not([hidden]) button, main:not([hidden]) input, progress, video:not([hidden])"
        )
        names = [each.accessible_name for each in pressable if each.is_displayed()]
        assert len(names) >= 12
        assert all(names)


def test_hostile_text_stays_text(browser, tmp_path):
    evil = '<img src=x onerror="document.title=1"><script>document.title=1</script>\x1b[2J'
    run = make_run(tmp_path / "run", instruction=evil)
    with served(run, rater="<i>ann</i>") as (server, _):
        browser.get(server.address)
        ready(browser)
        assert text(browser, "instruction") == evil.replace("\x1b", "\\x1b")
        assert not browser.find_elements("css selector", "h1 *, #rater *")
        assert browser.title == "label · worldsim"
        assert complaints(browser) == []


def test_who_wants_less_motion_gets_a_still_clip(run):
    with browsing("--force-prefers-reduced-motion") as driver, served(run) as (server, _):
        driver.get(server.address)
        ready(driver)
        assert video(driver, "paused")
        assert driver.find_element("id", "loop").get_attribute("aria-pressed") == "false"
        press(driver, " ")
        until(lambda: video(driver, "ended"), "it does not play when asked to")


@pytest.mark.parametrize("width", [320, 390, 1100])
@pytest.mark.parametrize("layout", ["single", "pair"])
def test_nothing_sticks_out_at_any_width(browser, run, width, layout):
    with served(run, choice=Choice(layout=layout)) as (server, _):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        )
        browser.get(server.address)
        ready(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        for answer in "ynu":
            box = browser.find_element("id", f"answer-{answer}").rect
            assert box["height"] >= 44
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def test_a_server_that_has_ended_is_said_and_no_answer_seems_kept(browser, run):
    with served(run) as (server, _):
        browser.get(server.address)
        ready(browser)
    press(browser, "y")
    until(lambda: "type the same command to go on" in text(browser, "status"), "nothing is said")
    assert labels_of(run, "ann") == {}
    assert text(browser, "count") == "0 of 10 labelled"


@contextmanager
def elsewhere(page):
    """Another site on another port, with one page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_address_works_from_a_link_on_another_site(browser, run):
    with served(run) as (server, _), elsewhere(f'<a id="go" href="{server.address}">label</a>') as port:
        browser.get(f"http://localhost:{port}/")  # another site than 127.0.0.1: a strict cookie is not sent along its links
        browser.find_element("id", "go").click()
        ready(browser)


ATTACK = """<script>
window.found = [];
const base = "http://127.0.0.1:{port}";
const note = (name) => [(answer) => answer.text().then((text) => found.push(name + text)), () => found.push("")];
const tries = [
  fetch(base + "/api/sitting", {{credentials: "include"}}),
  fetch(base + "/api/sitting", {{credentials: "include", mode: "no-cors"}}),
  fetch(base + "/api/label", {{method: "POST", credentials: "include", mode: "no-cors", body: {body!r}}}),
  fetch(base + "/api/label", {{method: "POST", credentials: "include", headers: {{"x-csrf-token": "x"}}, body: {body!r}}}),
].map((each) => each.then(...note("read ")));
Promise.all(tries).then(() => document.title = "done");
</script><iframe id="frame" src="http://127.0.0.1:{port}/"></iframe>"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_site_can_neither_answer_nor_read_nor_frame(browser, run, host):
    """On 127.0.0.1 the other site is the same site to cookies, which know no ports: there only the CSRF token and CORS stand in the way."""
    with served(run) as (server, sitting):
        browser.get(server.address)
        ready(browser)
        body = f'{{"card": "{sitting.next().id}", "answer": "y", "seconds": 1, "replays": 0}}'
        with elsewhere(ATTACK.format(port=server.port, body=body)) as port:
            browser.get(f"http://{host}:{port}/")
            until(lambda: browser.title == "done", "the attack does not end")
            assert [found for found in browser.execute_script("return found") if "csrf" in found] == []
            until(lambda: browser.execute_script("return document.readyState") == "complete", "no page")
            browser.switch_to.frame("frame")
            assert not browser.find_elements("id", "instruction")
        assert labels_of(run, "ann") == {}
