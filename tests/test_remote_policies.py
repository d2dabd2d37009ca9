"""Policies behind a network, against real servers on loopback: what they send, what they make of answers, and what is left of failures."""

import _thread
import base64
import hashlib
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("websockets")
pytest.importorskip("msgpack")
pytest.importorskip("zmq")

import servers
from servers import FailingServer, bare_server, frame_of, gr00t_server, harness_handler, http_server, json_of, rule, websocket_server

from worldsim.data.conventions import CONVENTIONS, action_convention
from worldsim.errors import InvalidInput, UnknownName, WorldsimError
from worldsim.load import load_policy, part_facts
from worldsim.policies.remote import json_arrays
from worldsim.policies.remote.codec import OPENPI, pack, unpack
from worldsim.policies.remote.faults import NoServer, shown
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, ChunkPolicy, Start, Task

XYZ = {"names": ["x", "y", "z"], "low": [-1.0] * 3, "high": [1.0] * 3, "rate_hz": 10.0}
QUICK = {"connect_seconds": 2.0, "reply_seconds": 2.0, "backoff_seconds": 0.01, "retries": 2}
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
IMPATIENT = {"connect_seconds": 0.4, "reply_seconds": 0.4}
VICTIM, OTHER = 4, 7  # lanes


def task(instruction: str) -> Task:
    return Task("t", instruction, 10, (Start("s", FRAMES[:1]),))


def built(name: str, number: int, **options):
    """A policy of a test server that gives actions of three numbers."""
    given = {"port": number, "convention": XYZ, **QUICK, **options}
    return POLICIES.config(name, given).build(ActionSpec(**XYZ))


def openpi(number: int, **options):
    return built("openpi", number, **{"robot": "worldsim", **options})


def begun(policy):
    policy.reset([VICTIM, OTHER], [task("victim"), task("other")], [1, 2])
    return policy


def frames_at(step: int) -> np.ndarray:
    return FRAMES + np.uint8(step)


def check_lane(policy, lane: int, row: int, plan: np.ndarray, step: int) -> None:
    """The right plan, or NaN and a line; never anything else."""
    if lane in policy.faults:
        assert np.isnan(plan).all()
        assert 0 < len(policy.faults[lane]) < 600
        assert policy.faults[lane].isprintable()
    else:
        np.testing.assert_array_equal(plan, rule(frames_at(step)[row], ("victim", "other")[row]))


@pytest.fixture
def server():
    with FailingServer().listening() as failing:
        yield failing
    assert not failing.events


# faults: each ends in a recovered retry or in a line, and disturbs nobody else

TIMES = (1, 2, 3)  # failures in a row, of three attempts
KINDS = [*servers.REQUEST_FAULTS, *servers.STALLING, "drop after the reply"]
DOORS = [
    "http",
    "refused",
    "no metadata",
    "text for metadata",
    "metadata that is no map",
    "metadata that is no msgpack",
    "closed at once",
    "cut at once",
]


def play(policy, steps: int = 4):
    """Ask for a few plans and check both lanes of each; the bystander must never be lost."""
    for step in range(steps):
        plans = policy.plan(frames_at(step), [VICTIM, OTHER])
        check_lane(policy, VICTIM, 0, plans[0], step)
        check_lane(policy, OTHER, 1, plans[1], step)
        assert OTHER not in policy.faults
    return policy.faults


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_fails_is_asked_again_and_then_given_up(server, kind):
    draw, policy = random.Random(kind), openpi(server.port, **(IMPATIENT if kind in servers.STALLING else {}))
    for times in TIMES:
        begun(policy)
        good = draw.randrange(3)
        server.script.extend([None] * good + [kind] * times)
        lost = times == 3 and kind != "drop after the reply"
        assert bool(play(policy)) == lost, policy.faults
        server.script.clear()
    begun(policy)
    assert not play(policy)
    policy.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", DOORS)
