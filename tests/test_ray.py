"""`executor=ray`: results are those of one process, whatever dies on the way; what cannot be had is refused in one line."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
import tiny
import tiny_runs
from fake_ray import FakeRay

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.experiments import cli, ray_cluster, ray_workers
from worldsim.experiments.ray_dispatch import TRIES, Dispatch
from worldsim.experiments.ray_player import Player
from worldsim.experiments.schema import EvaluateConfig
from worldsim.report.run_folder import RunFolder

LIMIT = 300  # seconds that a command has, on a busy machine
RAY = ["executor=ray", "workers=2"]
STRICT = "determinism=strict"


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """The parts of an evaluation; commands run inside their folder."""
    monkeypatch.chdir(tmp_path)
    return tiny_runs.parts(tmp_path)


@pytest.fixture
def fake(monkeypatch):
    """Ray is a fake that answers in this process."""
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_workers, "connected", lambda *given: nullcontext())
    monkeypatch.setattr(ray_workers, "room", lambda *given: 2)
    yield ray
    logging.getLogger("worldsim").handlers.clear()


def command(run: str, *more: str, task: str = "task.h5") -> list[str]:
    keys = ["world_model=world", "policies=[a,random]", f"task={task}", "verifier=judge", "report=false"]
    return ["evaluate", *keys, f"run={run}", *more]


def episodes_of(run: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(run).rglob("episodes/*.h5")}


def results_of(run: str) -> dict:
    found = json.loads(Path(run, "results.json").read_text())
    return {key: value for key, value in found.items() if key not in ("throughput", "sha256")}


def assert_same(one: str, other: str) -> None:
    assert episodes_of(one) == episodes_of(other)
    assert results_of(one) == results_of(other)
    for path in Path(one).rglob("verdicts/*.jsonl"):
        assert sorted(path.read_text().split("\n")) == sorted(Path(other, path.relative_to(one)).read_text().split("\n"))


class Squares:
    """An actor's class: squares numbers, and knows what it was prepared with."""

    def prepare(self, *given):
        if given == ("bad",):
            raise WorldsimError("unfit")
        self.given = given

    def square(self, number):
        if number < 0:
            raise InvalidInput("negative") if number == -1 else ZeroDivisionError("a fault")
        return number**2 + self.given[0]


def dispatch(ray: FakeRay, monkeypatch, *start, room: int = 2) -> Dispatch:
    monkeypatch.setitem(sys.modules, "ray", ray)
    return Dispatch(Squares, start or (0,), {"num_cpus": 1}, room)


def squares(found: Dispatch, *numbers: int) -> dict:
    return dict(found.each("square", [(number,) for number in numbers], [1] * len(numbers)))


def test_every_piece_is_answered_once_under_its_number(monkeypatch):
    found = dispatch(ray := FakeRay(), monkeypatch, 100)
    assert found.hire(2)
    assert not found.hire(1)
    assert squares(found, 3, 1, 4, 1, 5) == {0: 109, 1: 101, 2: 116, 3: 101, 4: 125}
    assert (ray.made, ray.options) == (2, {"max_restarts": 0, "num_cpus": 1})


def test_a_lost_piece_goes_to_another_actor_and_the_dead_one_is_replaced(monkeypatch, caplog):
    calls = Counter()

    def dies(method, given):
        calls[given] += 1
        return method == "square" and given in ((2,), (3,)) and calls[given] < TRIES

    found = dispatch(ray := FakeRay(dies), monkeypatch)
    found.hire(2)
    assert squares(found, 1, 2, 3, 4) == {0: 1, 1: 4, 2: 9, 3: 16}
    assert ray.killed == 4
    assert ray.made == 6
    assert [record.getMessage() for record in caplog.records[:1]] == ["a Ray worker died; its 1 episodes are played again, try 2 of 3"]
    assert len(caplog.records) == 4


def test_a_piece_that_kills_every_actor_ends_the_run_in_one_line(monkeypatch):
    found = dispatch(ray := FakeRay(lambda method, given: given == (7,)), monkeypatch)
    found.hire(1)
    with pytest.raises(WorldsimError, match=r"3 Ray workers died over the same 1 episodes \(unexpectedly\).* smaller batch=$"):
        squares(found, 1, 7)
    assert ray.killed == TRIES


