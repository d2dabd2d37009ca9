"""Our policies served to others: the same actions as in the process, episodes kept apart, and a server that survives its clients."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("websockets")
pytest.importorskip("msgpack")

from servers import running
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.load import part_facts
from worldsim.policies.remote.codec import OPENPI, pack, unpack
from worldsim.policies.remote.faults import NoServer
from worldsim.policies.remote.serving import PolicyServer, describe, listening_address
from worldsim.policies.remote.sessions import MOST_LEFT, Sessions
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, Start, Task

SPEC = ActionSpec(("x", "y"), (-1.0, -1.0), (1.0, 1.0), 5.0, "tool", "none", "none")
FRAME = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


class Counter:
    """Remembers: its actions are how often it was asked in this lane, and its lane's seed, over 100."""

    def __init__(self) -> None:
        self.action, self.asked, self.begun = SPEC, {}, []

    def reset(self, lanes, tasks, seeds):
        self.begun += [(lane, task.instruction, seed) for lane, task, seed in zip(lanes, tasks, seeds, strict=True)]
        self.asked |= {lane: [0, seed] for lane, seed in zip(lanes, seeds, strict=True)}

    def act(self, frames, lanes):
        if frames[0].max() == 255:
            raise RuntimeError("a secret path")
        for lane in lanes:
            self.asked[lane][0] += 1
        return np.float32([self.asked[lane] for lane in lanes]) / 100


class Planner(Counter):
    """Plans three actions."""

    def plan(self, frames, lanes):
        return np.repeat(self.act(frames, lanes)[:, None], 3, axis=1)


@contextmanager
def serving(policy, secret=None, most=4096):
    server = PolicyServer(Sessions(policy, most), describe(policy, "test", None), secret)
    with server.listening("127.0.0.1", 0) as listener, running(listener) as port:
        yield port


@contextmanager
def client(port: int, **options):
    """A plain openpi client, as anybody's harness has it; gives (ask, metadata)."""
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None, **options) as line:
        metadata = unpack(line.recv(5), OPENPI)

        def ask(**message):
            line.send(pack({"observation/image": FRAME, "prompt": "go"} | {key: v for key, v in message.items() if v is not ...}, OPENPI))
            return unpack(line.recv(5), OPENPI)["actions"]

        ask.line = line
        yield ask, metadata


def counts(actions: np.ndarray) -> list[int]:
    """(times asked, seed) as the counter tells them."""
    return [round(100 * float(number)) for number in actions[0]]


def test_a_server_says_what_it_serves():
    with serving(Counter()) as port, client(port) as (_, metadata):
        about = metadata["worldsim"]
    assert ActionSpec(**about["action"]) == SPEC
    assert (about["frame"], about["chunk"], about["version"]) == (None, 1, 1)
    assert describe(Planner(), "p", (64, 64))["worldsim"]["chunk"] is None


def test_a_server_says_which_policy_it_serves_and_tells_no_path():
    def told(facts):
        return describe(Counter(), "p", None, facts)["worldsim"]["facts"]

    facts = told({"name": "rt1", "path": "/home/me/rt1", "adapters": [{"name": "clip", "table": "C:\\mine"}], "steps": 3, "half": None})
    assert (facts["name"], facts["steps"], facts["half"], facts["adapters"][0]["name"]) == ("rt1", 3, None, "clip")
    assert not any(path in json.dumps(facts) for path in ("/", "mine"))
    assert facts["path"] != told({"path": "/home/me/rt2"})["path"]


def test_two_policies_at_one_port_are_two_policies():
    known = []
    for facts in ({"sha256": "a"}, {"sha256": "b"}, {"sha256": "b"}):
        server = PolicyServer(Sessions(Counter()), describe(Counter(), "test", None, facts))
        with server.listening("127.0.0.1", 0) as listener, running(listener) as port:
            known.append(part_facts(POLICIES, {"name": "openpi", "port": port})["server"])
    assert known[0] != known[1] == known[2]