def test_a_server_that_cannot_be_reached_again(server, kind):
    policy = openpi(server.port, **(IMPATIENT if kind == "no metadata" else {}))
    for tries in (1, 2):  # of two attempts after the one that failed
        begun(policy)
        play(policy, steps=1)
        server.script.append("drop")
        if kind == "refused":
            connect, left = policy._connect, [tries]
            server.shut()

            def counted(connect=connect, left=left):
                left[0] -= 1
                if left[0] == -1:
                    server.open()
                return connect()

            policy._connect = counted
        else:
            server.doors.extend([kind] * tries)
        assert bool(play(policy)) == (tries == 2), policy.faults
        if kind == "refused":
            policy._connect = connect
            if tries == 2:
                server.open()
        server.script.clear()
        server.doors.clear()
    policy.close()


def test_these_are_hundreds_of_faults():
    assert sum(TIMES) * len(KINDS) + (1 + 1 + 1 + 2) * len(DOORS) >= 200


@pytest.mark.parametrize("name", ["openpi", "gr00t"])
def test_ctrl_c_waits_for_no_server(name):
    """Two lanes wait for a server that has all the time of the world; an interruption gets through at once."""
    options = {"reply_seconds": 60.0, "connect_seconds": 5.0}
    over = threading.Event()

    def silent(endpoint, data):
        return over.wait(20) and {} if endpoint == "get_action" else {}

    with FailingServer().listening() as server, gr00t_server(silent) as gr00t:
        if name == "openpi":
            policy = begun(openpi(server.port, **options))
            policy.plan(FRAMES, [VICTIM, OTHER])
            server.answers = False
        else:
            policy = begun(built("gr00t", gr00t, **options, robot=None, images={"video|image": "frame"}))
            policy._length = 1
        threading.Timer(0.5, _thread.interrupt_main).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            policy.plan(FRAMES, [VICTIM, OTHER])
        assert time.monotonic() - began < 5
        over.set()
        policy.close()


def test_a_lane_that_is_lost_comes_back_when_it_is_reset(server):
    policy = begun(openpi(server.port, retries=0))
    server.script.append("NaN")
    assert list(play(policy)) == [VICTIM]
    assert "not finite" in policy.faults[VICTIM]
    policy.reset([VICTIM], [task("victim")], [1])
    assert not play(policy)
    policy.close()


def test_the_servers_own_words_are_shown_without_control_characters(server):
    policy = begun(openpi(server.port, retries=0))
    server.script.append("traceback")
    play(policy)
    assert "ValueError: CUDA out of memory" in policy.faults[VICTIM]
    policy.close()


