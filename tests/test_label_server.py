"""The label page against those who should not use it, blind to those who do. A real server on a free port; no browser."""

import errno
import io
import json
import re
import socket
from dataclasses import replace

import av
import numpy as np
import pytest
from labelled import INSTRUCTION, SECRETS, Client, config, make_run, served
from PIL import Image

from worldsim.labelling.app import ranged
from worldsim.labelling.deck import Choice
from worldsim.labelling.label import content_of
from worldsim.labelling.ledger import labels_of
from worldsim.labelling.question import Question
from worldsim.report.run_folder import RunFolder
from worldsim.serving.guard import HEADERS, LARGEST_BODY


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "runsecret")


@pytest.fixture
def page(run):
    """A client that has entered, of a running server."""
    with served(run) as (server, sitting):
        client = Client(server).enter()
        client.csrf = json.loads(client.ask("/api/sitting")[2])["csrf"]
        client.sitting = sitting
        yield client


def card_of(page):
    return json.loads(page.ask("/api/card")[2])["card"]


def body_of(id, **changes):
    return json.dumps({"card": id, "answer": "y", "seconds": 1.0, "replays": 0, **changes}).encode()


def post(page, body, path="/api/label", **headers):
    return page.ask(path, body, **{"content_type": "application/json", "x_csrf_token": page.csrf, **headers})[0]


# --- who is let in ---

EVERYWHERE = [
    "/",
    "/page.js",
    "/page.css",
    "/player.js",
    "/api/sitting",
    "/api/card",
    "/clip/x.mp4",
    "/nosuch",
    "/enter",
    "/enter?token=",
    "/docs",
]


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize("cookie", ["", "worldsim-label=x", "={}", "é=ü"])
def test_nobody_without_the_cookie_sees_anything(page, path, cookie):
    stranger = Client(page.server, cookie.format(page.cookie.partition("=")[2]).encode().decode("latin-1"))
    status, headers, body = stranger.ask(path)
    assert status == 403
    assert body.startswith(b"refused: ")
    assert "set-cookie" not in headers


def test_the_token_is_no_cookie_and_the_cookie_no_token(page):
    name = page.cookie.partition("=")[0]
    assert Client(page.server, f"{name}={page.token}").ask("/")[0] == 403
    assert Client(page.server).ask(f"/enter?token={page.cookie.partition('=')[2]}")[0] == 403


def test_the_token_lets_in_one_browser_once(run):
    with served(run) as (server, _):
        client = Client(server)
        for wrong in ("x", client.token[:-1], client.token + "x", client.token.swapcase(), "%ff", f"x&token={client.token}"):
            assert client.ask(f"/enter?token={wrong}")[0] == 403
        assert client.ask(f"/enter?token={client.token}", method="HEAD")[0] == 403  # a preview does not use it up
        status, headers, body = client.ask(f"/enter?token={client.token}")
        assert status == 200
        cookie = headers["set-cookie"]
        assert all(flag in cookie.lower() for flag in ("httponly", "samesite=strict", "path=/"))
        assert client.token not in cookie + body.decode()
        assert client.ask(f"/enter?token={client.token}")[0] == 403
        assert client.ask("/")[0] == 403
        client.cookie = cookie.split(";")[0]
        assert client.ask("/")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "0.0.0.0:{port}",
        "localhost:x",
        "",
        "127.1",
    ],
)
def test_another_host_is_refused_with_cookie_and_all(page, host):
    assert page.ask("/", host=host.format(port=page.server.port))[0] in (400, 403)
    assert page.ask(f"/enter?token={page.token}", host=host.format(port=page.server.port))[0] in (400, 403)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "localhost:8080", "localhost"])
def test_the_loopback_by_name_is_let_in_also_through_a_tunnel(page, host):
    assert page.ask("/", host=host.format(port=page.server.port))[0] == 200


def raw(port, text):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text.encode())
        return connection.makefile("rb").readline().decode()