def test_what_a_method_raises_is_raised_as_it_would_be_here(monkeypatch):
    found = dispatch(FakeRay(), monkeypatch)
    found.hire(2)
    with pytest.raises(InvalidInput, match="negative"):
        squares(found, 1, -1)
    with pytest.raises(Exception, match="a fault"):
        squares(found, -2, 1, 1)
    assert squares(found, 2, 3, 4) == {0: 4, 1: 9, 2: 16}  # what was left halfway is nobody's answer


def test_actors_that_cannot_begin_end_the_run_in_one_line(monkeypatch, caplog):
    with pytest.raises(WorldsimError, match="no worker of the Ray cluster can begin"):
        dispatch(FakeRay(lambda method, given: method == "prepare"), monkeypatch).hire(2)
    with pytest.raises(WorldsimError, match="unfit"):
        dispatch(FakeRay(), monkeypatch, "bad").hire(1)
    with pytest.raises(WorldsimError, match="no room for one worker"):
        dispatch(FakeRay(), monkeypatch, room=0).hire(1)
    dispatch(FakeRay(), monkeypatch, room=1).hire(2)
    assert "room for 1 of 2 workers" in caplog.text


@pytest.mark.parametrize("more", [[STRICT], []])
def test_truth_and_probe_are_spread_too_with_the_results_of_one_process(parts, fake, more):
    more = [*more, "truth=slide", "probe=2", "probe_policy=a", "episodes=4", "batch=3"]
    with tiny_runs.slide():
        assert cli.main(command("here", "workers=1", *more)) == 0
        assert cli.main(command("spread", *RAY, *more)) == 0
    assert fake.made == 2
    if STRICT in more:
        assert_same("here", "spread")
    else:
        assert episodes_of("here").keys() == episodes_of("spread").keys()
    (row,) = RunFolder("spread").throughput()
    assert row["rollouts"] == 8
    assert min(row["seconds"].values()) >= 0


def test_a_finished_run_begins_no_worker_and_another_executor_resumes_it(parts, fake):
    assert cli.main(command("run", STRICT, "episodes=2")) == 0
    assert cli.main(command("run", STRICT, "episodes=2", *RAY)) == 0
    assert fake.made == 0
    assert cli.main(command("run", STRICT, "episodes=5", *RAY)) == 0
    assert fake.made == 2
    assert cli.main(command("whole", STRICT, "episodes=5")) == 0
    assert_same("whole", "run")


def test_a_machine_that_lacks_the_folder_or_has_other_parts_is_named(parts):
    config = EvaluateConfig(world_model="world", policies=["a"], task="task.h5", verifier="judge", episodes=2)
    with pytest.raises(WorldsimError, match=f"nowhere is not on {socket.gethostname()}"):
        Player().prepare(config, str(parts / "nowhere"), {})
    try:
        with pytest.raises(WorldsimError, match=r"has another seed \(0\) than the machine that asks \(1\)"):
            Player().prepare(config, str(parts), {"seed": 1})
    finally:
        logging.getLogger("worldsim").handlers.clear()


def test_a_command_without_a_gpu_leaves_it_to_the_workers(parts, fake, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cli.main(command("run", "device=cuda")) == 2
    assert fake.made == 0
    assert cli.main(command("run", "device=cuda", "episodes=2", *RAY)) == 2
    assert fake.made == 1
    assert fake.options == {"max_restarts": 0, "num_cpus": 1, "num_gpus": 1}
    assert capsys.readouterr().err.count('device "cuda" is not there') == 2


def test_scaling_is_timed_by_workers(parts, fake, capsys):
    words = ["parts=[scaling]", "world_model=world", "policies=[a]", "task=task.h5", "verifier=judge", "episodes=4"]
    assert cli.main(["bench", *words, "workers=[1,2]", "repeats=2"]) == 0
    found = json.loads(Path("bench.json").read_text())["scaling"]
    assert (found["rollouts"], found["batch"]) == (4, 1)  # a round or more for each of two workers, twice
    assert {way: len(runs) for way, runs in found["runs"].items()} == {"local": 2, "1": 2, "2": 2}
    assert found["rollouts_per_hour"] == {way: max(runs) for way, runs in found["runs"].items()}
    assert found["speedup"]["1"] == 1
    assert fake.made == 2 * (1 + 2)
    assert "Workers of one thread each" in capsys.readouterr().out


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ray_address=auto"], "type executor=ray beside it"),
        (["executor=ray", "ray_address=head"], 'ray_address is "head", expected HOST:PORT of the head node, auto, or null'),
        (["executor=ray", "ray_address=ray://head:1"], "expected HOST:PORT"),
        (["executor=ray", "device=cuda:1"], "Ray chooses the GPU of each worker"),
        (["executor=rays"], 'did you mean "ray"?'),
        (["executor=ray", "workers=-1"], "workers"),
    ],
)
def test_bad_keys_are_refused_in_one_line(parts, capsys, words, line):
    assert cli.main(command("run", *words)) == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
    assert not Path("run").exists()