def test_a_server_that_reads_nothing_holds_nobody_up():
    """A request larger than all buffers: sending must give up as well."""
    over = threading.Event()

    def deaf(line):
        asked = line.recv(65536).decode()
        key = next(row.split(": ")[1] for row in asked.split("\r\n") if row.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        answer = f"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        line.sendall(answer.encode() + frame_of(pack({}, OPENPI)))
        if heard:  # the first one only asks what is served
            over.wait(15)
        heard.append(line)

    heard = []
    with bare_server(deaf) as port:
        policy = openpi(port, retries=0, size=4096, reply_seconds=0.4)
        policy.reset([VICTIM], [task("victim")], [0])
        began = time.monotonic()
        policy.plan(FRAMES[:1], [VICTIM])  # 48 MiB
        assert time.monotonic() - began < 10
        assert "asking" in policy.faults[VICTIM]
        over.set()
        policy.close()


def test_a_server_with_memory_is_not_asked_twice(server):
    policy = begun(openpi(server.port, stateful=True))
    server.script.extend([None, "drop"])
    assert "memory" in play(policy)[VICTIM]
    begun(policy)
    server.script.append("drop")  # the first request of an episode may be repeated
    assert not play(policy)
    policy.close()


def test_a_server_that_is_gone_loses_all_lanes_and_nothing_else(server):
    policy = openpi(server.port)
    server.shut()
    server.gone.set()
    begun(policy)
    plans = policy.plan(FRAMES, [VICTIM, OTHER])
    assert plans.shape == (2, 1, 3)
    assert np.isnan(plans).all()
    assert set(policy.faults) == {VICTIM, OTHER}
    policy.close()


def test_clipping_is_asked_for(server):
    policy = begun(openpi(server.port, out_of_range="clip", retries=0))
    server.script.append("out of range")
    plans = policy.plan(frames_at(0), [VICTIM, OTHER])
    expected = rule(frames_at(0)[0], "victim")
    expected[-1, 0] = 1
    np.testing.assert_array_equal(plans[0], expected)
    server.script.append("NaN")
    assert np.isnan(policy.plan(frames_at(1), [VICTIM, OTHER])[0]).all()  # clipping never hides what is not finite
    policy.close()


# openpi


def test_lanes_are_what_they_are_alone(server):
    policy = begun(openpi(server.port))
    assert isinstance(policy, ChunkPolicy)
    both = policy.plan(FRAMES, [VICTIM, OTHER])
    begun(policy)
    np.testing.assert_array_equal(policy.plan(FRAMES[::-1], [OTHER, VICTIM])[::-1], both)
    begun(policy)
    np.testing.assert_array_equal(policy.plan(FRAMES[:1], [VICTIM])[0], both[0])
    with pytest.raises(InvalidInput, match="lane 9 was never reset"):
        policy.plan(FRAMES[:1], [9])
    policy.close()


def test_episodes_are_told_apart(server):
    policy = begun(openpi(server.port))
    play(policy, steps=2)
    policy.reset([VICTIM], [task("victim")], [2**64 - 1])
    policy.plan(FRAMES[:1], [VICTIM])
    asked = [(each["episode_id"], each["step"], each["reset"], each["seed"]) for each in server.requests if each["prompt"] == "victim"]
    assert [each[1:] for each in asked] == [(0, True, 1), (1, False, 1), (0, True, 2**64 - 1)]
    assert asked[0][0] == asked[1][0] != asked[2][0]
    assert len({each["episode_id"] for each in server.requests}) == 3
    policy.close()


@pytest.mark.parametrize("connection", ["lane", "shared"])
def test_connections_are_one_each_or_one_for_all(connection):
    seen = []

    def handle(line):
        seen.append(line)
        line.send(pack({}, OPENPI))
        for data in line:
            message = unpack(data, OPENPI)
            line.send(pack({"actions": rule(message["observation/image"], message["prompt"])}, OPENPI))

    with websocket_server(handle) as port:
        policy = begun(openpi(port, connection=connection))
        play(policy)
        assert len(seen) == 1 + {"lane": 2, "shared": 1}[connection]  # one to learn what is served
        begun(policy)
        play(policy)
        assert len(seen) == 1 + {"lane": 4, "shared": 1}[connection]
        policy.close()


def recording_handler(log: list, metadata: dict, actions: np.ndarray):
    def handle(line):
        log.append(line.request.headers.get("Authorization"))
        line.send(pack(metadata, OPENPI))
        for data in line:
            log.append(unpack(data, OPENPI))
            line.send(pack({"actions": actions}, OPENPI))

    return handle


def test_droids_keys_are_those_of_openpis_example(monkeypatch):
    monkeypatch.setenv("MY_KEY", "hush")
    log, wrist = [], "observation/wrist_image_left"
    state = {"observation/joint_position": [0.1] * 7, "observation/gripper_position": [0.5]}
    with websocket_server(recording_handler(log, {}, np.zeros((10, 8), np.float32))) as port:
        config = {
            "port": port,
            "robot": "droid",
            "convention": "droid",
            "images": {wrist: "black"},
            "state": state,
            "api_key_env": "MY_KEY",
        }
        policy = POLICIES.config("openpi", config).build()
        assert "hush" not in repr(POLICIES.config("openpi", config))
        policy.reset([0], [task("open the drawer")], [0])
        assert policy.plan(FRAMES[:1], [0]).shape == (1, 10, 8)
        policy.close()
    assert log[:2] == ["Api-Key hush"] * 2
    message = log[2]
    assert message["prompt"] == "open the drawer"
    assert message["observation/exterior_image_1_left"].shape == message[wrist].shape == (224, 224, 3)
    assert message["observation/exterior_image_1_left"].any()
    assert not message[wrist].any()
    np.testing.assert_array_equal(message["observation/joint_position"], np.float32([0.1] * 7))
    assert policy.action == CONVENTIONS["droid"].action


def test_a_planar_picture_in_a_nested_map_for_aloha():
    log = []
    joints = {"names": [f"j{i}" for i in range(14)], "low": [-4.0] * 14, "high": [4.0] * 14, "rate_hz": 50.0}
    with websocket_server(recording_handler(log, {}, np.zeros((5, 14)))) as port:
        policy = built("openpi", port, robot="aloha", convention=joints, state={"state": [0.0] * 14})
        policy.reset([0], [task("x")], [0])
        assert policy.plan(FRAMES[:1], [0]).dtype == np.float32
        policy.close()
    assert log[2]["images"]["cam_high"].shape == (3, 224, 224)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"robot": "droid"}, "picture observation/wrist_image_left"),
        ({"robot": "droid", "images": {"observation/wrist_image_left": "black"}}, "observation/joint_position .7 numbers"),
        ({"robot": "libero", "images": {"observation/wrist_image": "frame"}, "state": {"observation/state": [0.0]}}, "list of 8 numbers"),
        ({"robot": "libero", "images": {"observation/wrist_image": "white"}}, "frame"),
        ({"robot": "driod"}, 'did you mean "droid"'),
        ({"robot": None}, "which keys"),
        ({"convention": None}, "what do the server's actions mean"),
        ({"convention": "brigde"}, 'did you mean "bridge"'),
        ({"convention": {"names": ["x"]}}, "needs names, low, high"),
        ({"convention": {"name": "bridge", "hights": [1.0]}}, 'did you mean "high"'),
        ({"convention": {**XYZ, "low": ["a", 0.0, 0.0]}}, "needs names"),
        ({"convention": {**XYZ, "low": [2.0, 0.0, 0.0]}}, "smaller one first"),
        ({"convention": {**XYZ, "rate_hz": float("nan")}}, "low <= high"),
        ({"convention": {**XYZ, "names": [1, 2, 3]}}, "names that are text"),
        ({"connection": "shard"}, 'did you mean "shared"'),
        ({"connection": "shared", "stateful": True}, "without memory"),
        ({"host": "10.0.0.1"}, "allow_remote=true"),
        ({"host": "example.org"}, "allow_remote=true"),
        ({"host": "ws://127.0.0.1"}, "without ws://"),
        ({"port": "8000"}, "whole number"),
        ({"port": 80000}, "65535"),
        ({"reply_seconds": 0}, "at least"),
        ({"retries": True}, "whole number"),
        ({"size": "big"}, "side of pictures"),
        ({"api_key_env": "NOT_SET_ANYWHERE"}, "export NOT_SET_ANYWHERE"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(server, options, reason):
    with pytest.raises((InvalidInput, UnknownName), match=reason) as caught:
        openpi(server.port, **options)
    assert "\n" not in str(caught.value)


def test_free_keys(server):
    policy = openpi(server.port, robot=None, images={"observation/image": "frame"}, prompt="prompt", state={"extra": [1.0, 2.0]})
    assert not play(begun(policy))
    policy.close()


# who is there


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as line:
        return line.getsockname()[1]


@pytest.mark.parametrize("name", ["openpi", "vla-eval", "gr00t", "roboarena", "autoeval", "openvla-rest"])
def test_nobody_is_there(name):
    options = {"gr00t": {"state": {}, "robot": None, "images": {"video|image": "frame"}}, "openpi": {"robot": "worldsim"}}.get(name, {})
    with pytest.raises(NoServer, match="nothing listens at 127.0.0.1.*expected .*; start the server or type port="):
        built(name, free_port(), **options)


def test_a_web_server_is_there():
    with (
        http_server(lambda path, body: (200, b"{}")) as port,
        pytest.raises(NoServer, match='an HTTP server "Test" that answers HTTP/1.1 404'),
    ):
        openpi(port)


def test_somebody_else_is_there():
    with bare_server(lambda line: line.sendall(b"SSH-2.0-OpenSSH_9\r\n")) as port:
        with pytest.raises(NoServer, match="SSH-2.0-OpenSSH_9"):
            openpi(port)
        with pytest.raises(NoServer, match="expected a GR00T policy server"):
            built("gr00t", port, robot=None, images={"video|image": "frame"})


def test_the_harness_is_there_where_openpi_was_expected():
    with websocket_server(harness_handler([], lambda payload: [0.0] * 3)) as port, pytest.raises(NoServer, match="no answer in time"):
        openpi(port)


def test_a_redirection_to_another_place_is_not_followed(server):
    def redirect(connection, request):
        response = connection.respond(302, "")
        response.headers["Location"] = f"ws://127.0.0.1:{server.port}/"
        return response

    with websocket_server(lambda line: None, process_request=redirect) as port, pytest.raises(NoServer):
        openpi(port)
    assert not server.requests


# RoboArena


def test_roboarena_says_what_it_wants_and_is_reset():
    log = []
    wants = {"image_resolution": [16, 20], "needs_wrist_camera": True, "n_external_cameras": 1, "needs_stereo_camera": False}
    wants |= {"needs_session_id": True, "action_space": "joint_velocity"}

    def handle(line):
        line.send(pack(wants, OPENPI))
        for data in line:
            message = unpack(data, OPENPI)
            log.append(message)
            line.send("reset successful" if message.pop("endpoint") == "reset" else pack(np.full((4, 8), 0.5, np.float32), OPENPI))

    state = {"observation/joint_position": [0.0] * 7, "observation/gripper_position": [0.0]}
    with websocket_server(handle) as port:
        with pytest.raises(InvalidInput, match="observation/wrist_image_left"):
            built("roboarena", port, convention=None)
        policy = built("roboarena", port, convention=None, images={"observation/wrist_image_left": "black"}, state=state)
        policy.reset([0], [task("close it")], [3])
        np.testing.assert_array_equal(policy.plan(FRAMES[:1], [0]), np.full((1, 4, 8), 0.5, np.float32))
        with pytest.raises(InvalidInput, match="batch=1"):
            policy.reset([1], [task("close it")], [3])
        policy.close()
    assert policy.action == CONVENTIONS["droid"].action
    assert log[1]["observation/exterior_image_0_left"].shape == (16, 20, 3)
    assert log[1]["session_id"].shape == (1,)


@pytest.mark.parametrize(
    "wants", [{}, {"n_external_cameras": 9}, {"n_external_cameras": 0}, {"n_external_cameras": 1, "image_resolution": "x"}]
)
def test_an_openpi_server_is_no_roboarena_server(wants):
    with FailingServer(wants).listening() as server, pytest.raises(InvalidInput, match="camera"):
        built("roboarena", server.port)


@pytest.mark.parametrize(
    "about",
    [
        5,
        {"version": 2},
        {"version": 1, "action": 5},
        {"version": 1, "action": {"names": ["x"]}},
        {"version": 1, "action": {**XYZ, "high": ["a"] * 3}},
        {"version": 1, "action": {**XYZ, "extra": 1}},
        {"version": 1, "action": XYZ, "frame": "big"},
        {"version": 1, "action": XYZ, "frame": [64]},
    ],
)
def test_a_server_that_describes_itself_badly_is_refused(about):
    with FailingServer({"worldsim": about}).listening() as server, pytest.raises((InvalidInput, UnknownName)) as caught:
        POLICIES.config("openpi", {"port": server.port, **QUICK}).build(ActionSpec(**XYZ))
    assert "\n" not in str(caught.value)


# vla-evaluation-harness


def test_the_harness_is_asked_as_its_own_client_asks():
    log = []
    with websocket_server(harness_handler(log, lambda payload: rule(payload["images"]["primary"], payload["task_description"])[0])) as port:
        policy = begun(built("vla-eval", port))
        for step in range(2):
            plans = policy.plan(frames_at(step), [VICTIM, OTHER])
            for row, word in enumerate(("victim", "other")):
                np.testing.assert_array_equal(plans[row], rule(frames_at(step)[row], word)[:1])
        policy.close()
    assert [each["type"] for each in log if each["type"] != "observation"].count("episode_start") == 2
    assert {frozenset(each) for each in log} == {frozenset(("type", "payload", "seq", "timestamp"))}
    assert log[0]["payload"]["protocol_version"] == 1


@pytest.mark.parametrize("given", ["observation_failed: RuntimeError: CUDA", [[0.0] * 2], [True] * 3, None, {"a": 1.0}])
def test_the_harness_fails(given):
    with websocket_server(harness_handler([], lambda payload: given)) as port:
        policy = begun(built("vla-eval", port))
        assert np.isnan(policy.plan(FRAMES, [VICTIM, OTHER])).all()
        assert set(policy.faults) == {VICTIM, OTHER}
        assert not isinstance(given, str) or "CUDA" in policy.faults[VICTIM]
        policy.close()


# GR00T


def gr00t_answer(log: list, later: bool = False):
    import msgpack

    def answer(endpoint, data):
        log.append((endpoint, data))
        if endpoint != "get_action":
            return {"status": "ok"}
        plan = rule(data["observation"]["video"]["image"][0, 0], data["observation"]["language"]["text"][0][0])
        parts = {name: np.ascontiguousarray(plan[None, :, i : i + 1]) for i, name in enumerate("xyz")}
        if not later:
            return [parts, {}]
        fields = {
            name: {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": each.shape, b"data": each.tobytes()} for name, each in parts.items()
        }
        return msgpack.packb([fields, {}])

    return answer


@pytest.mark.parametrize("later", [False, True])
def test_gr00t_is_asked_as_its_own_client_asks(later, monkeypatch):
    monkeypatch.setenv("MY_KEY", "hush")
    log = []
    options = {
        "robot": None,
        "images": {"video|image": "frame"},
        "prompt": "language|text",
        "state": {"state|x": [0.5]},
        "actions": ["x", "y", "z"],
    }
    with gr00t_server(gr00t_answer(log, later), token="hush") as port:
        policy = begun(built("gr00t", port, **options, api_key_env="MY_KEY"))
        for step in range(2):
            plans = policy.plan(frames_at(step), [VICTIM, OTHER])
            for row, word in enumerate(("victim", "other")):
                np.testing.assert_array_equal(plans[row], rule(frames_at(step)[row], word))
        policy.close()
        with pytest.raises(NoServer, match="Unauthorized"):
            built("gr00t", port, **options)
    assert [each for each, _ in log].count("reset") == 2
    observation = next(data for each, data in log if each == "get_action")["observation"]
    assert observation["video"]["image"].shape == (1, 1, 8, 8, 3)
    assert (observation["state"]["x"].shape, observation["state"]["x"].dtype) == ((1, 1, 1), np.float32)


@pytest.mark.parametrize(
    "given", [{"error": "CUDA"}, [{}, {}], {}, [1], b"ERROR", b"", [{"x": np.zeros((1, 2, 1), int)}, {}], [{"x": np.zeros((2, 1))}, {}]]
)
def test_gr00t_fails(given):
    options = {"robot": None, "images": {"video|image": "frame"}, "prompt": "language|text", "actions": ["x"], "retries": 1}
    with gr00t_server(lambda endpoint, data: given if endpoint == "get_action" else {}) as port:
        policy = built("gr00t", port, **options, convention={**XYZ, "names": ["x"], "low": [-1.0], "high": [1.0]})
        policy.reset([0], [task("x")], [0])
        assert np.isnan(policy.plan(FRAMES[:1], [0])).all()
        assert 0 in policy.faults
        policy.close()


def test_gr00t_stalls_and_recovers():
    log, slow = [], [True]

    def answer(endpoint, data):
        if endpoint == "get_action" and slow:
            slow.pop()
            time.sleep(0.8)
        return gr00t_answer(log)(endpoint, data)

    options = {
        "robot": None,
        "images": {"video|image": "frame"},
        "prompt": "language|text",
        "actions": ["x", "y", "z"],
        "connect_seconds": 2,
    }
    with gr00t_server(answer) as port:
        policy = built("gr00t", port, **options)
        policy.reset([0], [task("victim")], [0])
        np.testing.assert_array_equal(policy.plan(FRAMES[:1], [0])[0], rule(FRAMES[0], "victim"))
        policy.close()


# REST


def test_openvlas_server_is_asked_and_its_statistics_say_what_actions_mean():
    asked, given = [], np.array([0.01, -0.02, 0.03, 0.1, -0.2, 0.2, 1.0])

    def answer(path, body):
        asked.append((path, body))
        return 200, json_arrays.dumps(given)

    with http_server(answer) as port:
        policy = built("openvla-rest", port, unnorm_key="bridge_orig", convention=None)
        policy.reset([0, 1], [task("put it down")] * 2, [0, 0])
        plans = policy.plan(FRAMES, [0, 1])
        policy.close()
    np.testing.assert_array_equal(plans, np.tile(given.astype(np.float32), (2, 1, 1)))
    assert policy.action == CONVENTIONS["bridge"].action
    assert {path for path, _ in asked} == {"/act"}
    body = asked[0][1]
    assert (body["instruction"], body["unnorm_key"], body["image"].dtype, body["image"].shape) == (
        "put it down",
        "bridge_orig",
        np.uint8,
        (8, 8, 3),
    )


@pytest.mark.parametrize(("missing", "name"), [(False, "autoeval"), (True, "autoeval"), (False, "octo")])
def test_autoeval_is_reset_where_it_can_be(missing, name):
    asked = []

    def answer(path, body):
        asked.append(path)
        if path == "/reset":
            return (404, b"{}") if missing else (200, json_of({"status": "reset successful"}))
        return 200, json_of([0.0] * 6 + [1]) if name == "autoeval" else json_arrays.dumps(np.float32([0] * 6 + [1]))

    with http_server(answer) as port:
        config = {"port": port, **QUICK} | ({"convention": "bridge"} if name == "autoeval" else {})
        policy = POLICIES.config(name, config).build()
        policy.reset([0], [task("x")], [0])
        np.testing.assert_array_equal(policy.plan(FRAMES[:1], [0])[0, 0], np.float32([0] * 6 + [1]))
        with pytest.raises(InvalidInput, match="batch=1"):
            policy.reset([1], [task("x")], [0])
        policy.close()
    assert asked[:2] == ["/reset", "/act"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'"error"'),
        (500, json_of({"detail": "Error processing request."})),
        (302, b""),
        (200, b"<html>"),
        (200, json_of([0.0] * 6)),
        (200, b"[NaN, 0, 0, 0, 0, 0, 0]"),
        (200, json_of([0.0] * 6 + [2.0])),
        (200, json_of(["0"] * 7)),
        (200, b""),
        (200, b"[" * 5000),
    ],
)
def test_rest_servers_fail(status, body):
    with http_server(lambda path, asked: (status, body) if path == "/act" else (200, b"{}")) as port:
        policy = built("autoeval", port, convention="bridge")
        policy.reset([0], [task("x")], [0])
        assert np.isnan(policy.plan(FRAMES[:1], [0])).all()
        assert 0 < len(policy.faults[0]) < 600
        policy.close()