def test_two_hosts_or_none_are_refused(page):
    for hosts in ("Host: 127.0.0.1\r\nHost: evil.example\r\n", ""):
        answer = raw(page.server.port, f"GET / HTTP/1.1\r\n{hosts}Cookie: {page.cookie}\r\nConnection: close\r\n\r\n")
        assert answer.split()[1] in ("400", "403")


def test_the_server_listens_on_the_loopback_only(page):
    assert page.server._socket.getsockname()[0] == "127.0.0.1"


# --- who may answer ---


@pytest.mark.parametrize(
    "headers",
    [
        {"x_csrf_token": ""},
        {"x_csrf_token": "x"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"host": "evil.example"},
        {"cookie": ""},
    ],
)
def test_an_answer_from_elsewhere_is_refused_and_not_kept(page, run, headers):
    card = card_of(page)["id"]
    assert post(page, body_of(card), **headers) == 403
    assert post(page, b"{}", "/api/finish", **headers) == 403
    assert labels_of(run, "ann") == {}
    assert post(page, body_of(card), origin=f"http://127.0.0.1:{page.server.port}", sec_fetch_site="same-origin") == 200
    assert len(labels_of(run, "ann")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": "yes"},
        {"answer": None},
        {"seconds": -1},
        {"seconds": "1"},
        {"seconds": 1e300},
        {"replays": 1.5},
        {"replays": -1},
        {"extra": 1},
        {"card": 7},
        {"card": "x" * 100},
    ],
)
def test_an_answer_that_cannot_be_is_refused_and_not_kept(page, run, changes):
    assert post(page, body_of(card_of(page)["id"], **changes)) == 422
    assert labels_of(run, "ann") == {}


@pytest.mark.parametrize("body", [b"", b"y", b"[]", b"{", b"\xff", b'{"card": NaN}', b"[" * 4000])
def test_bodies_that_are_no_answer_are_refused(page, run, body):
    assert post(page, body) in (400, 422)
    assert labels_of(run, "ann") == {}


def test_a_form_is_no_answer(page):
    assert post(page, body_of(card_of(page)["id"]), content_type="text/plain") == 422


def test_long_bodies_and_bodies_of_unknown_length_are_refused_unread(page):
    head = f"POST /api/label HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {page.cookie}\r\nX-Csrf-Token: {page.csrf}\r\nConnection: close\r\n"
    for length in (LARGEST_BODY + 1, 10**15):
        assert " 413 " in raw(page.server.port, f"{head}Content-Length: {length}\r\n\r\n")
    assert " 411 " in raw(page.server.port, f"{head}Transfer-Encoding: chunked\r\n\r\n")
    assert " 411 " in raw(page.server.port, f"{head}\r\n")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(page, method):
    assert page.ask("/", method=method)[0] == 405


def test_the_end_needs_an_answer_to_every_clip(page):
    assert post(page, b"{}", "/api/finish") == 409


# --- what is there to be seen ---


@pytest.mark.parametrize(
    "path",
    [
        "/clip/../config.yaml",
        "/clip/..%2f..%2fconfig.yaml.mp4",
        "/clip/%2e%2e/%2e%2e/config.yaml",
        "/clip/episodesecret-is00.mp4",
        "/clip/episodesecret-is00/first.png",
        "/clip/1.mp4",
        "/reference/{card}.mp4",
        "/other/{card}.mp4",
        "/clip/{card}/middle.png",
        "/clip/{card}",
        "/api/card/episodesecret-is00",
        "/api/card/..%2f..",
        "//etc/passwd",
        "/page.html",
        "/app.py",
        "/../app.py",
        "/docs",
        "/openapi.json",
    ],
)
def test_there_is_nothing_beside_the_clips(page, path):
    status, _, body = page.ask(path.format(card=card_of(page)["id"]))
    assert status in (404, 422)
    assert b"root:" not in body
    assert b"identity" not in body


