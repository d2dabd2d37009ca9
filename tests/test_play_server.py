"""The page that a world is played on over the wire: who is let in, who drives, what is refused and how. A real server; no browser."""

import io
import json
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from labelled import Client
from PIL import Image
from played import played, pressed_game, robot_game
from tiny import task_file, world_model

from worldsim.data.trajectory_file import read_trajectory
from worldsim.experiments.cli import main
from worldsim.serving.guard import HEADERS


class Tab(Client):
    """A tab of a browser: enters, sits down, sends what it is told."""

    def sit(self):
        self.csrf = json.loads(self.ask("/api/keys")[2])["csrf"]
        self.about = self.post("/api/sit", seat=None)[1]
        self.seat = self.about["seat"]
        return self

    def post(self, path, seat="", **body):
        body |= {} if seat is None else {"seat": seat or self.seat}
        status, _, answer = self.ask(path, json.dumps(body).encode(), content_type="application/json", x_csrf_token=self.csrf)
        return status, json.loads(answer)

    def picture(self, path):
        status, headers, content = self.ask(path)
        assert (status, headers["content-type"]) == (200, "image/png")
        return np.asarray(Image.open(io.BytesIO(content)))


@pytest.fixture
def tab(tmp_path):
    """A tab that drives, of a running server."""
    game = robot_game()
    with played(game, tmp_path / "out") as server:
        tab = Tab(server).enter().sit()
        tab.game = game
        yield tab


@pytest.mark.parametrize("path", ["/", "/page.js", "/base.js", "/base.css", "/api/keys", "/imagined/0.png", "/truth/0.png", "/nosuch"])
def test_nobody_without_the_cookie_sees_anything(tab, path):
    status, headers, body = Tab(tab.server).ask(path)
    assert (status, body[:9]) == (403, b"refused: ")
    assert headers["content-security-policy"] == HEADERS["content-security-policy"]


@pytest.mark.parametrize("path", ["step", "begin", "tune", "unroll", "record", "sit"])
def test_another_site_can_ask_for_nothing(tab, path):
    body = json.dumps({"seat": tab.seat, "at": 0}).encode()
    for headers in ({"x_csrf_token": "x"}, {"x_csrf_token": tab.csrf, "origin": "http://evil.example"}):
        assert tab.ask(f"/api/{path}", body, content_type="application/json", **headers)[0] == 403
    assert tab.game.latest.id == 0
    assert tab.post("/api/step", at=0)[0] == 200  # and nobody was driven out


def test_a_step_over_the_wire_is_a_step_of_the_game(tab):
    assert tab.about["controls"]["axes"][0] == {"name": "x", "low": -1, "high": 1, "rest": 0, "held": False}
    assert [each["id"] for each in tab.about["moments"]] == [0]
    status, told = tab.post("/api/step", at=0, push={"x": 1, "z": -0.5})
    moment = tab.game.story.moment(1)
    assert status == 200
    assert (told["id"], told["parent"], told["step"], told["by"]) == (1, 0, 1, "you")
    assert told["action"] == [1, 0, -0.5] == moment.action.tolist()
    assert told["apart"] == round(moment.apart, 2)
    assert told["states"] == {"opening": round(float(moment.truth.states["opening"]), 4)}
    assert np.array_equal(tab.picture("/imagined/1.png"), moment.frame)
    assert np.array_equal(tab.picture("/truth/1.png"), moment.truth.frame)
    assert tab.post("/api/unroll", at=1) == (200, {"counts": [3, 2]})
    assert np.array_equal(tab.picture("/unrolled/1/0/2.png"), moment.frame)
    assert tab.ask("/unrolled/1/0/3.png")[0] == 404
    assert tab.post("/api/begin", start=2, seed=5)[1]["moment"]["seed"] == 5
    assert tab.post("/api/step", at=2, by="same")[1]["action"] == [0.25] * 3


def test_what_is_recorded_is_on_disk_and_readable(tab, tmp_path):
    assert tab.post("/api/record", at=0)[0] == 400
    tab.post("/api/step", at=0, push={"x": 1})
    status, told = tab.post("/api/record", at=1)
    assert status == 200
    assert [len(read_trajectory(path)) for path in told["files"]] == [1, 1]
    (tmp_path / "out" / "imagined").rename(tmp_path / "kept")
    (tmp_path / "out" / "imagined").write_text("a file where the folder was")
    assert tab.post("/api/record", at=1)[0] == 507


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("step", {"at": 99}, "frame 99 is not held"),
        ("step", {"at": 0, "push": {"q": 1}}, 'no component "q"'),
        ("step", {"at": 0, "push": {"x": 2}}, "from -1 to 1"),
        ("step", {"at": 0, "by": "nobody"}, 'no policy "nobody"'),
        ("begin", {"start": 3}, "starts 0 to 2, not 3"),
        ("tune", {"steps": 1000, "guidance": 1, "history": "stream"}, "200 steps"),
        ("unroll", {"at": 0}, "was given"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tab, path, body, words):
    status, told = tab.post(f"/api/{path}", **body)
    assert status == 400
    assert words in told["detail"]
    assert "\n" not in told["detail"]