def read_request(line) -> bool:
    """Read a whole request with JSON in it, as a line that is closed before is reset; False where nobody asks."""
    said = b""
    while not said.endswith(b"}"):
        more = line.recv(65536)
        if not more:
            return False
        said += more
    return True


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"1"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n1\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"1"),  # a body that ends with the connection
        (b"HTTP/1.1 200 OK\r\nX: ", b"1"),
        (b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n"),
        (b"HTTP/1.1 ", b"1"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b""),  # nothing at all
    ],
)
def test_a_rest_server_that_stalls_or_drips(head, drop):
    """Every drop comes in good time, all of them never do."""
    over = threading.Event()

    def drip(line):
        if not read_request(line):
            return
        line.sendall(head)
        try:
            while not over.wait(0.1):
                line.sendall(drop)
        except OSError:
            pass

    with bare_server(drip) as port:
        policy = built("openvla-rest", port, convention="bridge", retries=0, reply_seconds=0.4)
        policy.reset([0], [task("x")], [0])
        rescue = threading.Timer(20, over.set)
        rescue.start()
        assert np.isnan(policy.plan(FRAMES[:1], [0])).all()
        assert not over.is_set()
        rescue.cancel()
        over.set()
        assert "no answer in time" in policy.faults[0]
        policy.close()


