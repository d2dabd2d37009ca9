"""Training in two real processes over loopback: the same numbers as in one, shared or sharded, killed or not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import small_run
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from worldsim.errors import InvalidInput, RunMismatch
from worldsim.training.loop import train
from worldsim.training.processes import is_main_process

PLAN = {
    "called": {"kind": "called"},
    "direct": {"kind": "direct"},
    "sharded": {"kind": "even", "fsdp": True},
    "pieces": {"kind": "called", "accumulate": 2},
    "plain": {"kind": "even", "fsdp": True, "average": 0.0, "accumulate": 2},
    "bf16": {"kind": "called", "precision": "bf16"},
}
STOPPED = ("called", "direct", "sharded")


def together(runs: list[dict]) -> subprocess.CompletedProcess:
    """Two processes that do `runs`, one after the other."""
    script = str(Path(small_run.__file__))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, json.dumps(runs)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder per run, trained by two processes; those named `...-stopped` were killed and resumed by the same command."""
    out = tmp_path_factory.mktemp("together")
    whole = [{"out": str(out / name), **run} for name, run in PLAN.items()]
    stopped = [{"out": str(out / f"{name}-stopped"), **PLAN[name]} for name in STOPPED]
    killed = {"out": str(out / "called-killed"), **PLAN["called"], "save_seconds": 0.0, "preview_seconds": 0.0}
    first = together([*whole, *({**run, "leave": [5, 1]} for run in stopped), {**killed, "die": [8, 0]}])
    assert first.returncode != 0  # the kill
    assert first.stdout.count("left: 5 iterations are saved") == 2 * len(STOPPED), first.stdout + first.stderr
    assert not re.search("(Future|User)Warning", first.stderr), first.stderr
    second = together([*stopped, killed])
    assert second.returncode == 0, second.stderr
    return out


def final(folder: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    return load_file(folder / f"final-{rank}.safetensors")


def assert_close(left: dict, right: dict, tolerance: float) -> None:
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], atol=tolerance, rtol=0, msg=name)


def log_of(folder: Path) -> list[tuple]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(row["iteration"], row["loss"], row["learning_rate"]) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "uneven"), [("called", True), ("direct", True), ("sharded", False)])
def test_two_processes_equal_one_that_averages_their_losses(finished, tmp_path, name, uneven):
    objective = small_run.Averaged(uneven=uneven)
    reference = train(objective, small_run.config_of(tmp_path))
    assert_close(dict(reference.named_parameters()), final(finished / name), 1e-5)
    assert (reference.enter.weight - small_run.Net().enter.weight).abs().max() > 0.1  # it has moved
    losses = [loss for _, loss, _ in log_of(finished / name)]
    assert losses == pytest.approx([loss for _, loss, _ in log_of(tmp_path)], abs=1e-5)


@pytest.mark.slow
def test_all_processes_end_with_the_same_weights_and_buffers(finished):
    for name in PLAN:
        assert_close(final(finished / name), final(finished / name, 1), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "whole"), [*((f"{name}-stopped", name) for name in STOPPED), ("called-killed", "called")])
def test_a_stopped_run_resumes_as_if_nothing_had_happened(finished, name, whole):
    """SIGTERM reached one process and both left; SIGKILL ended the main one between two saves."""
    assert_close(final(finished / name), final(finished / whole), 0.0)
    assert log_of(finished / name) == log_of(finished / whole)


@pytest.mark.slow
def test_only_the_main_process_writes(finished):
    previews = sorted(path.name for path in (finished / "called-killed").glob("preview-*"))
    assert previews == [f"preview-{i:07d}.png" for i in range(1, 13)]
    assert [iteration for iteration, *_ in log_of(finished / "called")] == list(range(1, 13))


@pytest.mark.slow
def test_the_state_of_a_sharded_run_is_whole(finished):
    """It has the names and shapes of a run that is not sharded, and an optimizer moment for every parameter."""
    shapes = {}
    for name in ("sharded", "called"):
        with safe_open(finished / name / "state.safetensors", framework="pt") as file:
            shapes[name] = {key: tuple(file.get_tensor(key).shape) for key in file.keys()}  # noqa: SIM118
    assert shapes["sharded"] == shapes["called"]
    assert shapes["sharded"]["optimizer/0/exp_avg"] == (8, 2)


@pytest.mark.slow
def test_without_averages_the_result_is_the_last_weights(finished):
    state = load_file(finished / "plain" / "state.safetensors")
    assert not [name for name in state if name.startswith("average/")]
    assert_close(final(finished / "plain"), {name.removeprefix("model/"): tensor for name, tensor in state.items()}, 0.0)


@pytest.mark.slow
def test_accumulated_batches_of_two_processes_are_averaged(finished, tmp_path):
    class Four(small_run.Averaged):
        """Both batches of both processes."""

        def loss(self, generator):
            other = torch.Generator().manual_seed(small_run.seed_of(0, self.iteration, 1))
            self.iteration += 1
            return sum(small_run.Direct.loss(self, each) for each in (generator, generator, other, other)) / 4

    reference = train(Four(), small_run.config_of(tmp_path))
    assert_close(dict(reference.named_parameters()), final(finished / "pieces"), 1e-5)


@pytest.mark.slow
def test_another_number_of_processes_is_refused(finished):
    with pytest.raises(RunMismatch, match="processes=2, now asked for 1"):
        train(small_run.Called(), small_run.config_of(finished / "called"))


def test_one_process_cannot_share_a_model(tmp_path):
    with pytest.raises(InvalidInput, match="there is one; start: torchrun --nproc-per-node=2"):
        train(small_run.Called(), small_run.config_of(tmp_path, fsdp=True))
    train(small_run.Called(), small_run.config_of(tmp_path))  # and nothing of it is left


@pytest.mark.parametrize(("environment", "main"), [({}, True), ({"RANK": "0"}, True), ({"RANK": "1"}, False)])
def test_one_process_writes(monkeypatch, environment, main):
    monkeypatch.delenv("RANK", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is main


def test_no_two_processes_or_iterations_share_their_draws():
    seeds = {small_run.seed_of(0, iteration, rank) for iteration in range(1000) for rank in range(64)}
    assert len(seeds) == 64_000
    assert max(seeds) < 2**32
    assert small_run.seed_of(3, 5, 0) == 3 * 1_000_003 + 5