def test_a_card_of_another_sitting_is_not_here(page, run, tmp_path):
    with served(make_run(tmp_path / "other"), "bob") as (server, _):
        other = card_of(Client(server).enter())["id"]
    for path in (f"/clip/{other}.mp4", f"/api/card/{other}"):
        assert page.ask(path)[0] == 404
    assert post(page, body_of(other)) == 404


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/api/card", "/nosuch", "/clip/{card}.mp4", "/clip/{card}/last.png"])
def test_every_answer_carries_the_headers_that_forbid(page, path):
    for client in (page, Client(page.server)):  # refusals too
        _, headers, _ = client.ask(path.format(card=card_of(page)["id"]))
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert "server" not in headers
        assert len(headers.get_all("cache-control")) == 1


def test_the_policy_allows_no_inline_code_and_no_frame():
    policy = dict(part.split(" ", 1) for part in HEADERS["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_the_page_needs_nothing_inline_and_nothing_from_elsewhere(page):
    text = "".join(page.ask(path)[2].decode() for path in ("/", "/page.js", "/player.js", "/page.css"))
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:|https?://|innerHTML|insertAdjacentHTML|\beval\b", text)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == [""]


@pytest.mark.parametrize("layout", ["single", "pair"])
def test_nothing_that_is_sent_tells_policy_world_start_or_name(run, layout):
    """Everything the page can ask for, headers included, before and after all is labelled; videos and pictures byte for byte."""
    with served(run, choice=Choice(layout=layout)) as (server, _):
        page = Client(server).enter()
        page.csrf = json.loads(page.ask("/api/sitting")[2])["csrf"]
        seen = [page.ask(path) for path in ("/", "/page.js", "/player.js", "/page.css", "/api/sitting", "/nosuch")]
        while card := card_of(page):
            sides = ("clip", "reference") if layout == "pair" else ("clip",)
            seen += [page.ask(f"/{side}/{card['id']}{part}") for side in sides for part in (".mp4", "/first.png", "/last.png")]
            seen += [page.ask("/api/card"), page.ask(f"/api/card/{card['id']}")]
            seen.append(page.ask("/api/label", body_of(card["id"]), content_type="application/json", x_csrf_token=page.csrf))
        assert len(seen) > 60
        assert {status for status, *_ in seen} == {200, 404}
        everything = b"".join(str(headers).encode() + body for _, headers, body in seen).lower()
    assert not [secret for secret in SECRETS if secret.encode() in everything]


def test_hostile_instructions_are_only_text(tmp_path):
    evil = '<img src=x onerror="alert(1)">\x1b]0;owned\x07 \u202eevil'
    with served(make_run(tmp_path / "run", instruction=evil), question=Question("ever", "<b>\x1b[31mred</b>\nsecond")) as (server, _):
        page = Client(server).enter()
        status, headers, body = page.ask("/api/card")
        assert headers["content-type"] == "application/json"
        shown = json.loads(body)["card"]["instruction"]
        assert shown == '<img src=x onerror="alert(1)">\\x1b]0;owned\\x07 \\u202eevil'
        assert json.loads(page.ask("/api/sitting")[2])["rubric"] == "<b>\\x1b[31mred</b>\nsecond"
        assert b"onerror" not in page.ask("/")[2]


# --- clips ---


def test_the_video_is_the_episode(page, run):
    card = card_of(page)
    episode = run.episode(page.sitting.card(card["id"]).entry.episode)
    content = page.ask(f"/clip/{card['id']}.mp4")[2]
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 8)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert frames.shape == (len(episode.frames), 256, 256, 3)
    assert np.abs(frames[:, ::4, ::4].astype(int) - episode.frames).mean() < 4
    for end, index in (("first", 0), ("last", -1)):
        still = np.asarray(Image.open(io.BytesIO(page.ask(f"/clip/{card['id']}/{end}.png")[2])))
        assert np.array_equal(still[::4, ::4], episode.frames[index])


def test_a_browser_can_seek(page):
    path = f"/clip/{card_of(page)['id']}.mp4"
    whole = page.ask(path)
    assert whole[1]["accept-ranges"] == "bytes"
    status, headers, part = page.ask(path, range="bytes=10-19")
    assert (status, headers["content-range"], part) == (206, f"bytes 10-19/{len(whole[2])}", whole[2][10:20])


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        (None, 200, b"0123456789"),
        ("bytes=0-", 206, b"0123456789"),
        ("bytes=3-5", 206, b"345"),
        ("bytes=3-99", 206, b"3456789"),
        ("bytes=-4", 206, b"6789"),
        ("bytes=-99", 206, b"0123456789"),
        ("bytes=9-9", 206, b"9"),
        ("bytes=10-", 416, b""),
        ("bytes=-0", 416, b""),
        ("bytes=5-3", 416, b""),
        ("bytes=-", 200, b"0123456789"),
        ("bytes=0-1,3-4", 200, b"0123456789"),
        ("lines=0-1", 200, b"0123456789"),
        ("bytes=" + "9" * 400 + "-", 200, b"0123456789"),
    ],
)
def test_a_range_of_bytes(asked, status, part):
    answer = ranged(b"0123456789", asked)
    assert (answer.status_code, answer.body) == (status, part)