def test_a_stock_client_has_one_episode_per_connection():
    policy = Counter()
    with serving(policy) as port:
        with client(port) as (first, _), client(port) as (second, _):
            assert [counts(first()), counts(first()), counts(second())] == [[1, 0], [2, 0], [1, 0]]
            assert counts(first(reset=True, seed=7)) == [1, 7]
            assert first().dtype == np.float32
        with client(port) as (third, _):
            assert counts(third()) == [1, 0]
    assert max(lane for lane, _, _ in policy.begun) < 2  # lanes are used again
    assert policy.begun[0] == (0, "go", 0)


def test_episodes_with_an_id_outlive_their_connection_and_answers_are_repeated():
    with serving(Counter()) as port:
        with client(port) as (ask, _):
            assert counts(ask(episode_id="a", step=0, seed=3)) == [1, 3]
            assert counts(ask(episode_id="b", step=0)) == [1, 0]
            assert counts(ask(episode_id="a", step=1, seed=3)) == [2, 3]
        with client(port) as (ask, _):
            assert counts(ask(episode_id="a", step=1, seed=3)) == [2, 3]  # again, and not acted twice
            assert counts(ask(episode_id="a", step=2, seed=3)) == [3, 3]
            assert counts(ask(episode_id="a", step=0, seed=4)) == [1, 4]
            assert counts(ask(episode_id="a", step=0, seed=3)) == [1, 3]  # an id may be used again
            assert counts(ask(episode_id="a", reset=True)) == [1, 0]
            assert counts(ask(episode_id="a")) == [2, 0]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"episode_id": "new", "step": 3}, "not known here"),
        ({"step": -1}, "whole number"),
        ({"step": "1"}, "whole number"),
        ({"seed": 1.5}, "whole number"),
        ({"episode_id": [1]}, "episode_id"),
        ({"episode_id": "x" * 300}, "episode_id"),
        ({"prompt": 5}, "expected text"),
        ({"observation/image": ...}, "no picture"),
        ({"observation/image": FRAME.astype(np.float32)}, "no picture"),
        ({"observation/image": FRAME[..., :2]}, "no picture"),
        ({"observation/image": FRAME[:0]}, "no picture"),
    ],
)
def test_a_bad_request_gets_text_and_1011_and_the_server_goes_on(message, reason):
    with serving(Counter()) as port:
        with client(port) as (ask, _):
            ask.line.send(pack({key: v for key, v in ({"observation/image": FRAME} | message).items() if v is not ...}, OPENPI))
            said = ask.line.recv(5)
            assert isinstance(said, str)
            assert said.startswith("Traceback")
            assert reason in said.splitlines()[-1]
            with pytest.raises(ConnectionClosedError) as caught:
                ask.line.recv(5)
            assert caught.value.rcvd.code == 1011
        with client(port) as (ask, _):
            assert counts(ask()) == [1, 0]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91" * 5000, "text", b"\x80", pack([1], OPENPI), b"\x81\xa1a\xc6\xff\xff\xff\xff"])
def test_garbage_costs_a_connection_only(data):
    with serving(Counter()) as port:
        with client(port) as (ask, _):
            ask.line.send(data)
            assert isinstance(ask.line.recv(5), str)
        with client(port) as (ask, _):
            assert counts(ask()) == [1, 0]


def test_a_policy_that_breaks_tells_no_paths(capfd):
    with serving(Counter()) as port:
        with client(port) as (ask, _):
            ask.line.send(pack({"observation/image": np.full_like(FRAME, 255)}, OPENPI))
            said = ask.line.recv(5)
            assert "RuntimeError" in said
            assert "secret path" not in said
        with client(port) as (ask, _):
            assert counts(ask()) == [1, 0]
    assert "a secret path" in capfd.readouterr().err


class Lost(Counter):
    faults = {0: "its own server is gone"}

    def act(self, frames, lanes):
        return np.full((1, 2), np.nan, np.float32)


def test_a_policy_that_is_lost_never_answers_nan():
    with serving(Lost()) as port, client(port) as (ask, _):
        ask.line.send(pack({"observation/image": FRAME}, OPENPI))
        assert "its own server is gone" in ask.line.recv(5)