def test_a_rest_server_behind_tls(tmp_path, monkeypatch):
    """A certificate that this machine trusts is needed; and a server that never shakes hands holds nobody up."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    making = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(["openssl", *making.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def answer(line):
        try:
            with context.wrap_socket(line, server_side=True) as secure:
                read_request(secure)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n[0, 0, 0, 0, 0, 0, 1]")
        except OSError:
            pass

    def plan(port, **options):
        policy = built("openvla-rest", port, convention="bridge", retries=0, tls=True, **options)
        policy.reset([0], [task("x")], [0])
        return policy.plan(FRAMES[:1], [0]), policy.faults.get(0, "")

    with bare_server(answer) as port:
        assert "CERTIFICATE_VERIFY_FAILED" in plan(port)[1]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        np.testing.assert_array_equal(plan(port)[0][0, 0], np.float32([0, 0, 0, 0, 0, 0, 1]))
    with bare_server(lambda line: line.recv(1) and over.wait(5)) as port:
        over = threading.Event()
        assert "no answer in time" in plan(port, reply_seconds=0.3)[1]
        over.set()


def test_a_rest_server_that_hangs_up_in_the_middle():
    def half(line):
        if read_request(line):
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[0, 0, 0, 0, 0, 0, 1]")

    with bare_server(half) as port:
        policy = built("openvla-rest", port, convention="bridge", retries=0)
        policy.reset([0], [task("x")], [0])
        assert np.isnan(policy.plan(FRAMES[:1], [0])).all()
        assert "IncompleteRead" in policy.faults[0]
        policy.close()


# small parts


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_is_sound_and_has_a_source(name):
    action = action_convention(name)
    assert all(low < high for low, high in zip(action.low, action.high, strict=True))
    assert len(CONVENTIONS[name].source) > 20
    wider = action_convention({"name": name, "high": [9.0] * action.size})
    assert wider == replace(action, high=(9.0,) * action.size)


def test_what_a_server_says_is_shown_short_clean_and_without_the_secret():
    said = shown("a" * 5000 + "\x1b[31m\x00\n  key hush \u202e end", "hush", 40)
    assert said.isprintable()
    assert said.endswith("key *** end")
    assert len(said) <= 44


def test_no_error_is_anything_but_ours():
    assert issubclass(NoServer, WorldsimError)


def test_patience_does_not_make_it_another_policy_but_the_server_does(server, monkeypatch):
    monkeypatch.setenv("KEY", "hush")
    with FailingServer({"model": "b"}).listening() as other:
        facts = [
            part_facts(POLICIES, {"name": "openpi", "port": server.port, **more})
            for more in (
                {},
                {"retries": 5, "reply_seconds": 9.0, "api_key_env": "KEY"},
                {"port": other.port},
                {"adapters": ["clip"]},
                {"label": "mine"},
            )
        ]
    assert facts[0] == facts[1] == {"name": "openpi", "port": server.port}
    assert facts[0] not in facts[2:]


def test_another_policy_at_the_same_port_is_another_policy(server):
    """What the server says of it counts; what changes with every connection does not."""

    def facts(said):
        server.metadata = said
        return part_facts(POLICIES, {"name": "openpi", "port": server.port})

    first = facts({"model": "a", "steps": 5, "timestamp": 1.5, "info": {"connectedAt": "today", "session_id": "x", "tensor": FRAMES}})
    assert first == facts({"timestamp": 2.5, "steps": 5, "model": "a", "info": {"connectedAt": "now", "session_id": "y"}})
    assert set(first) == {"name", "port", "server"}
    assert first != facts({"model": "b", "steps": 5, "info": {}})
    assert first != facts({"model": "a", "steps": 6, "info": {}})
    assert facts({"needs_session_id": True}) != facts({"needs_session_id": False})


def test_the_facts_of_other_wires():
    def said(metadata):
        with websocket_server(recording_handler([], metadata, None)) as port:
            return part_facts(POLICIES, {"name": "roboarena", "port": port})["server"]

    assert said({"n_external_cameras": 1}) == said({"n_external_cameras": 1}) != said({"n_external_cameras": 2})
    with websocket_server(harness_handler([], None)) as port:
        assert "server" in part_facts(POLICIES, {"name": "vla-eval", "port": port, "convention": "bridge"})
    for name in ("gr00t", "openvla-rest", "autoeval"):  # these say nothing, and are not called
        assert part_facts(POLICIES, {"name": name, "port": 9, "label": "a"}) == {"name": name, "port": 9, "label": "a"}


@pytest.mark.parametrize("name", ["openpi", "vla-eval", "roboarena"])
def test_the_facts_of_nobody_are_refused_as_the_policy_is(name):
    spec = {"name": name, "port": free_port(), "convention": "bridge"}
    with pytest.raises(NoServer) as facts:
        part_facts(POLICIES, spec)
    with pytest.raises(NoServer) as policy:
        load_policy(spec)
    assert str(facts.value) == str(policy.value)