def test_a_clip_that_is_damaged_meanwhile_is_said_and_nothing_else_breaks(page, run):
    card = card_of(page)
    torn = card["after"]
    file = run.episode_path(page.sitting.card(torn).entry.episode)
    file.write_bytes(b"torn")
    for path in (f"/clip/{torn}.mp4", f"/clip/{torn}/last.png", f"/api/card/{torn}"):
        status, _, body = page.ask(path)
        assert status == 410
        assert file.name.encode() not in body
    assert post(page, body_of(torn)) == 410
    assert page.ask("/api/card")[0] == 200
    assert page.sitting.done == 0


def test_a_label_is_of_what_was_shown_not_of_what_lies_there_meanwhile(page, run):
    card = card_of(page)
    episode = page.sitting.card(card["id"]).entry.episode
    shown = run.episode(episode)
    with RunFolder.open(run.path, config()) as writer:
        writer.add_episode(episode, replace(shown, frames=255 - shown.frames))  # played again while the rater looks at it
    assert post(page, body_of(card["id"])) == 200
    assert labels_of(run, "ann")[episode].content == content_of(shown) != content_of(run.episode(episode))


def test_an_answer_that_cannot_be_written_does_not_count(page, run, monkeypatch):
    card = card_of(page)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "add_verdicts", full)
        status, _, body = page.ask("/api/label", body_of(card["id"]), content_type="application/json", x_csrf_token=page.csrf)
        assert (status, b"not saved (No space left" in body) == (507, True)
    assert card_of(page) == card
    assert post(page, body_of(card["id"])) == 200


# --- the work ---


def test_answers_lead_from_clip_to_clip_and_are_kept_at_once(page, run):
    seen = []
    while card := card_of(page):
        seen.append(card)
        assert card["instruction"] == INSTRUCTION
        assert post(page, body_of(card["id"], seconds=2.125, replays=3)) == 200
        label = labels_of(run, "ann")[page.sitting.card(card["id"]).entry.episode]
        assert (label.answer, label.seconds, label.replays, label.order) == ("y", 2.12, 3, len(seen))
        assert label.asked == Question().digest
    assert [card["place"] for card in seen] == list(range(1, 11))
    assert [card["before"] for card in seen[1:]] == [card["id"] for card in seen[:-1]]
    assert seen[0]["before"] is seen[-1]["after"] is None
    end = json.loads(page.ask("/api/card")[2])
    assert (end["card"], end["done"], end["counts"], end["last"]) == (None, 10, {"y": 10, "n": 0, "u": 0}, seen[-1]["id"])
    assert post(page, body_of(seen[4]["id"], answer="u")) == 200
    assert json.loads(page.ask(f"/api/card/{seen[4]['id']}")[2])["card"]["label"] == "u"