def test_the_episode_asked_for_longest_ago_is_forgotten_first():
    with serving(Counter(), most=2) as port, client(port) as (ask, _):
        for name in ("a", "b", "a", "c"):
            ask(episode_id=name)
        assert counts(ask(episode_id="a", step=2)) == [3, 0]
        ask.line.send(pack({"observation/image": FRAME, "episode_id": "b", "step": 1}, OPENPI))
        assert "not known here" in ask.line.recv(5)


def test_the_lanes_of_clients_that_are_gone_are_used_again():
    """120 episodes in two lanes of our client, each on a connection of its own, beside one that stays open all the while."""
    policy = Counter()
    with serving(policy) as port, client(port) as (ask, _):
        assert counts(ask(episode_id="stays", step=0, seed=1)) == [1, 1]
        remote = POLICIES.config("openpi", {"port": port}).build(SPEC)
        for seed in range(60):
            remote.reset([0, 1], [task("a")] * 2, [seed, seed])
            assert counts(remote.plan(FRAME[None], [1])[0]) == counts(remote.plan(FRAME[None], [0])[0]) == [1, seed]
        remote.close()
        assert counts(ask(episode_id="stays", step=1, seed=1)) == [2, 1]
    assert len(policy.begun) == 121
    assert max(lane for lane, _, _ in policy.begun) < MOST_LEFT + 10  # a few may be closing at the same time


def test_an_episode_that_moved_to_a_new_connection_stays_when_the_old_one_closes():
    sessions = Sessions(Counter())

    def ask(connection, name, step):
        return counts(sessions.answer({"image": FRAME, "episode_id": name, "step": step}, connection))

    ask(0, "moved", 0)
    ask(1, "moved", 1)
    sessions.end(0)
    for connection in range(2, 2 + 2 * MOST_LEFT):
        ask(connection, connection, 0)
        sessions.end(connection)
    assert ask(1, "moved", 2) == [3, 0]
    assert ask(9999, 2 + MOST_LEFT, 1) == [2, 0]  # the last few are still known
    with pytest.raises(InvalidInput, match="not known here"):
        ask(9999, 1 + MOST_LEFT, 1)


def test_health_and_keys_and_web_pages():
    with serving(Counter(), secret="hush") as port:
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).read() == b"OK\n"
        for headers in ({}, {"Authorization": "Api-Key no"}):
            with pytest.raises(InvalidStatus, match="401"), client(port, additional_headers=headers):
                pass
        with client(port, additional_headers={"Authorization": "Api-Key hush"}) as (ask, _):
            assert counts(ask()) == [1, 0]
    with serving(Counter()) as port, pytest.raises(InvalidStatus, match="403"), client(port, origin="http://evil.example"):
        pass


@pytest.mark.parametrize(("host", "port"), [("0.0.0.0", 0), ("10.1.2.3", 0), ("::", 0), ("127.0.0.1", -1), ("127.0.0.1", 70000)])
def test_other_machines_and_wrong_ports_need_leave(host, port):
    with pytest.raises(InvalidInput, match="allow_remote=true|65535"):
        listening_address(host, port, allow_remote=False)
    for fine in ("127.0.0.1", "localhost", "::1"):
        listening_address(fine, 0, allow_remote=False)
    listening_address("0.0.0.0", 0, allow_remote=True)


def test_a_port_that_is_taken():
    with (
        serving(Counter()) as port,
        pytest.raises(InvalidInput, match="port=0"),
        PolicyServer(Sessions(Counter()), {}).listening("127.0.0.1", port),
    ):
        pass


# through our own adapter


def task(instruction: str) -> Task:
    return Task("t", instruction, 10, (Start("s", FRAME[None]),))