WRONG = [b"", b"y", b"[]", b"{", b"\xff", b"null", b"[" * 4000]
FIELDS = [{"at": "0"}, {"at": -1}, {"at": 0, "push": {"x": float("nan")}}, {"at": 0, "push": {"x": "1"}}, {"at": 0, "more": 1}, {}]


def test_bad_json_is_refused_in_one_line_and_moves_nothing(tab):
    bodies = WRONG + [json.dumps({"seat": tab.seat, **fields}).encode() for fields in FIELDS]
    for body in bodies:
        status, _, answer = tab.ask("/api/step", body, content_type="application/json", x_csrf_token=tab.csrf)
        assert status in (400, 422), body
        assert "\n" not in json.loads(answer)["detail"]
    assert tab.ask("/api/step", b"x" * 5000, content_type="application/json", x_csrf_token=tab.csrf)[0] == 413
    assert tab.game.latest.id == 0


@pytest.mark.parametrize(("keys", "status"), [(["w", "space"], 200), (["q"], 400), (["w"] * 17, 422)])
def test_keys_of_a_world_that_is_driven_by_them(tmp_path, keys, status):
    game = pressed_game()
    with played(game, tmp_path) as server:
        tab = Tab(server).enter().sit()
        assert tab.about["controls"]["kind"] == "presses"
        assert tab.post("/api/step", at=0, keys=keys, clicks=["left"], mouse_x=30)[0] == status
        assert sum(game.latest.action) == 2 + 1 + 2 if status == 200 else game.latest.id == 0


def test_the_tab_that_came_last_drives(tab):
    earlier = tab.seat
    tab.sit()
    for path in ("step", "record", "unroll"):
        assert tab.post(f"/api/{path}", seat=earlier, at=0) == (409, {"detail": "another tab or window drives now"})
    assert tab.post("/api/step", seat="", at=0)[0] == 200
    assert [each["id"] for each in tab.sit().about["moments"]] == [0, 1]


def test_an_answer_leaves_at_once(tab):
    """What asyncio takes for TCP is sent without Nagle's delay, and it goes by the protocol that the socket was made with."""
    assert tab.server._server._socket.proto == socket.IPPROTO_TCP


# --- the command ---


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("play")
    return {"world": str(world_model(folder / "small")), "task": str(task_file(folder / "task.h5")), "out": str(folder / "out")}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["world_model=drawr"], 'did you mean "drawer"'),
        (["world_model={world}"], 'no task is called "small"'),
        (["world_model={world}", "task={task}", "truth=nowhere"], 'unknown truth "nowhere"'),
        (["world_model={world}", "task={task}", "start=9"], "starts 0 to 4, not 9"),
        (["world_model={world}", "task={task}", "steps=0"], "at least 1"),
        (["world_model={world}", "task={task}", "port=99999"], "port 99999 cannot be used"),
        (["world_model={world}", "task=drawer"], "does not fit the world model"),
        (["world_model={world}", "task={task}", "policy=convergd", "port=99999"], "port 99999"),  # no policy is loaded yet
    ],
)
def test_a_wrong_request_ends_in_one_line(files, capsys, arguments, words):
    assert main(["play", "open=false", f"out={files['out']}", *(each.format(**files) for each in arguments)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_game_ends_with_one_line(files, number):
    keys = ["open=false", f"world_model={files['world']}", f"task={files['task']}", f"out={files['out']}"]
    command = [sys.executable, "-m", "worldsim.experiments.cli", "play", *keys]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while "Ctrl-C ends it" not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
            address = line.split()[-1]

        class Server:
            port = int(address.split(":")[2].split("/")[0])

        Server.address = address
        tab = Tab(Server).enter().sit()
        assert tab.about["pilots"] == []  # nobody who ships fits this world
        assert tab.post("/api/step", at=0, push={"x": 1})[0] == 200
        process.send_signal(number)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    assert out == f"stopped; what was recorded is in {files['out']}\n"


def test_the_benchmark_counts_frames_over_the_wire_and_says_what_it_lacks(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    out = tmp_path / "play.json"
    assert main(["bench", "parts=[play]", f"world_model={files['world']}", f"task={files['task']}", f"out={out}"]) == 0
    numbers = json.loads(out.read_text())
    assert numbers["play_fps"]["wire"] > 0
    assert "browser" not in numbers["play_fps"]
    assert numbers["play_worlds"] == ["imagined"]
    assert "skipped: no browser" in capsys.readouterr().out
