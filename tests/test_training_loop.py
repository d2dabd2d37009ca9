"""The loop in one process: accumulation, schedules, number formats, what a kill leaves behind, and the log of it all."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import small_run
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from worldsim.errors import InvalidInput, RunMismatch, UnknownName
from worldsim.training.curve import Curve
from worldsim.training.loop import LoopConfig, train
from worldsim.training.state import Progress, Training, load_state, save_state, tensors_of

pytestmark = pytest.mark.slow  # as a file


class Drawn:
    """Rows that are drawn one by one, so that a batch of 8 and two of 4 see the same; `pieces` losses are averaged in one graph."""

    def __init__(self, *, pieces: int = 1) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        self.pieces = pieces

    def loss(self, generator: torch.Generator) -> Tensor:
        x = torch.stack([torch.randn(2, generator=generator) for _ in range(4 * self.pieces)])
        return (self.model(x) - x.prod(1, keepdim=True)).square().mean()

    def preview(self, path: Path) -> None:
        path.write_text("", encoding="utf-8")


class Dropped(Drawn):
    """A layer that draws from torch's own generator."""

    def __init__(self) -> None:
        super().__init__()
        self.model.append(nn.Dropout(0.5))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor], tolerance: float = 0.0) -> None:
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], atol=tolerance, rtol=0)


def log_of(folder: Path) -> list[tuple]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(row["iteration"], row["loss"], row["learning_rate"]) for row in rows]


def test_accumulated_batches_equal_one_large_batch(tmp_path):
    config = small_run.config_of(tmp_path / "small", accumulate=3)
    small = weights(train(Drawn(), config))
    large = weights(train(Drawn(pieces=3), replace(config, out=tmp_path / "large", accumulate=1)))
    assert_same(small, large, 1e-6)
    assert [loss for _, loss, _ in log_of(tmp_path / "small")] == pytest.approx(
        [loss for _, loss, _ in log_of(tmp_path / "large")], abs=1e-6
    )