@pytest.mark.parametrize("kind", [Counter, Planner])
def test_our_client_takes_what_the_server_says_of_its_actions(kind):
    with serving(kind()) as port:
        policy = POLICIES.config("openpi", {"port": port}).build(replace(SPEC, rate_hz=99.0))
        assert policy.action == SPEC  # never assumed to be the world's
        policy.reset([5, 2], [task("a"), task("b")], [11, 12])
        plans = [policy.plan(np.stack([FRAME, FRAME]), [5, 2]) for _ in range(2)]
        policy.reset([5], [task("c")], [13])
        third = policy.plan(np.stack([FRAME, FRAME]), [5, 2])
        policy.close()
    expected = np.float32([[[1, 11], [1, 12]], [[2, 11], [2, 12]], [[1, 13], [3, 12]]]) / 100
    length = 3 if kind is Planner else 1
    np.testing.assert_array_equal(np.stack([*plans, third]), np.repeat(expected[:, :, None], length, axis=2))


def test_a_convention_that_contradicts_the_server_is_refused():
    with serving(Counter()) as port, pytest.raises(InvalidInput, match="names, low, high"):
        POLICIES.config("openpi", {"port": port, "convention": "droid"}).build(SPEC)


def test_frames_of_another_size_are_refused_before_they_are_sent():
    policy = Counter()
    server = PolicyServer(Sessions(policy), describe(policy, "test", (64, 64)))
    with server.listening("127.0.0.1", 0) as listener, running(listener) as port:
        remote = POLICIES.config("openpi", {"port": port}).build(SPEC)
        remote.reset([0], [task("a")], [0])
        with pytest.raises(InvalidInput, match="size: .64, 64"):
            remote.plan(FRAME[None], [0])
        remote.close()
        fitted = POLICIES.config("openpi", {"port": port, "size": 64}).build(SPEC)
        fitted.reset([0], [task("a")], [0])
        assert fitted.plan(FRAME[None], [0]).shape == (1, 1, 2)
        fitted.close()


def test_a_lost_reply_does_not_make_a_policy_with_memory_act_twice():
    """The connection breaks after the request has arrived; the client asks again on a new one and gets the very same answer."""
    policy = Counter()
    with serving(policy) as port:
        remote = POLICIES.config("openpi", {"port": port, "backoff_seconds": 0.01}).build(SPEC)
        remote.reset([0], [task("a")], [9])
        remote.plan(FRAME[None], [0])
        wire = remote._lanes[0].line.wire
        receive, broken = wire._socket.receive, []

        def lose(seconds=None):
            broken.append(receive(seconds))
            wire.close()
            return receive(seconds)

        wire._socket.receive = lose
        answers = [counts(remote.plan(FRAME[None], [0])[0]) for _ in range(2)]
        remote.close()
    assert len(broken) == 1
    assert answers == [[2, 9], [3, 9]]
    assert not remote.faults


# the command