def test_missing_ray_says_what_to_type(parts, capsys, monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    assert cli.main(command("run", *RAY)) == 1
    assert capsys.readouterr().err == 'worldsim: executor=ray needs Ray; type: pip install -c constraints.txt -e ".[ray]"\n'


def test_a_cluster_that_is_not_there_is_said_at_once(parts, capsys):
    address = f"127.0.0.1:{free_port()}"
    assert cli.main(command("run", *RAY, f"ray_address={address}", "episodes=1")) == 1
    assert f"no Ray cluster at {address}" in capsys.readouterr().err.splitlines()[-1]
    assert not Path("run").exists()
    assert cli.main(command("run", "episodes=1")) == 0
    assert cli.main(command("run", *RAY, f"ray_address={address}", "episodes=1")) == 0  # nothing is left to play


# With Ray itself. Its processes are found by /proc: those that descend from the command, whoever adopts them later.


def table() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process that is no zombie, by its number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (path / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            found |= {} if state == "Z" else {int(path.name): (int(parent), (path / "cmdline").read_text())}
        except (OSError, IndexError):
            continue
    return found


def descendants(root: int) -> dict[int, str]:
    """Command lines of all that descends from a process, by number."""
    running, found = table(), {root: ""}
    for _ in range(6):
        found |= {number: line for number, (parent, line) in running.items() if parent in found}
    return {number: line for number, line in found.items() if number != root}


def long(run: str, *more: str) -> list[str]:
    """A strict evaluation of episodes that last long enough to be met."""
    return command(run, STRICT, "episodes=8", *more, task="long.h5")


def begun(run: str) -> subprocess.Popen:
    """A strict evaluation on Ray as a process of its own."""
    program = "import sys; from worldsim.experiments.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", program, *long(run, *RAY)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True)


def wait_until(process: subprocess.Popen, seen) -> object:
    """What `seen` gives once it is true."""
    deadline = time.monotonic() + LIMIT
    while not (found := seen()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def playing(process: subprocess.Popen) -> list[int]:
    return [number for number, line in descendants(process.pid).items() if line.startswith("ray::Player.play")]


@pytest.fixture
def long_parts(parts):
    """With such episodes."""
    tiny.task_file(parts / "long.h5", starts=8, horizon=30)
    return parts


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.mark.slow
@needs_proc
def test_a_killed_worker_loses_no_episode_and_results_are_the_local_ones(long_parts):
    pytest.importorskip("ray")
    process = begun("spread")
    try:
        wait_until(process, lambda: episodes_of("spread"))
        os.kill(wait_until(process, lambda: playing(process))[0], signal.SIGKILL)
        _, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert err.count("a Ray worker died") == 1
    assert "Traceback" not in err
    assert cli.main(long("here")) == 0
    assert len(episodes_of("spread")) == 16
    assert_same("here", "spread")


@pytest.mark.slow
@needs_proc
def test_a_signal_ends_a_run_and_all_its_processes_and_it_is_resumed(long_parts):
    pytest.importorskip("ray")
    process = begun("spread")
    try:
        wait_until(process, lambda: episodes_of("spread") and playing(process))
        children = descendants(process.pid)
        assert sum("raylet" in line for line in children.values()) >= 1
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == 143, err
    assert "to go on from what is finished type: worldsim evaluate" in err
    assert "Traceback" not in err
    deadline = time.monotonic() + 60
    while left := children.keys() & table().keys():
        assert time.monotonic() < deadline, [children[number] for number in left]
        time.sleep(0.1)
    assert 0 < len(episodes_of("spread")) < 16
    for run in ("spread", "here"):
        assert cli.main(long(run)) == 0
    assert_same("here", "spread")