def test_a_constant_learning_rate_clipped_without_averages_is_plain_adam(tmp_path):
    """As the paper trains: the result is the last weights, which a hand-written AdamW reaches too."""
    objective, config = Drawn(), small_run.config_of(tmp_path, schedule="constant", clip_norm=0.5, average=0.0, weight_decay=0.1)
    model = weights(train(objective, config))
    by_hand = Drawn()
    optimizer = torch.optim.AdamW(by_hand.model.parameters(), 0.05, betas=(0.9, 0.98), weight_decay=0.1)
    for iteration in range(12):
        by_hand.loss(torch.Generator().manual_seed(iteration)).backward()
        torch.nn.utils.clip_grad_norm_(by_hand.model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
    assert_same(model, weights(by_hand.model), 1e-6)
    assert {rate for *_, rate in log_of(tmp_path)} == {0.05}
    with safe_open(tmp_path / "state.safetensors", framework="pt") as file:
        assert not [name for name in file.keys() if name.startswith("average/")]  # noqa: SIM118


def test_warm_and_cool_is_the_default(tmp_path):
    train(Drawn(), small_run.config_of(tmp_path, iterations=100))
    rates = [rate for *_, rate in log_of(tmp_path)]
    assert rates[0] == pytest.approx(0.05 / 50)
    assert max(rates) == rates[55] == 0.05
    assert rates[-1] == pytest.approx(0.05 * (0.05 + 0.95 * 0.01 / 0.4))


def test_frozen_weights_stay(tmp_path):
    objective = Drawn()
    objective.model[0].requires_grad_(requires_grad=False)
    before = weights(objective.model)
    after = weights(train(objective, small_run.config_of(tmp_path, weight_decay=0.5)))
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["2.weight"], before["2.weight"])


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"precision": "fp16"}, InvalidInput, "fp16 trains on a GPU only, and device is cpu; type precision=bf16"),
    ({"precision": "fp8"}, UnknownName, 'unknown precision "fp8"'),
    ({"schedule": "constnat"}, UnknownName, 'did you mean "constant"'),
    ({"accumulate": 0}, InvalidInput, "accumulate=0"),
    ({"average": 1.0}, InvalidInput, "below 1"),
    ({"checkpointing": True}, InvalidInput, "Sequential has none; leave checkpointing out"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_in_a_line(tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        train(Drawn(), small_run.config_of(tmp_path, **options))


def test_checkpointing_is_the_models_own(tmp_path):
    class Saving(nn.Sequential):
        saving = False

        def save_memory(self) -> None:
            self.saving = True

        def forward(self, x: Tensor) -> Tensor:
            forward = super().forward
            return torch.utils.checkpoint.checkpoint(forward, x, use_reentrant=False) if self.saving else forward(x)

    plain, saving = Drawn(), Drawn()
    saving.model = Saving(*saving.model)
    train(plain, small_run.config_of(tmp_path / "plain"))
    train(saving, small_run.config_of(tmp_path / "saving", checkpointing=True))
    assert saving.model.saving
    assert_same(weights(plain.model), weights(saving.model))


def test_bf16_multiplies_in_bf16_and_keeps_float32_weights(tmp_path):
    seen = []

    class Watched(Drawn):
        def loss(self, generator: torch.Generator) -> Tensor:
            seen.append(self.model(torch.ones(1, 2)).dtype)
            return super().loss(generator)

    model = train(Watched(), small_run.config_of(tmp_path, precision="bf16"))
    assert set(seen) == {torch.bfloat16}
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}


def test_the_scale_of_fp16_losses_is_saved(tmp_path):
    """Scaled training needs a GPU; the scaler itself does not."""

    def training(scale: float) -> Training:
        model = Drawn().model
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        return Training(model, torch.optim.AdamW(model.parameters()), {}, scaler, Progress(7, 1.0, 0.5))

    before, after = training(512.0), training(2.0)
    before.scaler.scale(torch.ones(()))
    save_state(tmp_path / "state", before, tensors_of(before, keep=True), {}, {})
    load_state(tmp_path / "state", after, {}, {})
    assert after.scaler.state_dict() == before.scaler.state_dict()
    assert after.scaler.state_dict()["scale"] == 512.0
    assert after.progress == before.progress


@pytest.mark.parametrize(("change", "words"), [
    ({"accumulate": 2}, "accumulate=1, now asked for 2"),
    ({"schedule": "constant"}, "schedule=warm-and-cool, now asked for constant"),
    ({"average": 0.0}, "average=0.5, now asked for 0.0"),
])  # fmt: skip
def test_other_settings_in_the_same_folder_are_refused(tmp_path, change, words):
    config = small_run.config_of(tmp_path)
    train(Drawn(), config)
    with pytest.raises(RunMismatch, match=words):
        train(Drawn(), replace(config, **change))


def test_a_state_from_before_there_were_settings_is_continued(tmp_path):
    config = small_run.config_of(tmp_path / "new", iterations=6)
    whole = weights(train(Drawn(), config))
    old = replace(config, out=tmp_path / "old")
    with pytest.raises(KeyboardInterrupt):
        train(Drawn(), old, leaving_at(3))
    file = tmp_path / "old" / "state.safetensors"
    with safe_open(file, framework="pt") as state:
        tensors = {name: state.get_tensor(name) for name in state.keys()}  # noqa: SIM118
        facts = {name: text for name, text in state.metadata().items() if name in ("progress", "recipe")}
    save_file(tensors, file, metadata=facts)
    assert_same(weights(train(Drawn(), old)), whole)


def leaving_at(iteration: int, number: int = signal.SIGTERM):
    """A watcher that sends this process a signal."""

    def watch(progress: Progress) -> None:
        if progress.iteration == iteration:
            os.kill(os.getpid(), number)

    return watch


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("make", [Drawn, Dropped])
def test_a_run_that_is_told_to_stop_saves_first(tmp_path, number, make):
    handler = signal.getsignal(number)
    config = small_run.config_of(tmp_path / "whole", log_every=5)
    whole = weights(train(make(), config))
    stopped = replace(config, out=tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt, match="7 iterations are saved in .*; type the same command again to go on"):
        train(make(), stopped, leaving_at(7, number))
    assert signal.getsignal(number) is handler
    torch.manual_seed(99)
    seen = []
    assert_same(weights(train(make(), stopped, lambda progress: seen.append(progress.iteration))), whole)
    assert seen == [8, 9, 10, 11, 12]
    assert [iteration for iteration, *_ in log_of(tmp_path / "stopped")] == [5, 10, 12]
    assert log_of(tmp_path / "stopped") == log_of(tmp_path / "whole")


def test_training_leaves_torchs_own_generator_alone(tmp_path):
    objective = Dropped()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(objective, small_run.config_of(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_a_cut_log_keeps_what_was_saved(tmp_path):
    curve = Curve(tmp_path / "log.jsonl")
    curve.cut(5)
    assert curve.rows() == []
    for iteration in (2, 4, 6, 8):
        curve.add(iteration, 1.0 / iteration, 0.1, iteration)
    with open(curve.path, "a", encoding="utf-8") as file:
        file.write('{"iteration": 10, "lo')
    curve.flush()
    curve.cut(6)
    assert [row["iteration"] for row in curve.rows()] == [2, 4, 6]
    assert curve.path.read_bytes().endswith(b"}\n")


def test_the_loss_is_drawn_when_the_run_ends(tmp_path):
    train(Drawn(), small_run.config_of(tmp_path))
    picture = tmp_path / "loss.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 100_000
    picture.unlink()
    train(Drawn(), small_run.config_of(tmp_path))  # nothing was left to train
    assert not picture.exists()


def start(config: dict) -> subprocess.Popen:
    command = [sys.executable, str(Path(small_run.__file__)), json.dumps([config])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_the_curve_of_a_run_that_was_killed_is_that_of_one_that_was_not(tmp_path):
    """SIGKILL at no particular moment, and the same command again."""
    config = {"out": str(tmp_path / "killed"), "kind": "direct", "iterations": 90, "save_seconds": 0.2, "pause": 0.02, "log_every": 3}
    log = tmp_path / "killed" / "log.jsonl"
    process = start(config)
    while not log.exists() or len(log.read_bytes().splitlines()) < 16:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=120)
    with safe_open(tmp_path / "killed" / "state.safetensors", framework="pt") as state:
        saved = json.loads(state.metadata()["progress"])["iteration"]
    assert 3 <= saved < 90
    assert len(log_of(tmp_path / "killed")) * 3 - saved <= 30  # at most about save_seconds of training are lost
    again = start(config)
    output = again.communicate(timeout=60)
    assert again.returncode == 0, output
    model = train(small_run.Direct(), LoopConfig(tmp_path / "whole", 90, learning_rate=0.05, average=0.5, log_every=3))
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")
    assert [iteration for iteration, *_ in log_of(tmp_path / "killed")] == list(range(3, 91, 3))
    with safe_open(tmp_path / "killed" / "final-0.safetensors", framework="pt") as file:
        assert_same({name: file.get_tensor(name) for name in file.keys()}, weights(model))  # noqa: SIM118