def started(*arguments: str) -> tuple[subprocess.Popen, int]:
    """`worldsim serve-policy` in a process of its own, and its port."""
    command = [sys.executable, "-m", "worldsim.experiments.cli", "serve-policy", *arguments, "port=0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    watch = threading.Timer(60, process.kill)
    watch.start()
    line = process.stdout.readline()
    watch.cancel()
    assert line.startswith("serving "), process.stderr.read()
    return process, int(line.split("127.0.0.1:")[1].split(";")[0])


@pytest.mark.slow
def test_the_shipped_policy_behind_a_socket_plays_a_whole_episode_exactly_as_in_the_process():
    import gymnasium as gym

    import worldsim

    process, port = started("converged")
    try:
        env = gym.make("worldsim/Drawer-v0")
        here = worldsim.load_policy("converged")
        there = POLICIES.config("openpi", {"port": port}).build(here.action)
        assert there.action == here.action
        task = env.unwrapped.task
        frame, _ = env.reset(seed=0)
        for policy in (here, there):
            policy.reset([0], [task], [0])
        truncated, steps = False, 0
        while not truncated:
            plan = there.plan(frame[None], [0])
            np.testing.assert_array_equal(plan[:, 0], here.act(frame[None], [0]))
            frame, _, terminated, truncated, _ = env.step(plan[0, 0])
            truncated, steps = truncated or terminated, steps + 1
        assert steps == task.horizon
        assert not there.faults
        there.close()
        env.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stdout.read() == "stopped\n"
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate(timeout=120)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["random"], "world_model=NAME"),
        (["replay"], "recorded starts only"),
        (["replay", "world_model=drawer"], "recorded starts only"),
        (["{name: replay, as: mine, adapters: [clip]}", "world_model=drawer"], '"mine" acts at recorded starts only'),
        (["convergd"], 'did you mean "converged"'),
        (["converged", "host=0.0.0.0"], "allow_remote=true"),
        (["converged", "port=-1"], "at least 0"),
        (["converged", "api_key_env=NOT_SET_ANYWHERE"], "export NOT_SET_ANYWHERE"),
        ([], "needs policy="),
    ],
)
def test_the_command_refuses_in_one_line(capsys, arguments, reason):
    assert cli.main(["serve-policy", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err


@pytest.mark.slow
def test_a_policy_without_actions_of_its_own_takes_a_worlds(monkeypatch):
    import worldsim

    monkeypatch.setenv("MY_KEY", "hush")
    process, port = started("random", "world_model=drawer", "api_key_env=MY_KEY")
    try:
        action = worldsim.load_policy("converged").action
        there = POLICIES.config("openpi", {"port": port, "api_key_env": "MY_KEY"}).build(action)
        here = worldsim.load_policy("random", action)
        for policy in (here, there):
            policy.reset([0, 1], [task("a")] * 2, [5, 6])
        for _ in range(3):
            np.testing.assert_array_equal(there.plan(np.stack([FRAME] * 2), [0, 1])[:, 0], here.act(np.stack([FRAME] * 2), [0, 1]))
        there.close()
        monkeypatch.setenv("MY_KEY", "no")
        with pytest.raises(NoServer, match="401") as caught:
            POLICIES.config("openpi", {"port": port, "api_key_env": "MY_KEY"}).build(action)
        assert "hush" not in str(caught.value)
        process.terminate()  # what a supervisor sends ends it as cleanly as Ctrl-C
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate(timeout=120)


@pytest.mark.slow
def test_an_evaluation_over_a_socket_is_the_evaluation_in_the_process(tmp_path, capsys):
    """The same episodes, bit by bit; and an episode whose server is lost is left unscored while the others go on.

    One at a time, as a served policy sees one frame at a time and networks round differently in batches.
    """
    from servers import FailingServer

    from worldsim.data.trajectory_file import read_trajectory, trajectory_paths

    process, port = started("converged")
    try:
        with FailingServer({}).listening() as failing:
            failing.sound = 5  # enough to be taken for a policy; then every request fails
            lost = f"{{name: openpi, port: {failing.port}, as: lost, robot: worldsim, retries: 0, convention: {{names: [x, y, z], "
            lost += "low: [-1, -1, -1], high: [1, 1, 1], rate_hz: 10}}"
            policies = f"policies=[converged, {{name: openpi, port: {port}, as: remote}}, {lost}]"
            run = tmp_path / "run"
            assert cli.main(["evaluate", policies, "episodes=2", "batch=1", f"run={run}", "report=false"]) == 0, capsys.readouterr().err
    finally:
        process.kill()
        process.communicate(timeout=120)
    found = [read_trajectory(path) for path in trajectory_paths(run / "episodes")]
    played = {(each.metadata["policy"], each.start_id): each for each in found}
    starts = {start for _, start in played}
    assert len(starts) == 2
    for start in starts:
        np.testing.assert_array_equal(played["remote", start].actions, played["converged", start].actions)
        np.testing.assert_array_equal(played["remote", start].frames, played["converged", start].frames)
        assert "no GPU" in played["lost", start].metadata["fault"]
    results = json.loads((run / "results.json").read_text())["policies"]
    assert {each["name"]: (each["scored"], each["unscored"]) for each in results} == {"converged": (2, 0), "remote": (2, 0), "lost": (0, 2)}
