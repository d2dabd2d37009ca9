"""The training loop: any module, any loss, one process or several. Knows nothing about video.

Every iteration's randomness comes from (seed, iteration, process), so a run that was killed and resumed equals one that was not. The same
command under `torchrun --nproc-per-node=N` or `accelerate launch` trains on N batches at a time, whose gradients are averaged.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from worldsim.errors import InvalidInput, UnknownName, WorldsimError
from worldsim.registry import did_you_mean
from worldsim.training.curve import Curve
from worldsim.training.interrupts import Interrupt, noticed_interrupts
from worldsim.training.precision import mixed_precision
from worldsim.training.processes import Team, launched_sharded, seed_of
from worldsim.training.state import Progress, Training, load_state, local, save_state, tensors_of, whole


class Objective(Protocol):
    """What is trained and how well it does: `loss` draws its own batch from the generator.

    An objective may have an attribute `call` that it evaluates the model by, at first the model itself or its compiled form. Where several
    processes train, the loop puts the wrapper there that averages gradients while the backward pass runs; it answers to calls only.
    An attribute `seen` holds numbers of the last batch by name, which the log keeps beside the loss.
    """

    model: nn.Module

    def loss(self, generator: torch.Generator) -> Tensor: ...
    def preview(self, path: Path) -> None: ...


@dataclass
class LoopConfig:
    """How long and how to train. The run ends at `iterations`, or after `seconds` of training where those are given.

    Attributes:
        schedule: "warm-and-cool" or "constant", what the learning rate does over the run.
        average: decay of the averaged weights; 0 averages nothing and keeps no second copy.
        clip_norm: largest norm of the gradient; inf for no limit.
        accumulate: batches whose gradients are averaged into one optimizer step.
        precision: auto, fp32, bf16 or fp16.
        checkpointing: compute activations again in the backward pass, by the model's `save_memory()`.
        fsdp: shard weights, gradients, averages and optimizer over the processes; else each process holds all. Every process must then
            evaluate `call` equally often, on the same parameters. The objective's own model stays whole and holds old weights meanwhile.
        log_every: iterations between two lines of log.jsonl.
        recipe: what else a resumed run must agree with.
    """

    out: Path
    iterations: int = 1000
    seconds: float | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    average: float = 0.998
    seed: int = 0
    precision: str = "fp32"
    compile: bool = False
    device: str = "cpu"
    save_seconds: float = 60.0
    preview_seconds: float = 300.0
    recipe: dict = field(default_factory=dict)
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    schedule: str = "warm-and-cool"
    accumulate: int = 1
    checkpointing: bool = False
    fsdp: bool = False
    log_every: int = 10

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UnknownName(f'unknown schedule "{self.schedule}"; {did_you_mean(self.schedule, SCHEDULES)}')
        if self.accumulate < 1 or self.log_every < 1:
            raise InvalidInput(f"accumulate={self.accumulate} and log_every={self.log_every}, expected at least 1")
        if not 0 <= self.average < 1:
            raise InvalidInput(f"average={self.average}, expected a decay from 0 (no averaging) to below 1")


def train(objective: Objective, config: LoopConfig, watch: Callable[[Progress], None] = lambda progress: None) -> nn.Module:
    """Train `objective.model` and return it holding the averaged weights. Continues from `out/state.safetensors` if that is there.

    `watch` is called in the main process, after each iteration.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after saving.
        RunMismatch: the saved run had another recipe, other settings or another number of processes.
        InvalidInput: what this machine or model cannot do: fp16 on a CPU, checkpointing, sharding.
        WorldsimError: the loss is not a number.
    """
    team = Team(config.device, mixed_precision(config.precision, config.device), sharded=config.fsdp or launched_sharded())
    if config.checkpointing:
        _save_memory(objective.model)
    team.begin_alike(objective.model)
    call = getattr(objective, "call", None)
    on_gpu = [team.accelerator.device] if team.accelerator.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=on_gpu), noticed_interrupts() as interrupt:
            model = _Run(objective, config, team).finish(watch, interrupt)
            team.wait()
            return model
    finally:
        team.release(objective, call)


class _Run:
    def __init__(self, objective: Objective, config: LoopConfig, team: Team) -> None:
        self.objective, self.config, self.team, self.accelerator = objective, config, team, team.accelerator
        model, self.optimizer = team.prepare(objective, self.adam)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        average = {name: p.detach().clone().float() for name, p in model.named_parameters() if p.requires_grad and config.average}
        self.training = Training(model, self.optimizer.optimizer, average, self.accelerator.scaler)
        self.state_file = Path(config.out) / "state.safetensors"
        self.curve = Curve(self.state_file.with_name("log.jsonl"))
        self.recipe = config.recipe | {"seed": config.seed, "learning_rate": config.learning_rate}
        settings = ("weight_decay", "average", "betas", "clip_norm", "schedule", "accumulate")
        self.settings = {name: getattr(config, name) for name in settings} | {"processes": team.count}
        if self.state_file.exists():
            load_state(self.state_file, self.training, self.recipe, self.settings)
        self.begun = self.progress.iteration
        self.saved = self.previewed = time.monotonic()

    @property
    def progress(self) -> Progress:
        return self.training.progress

    def adam(self, model: nn.Module) -> torch.optim.Optimizer:
        trainable, config = [parameter for parameter in model.parameters() if parameter.requires_grad], self.config
        return torch.optim.AdamW(trainable, config.learning_rate, betas=tuple(config.betas), weight_decay=config.weight_decay, fused=True)

    def fraction(self) -> float:
        """How much of the run is done, in [0, 1]."""
        if self.config.seconds:
            return min(1.0, self.progress.seconds / self.config.seconds)
        return min(1.0, self.progress.iteration / self.config.iterations)

    def finish(self, watch: Callable[[Progress], None], interrupt: Interrupt) -> nn.Module:
        self.training.model.train()
        if self.team.main and self.fraction() < 1.0:
            self.state_file.parent.mkdir(parents=True, exist_ok=True)
            self.curve.cut(self.progress.iteration)
        while self.fraction() < 1.0:
            self.iterate()
            if self.team.main:
                watch(self.progress)
            self.keep(interrupt)
        if self.progress.iteration > self.begun:
            self.save()
            if self.team.main:
                self.curve.draw(self.state_file.with_name("loss.png"))
        self.objective.model.load_state_dict(self.averaged(), strict=False)  # buffers of a model that is not sharded keep their own values
        self.objective.model.eval()
        return self.objective.model

    def iterate(self) -> None:
        """One optimizer step."""
        begin = time.monotonic()
        rate = self.config.learning_rate * SCHEDULES[self.config.schedule](self.progress.iteration, self.fraction())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.descend()
        seconds = self.team.sum(time.monotonic() - begin if self.team.main else 0.0)[0]
        self.remember(loss, seconds)
        if self.team.main and (self.progress.iteration % self.config.log_every == 0 or self.fraction() == 1.0):
            self.curve.add(self.progress.iteration, loss, rate, self.progress.seconds, getattr(self.objective, "seen", None))

    def descend(self) -> float:
        """Follow the gradient averaged over all batches of all processes; returns their mean loss."""
        seed, pieces, total = seed_of(self.config.seed, self.progress.iteration, self.team.rank), self.config.accumulate, 0.0
        torch.manual_seed(seed ^ 0x5DEECE66)  # for layers that draw by themselves, such as dropout
        generator = torch.Generator().manual_seed(seed)
        for piece in range(pieces - 1):
            with self.team.apart():
                total += self.descend_on(generator, piece)
        total += self.descend_on(generator, pieces - 1)
        self.team.average_gradients(self.training.model)
        self.accelerator.clip_grad_norm_(list(self.training.model.parameters()), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.team.same_buffers(self.training.model)
        return total / pieces

    def descend_on(self, generator: torch.Generator, piece: int) -> float:
        """The backward pass of one batch; returns its loss, a mean over the processes."""
        with self.accelerator.autocast():
            loss = self.objective.loss(generator)
        mean = self.team.sum(loss.item())[0] / self.team.count
        if not math.isfinite(mean):
            where = f"the loss is {mean} at iteration {self.progress.iteration}"
            raise WorldsimError(f"{where}; the state before is kept, train on with a lower learning_rate= in another out=")
        self.accelerator.backward(loss / self.config.accumulate)
        return mean

    def remember(self, loss: float, seconds: float) -> None:
        """Fold the step into the averages: short ones early, `config.average` later."""
        self.progress.iteration += 1
        keep = min(self.config.average, self.progress.iteration / (self.progress.iteration + 10))
        if self.training.average:
            parameters = [local(parameter.detach()).float() for parameter in self.parameters]
            torch._foreach_lerp_([local(tensor) for tensor in self.training.average.values()], parameters, 1 - keep)
        self.progress.seconds += seconds
        self.progress.loss = loss if self.progress.iteration == 1 else 0.98 * self.progress.loss + 0.02 * loss

    def keep(self, interrupt: Interrupt) -> None:
        """Save and preview when it is time, by the main process's clock, and leave, saved, if any process was asked to."""
        now, main = time.monotonic(), self.team.main
        save_due = main and now - self.saved > self.config.save_seconds
        preview_due = main and now - self.previewed > self.config.preview_seconds
        asked, save, preview = self.team.sum(interrupt.asked, save_due, preview_due)
        if save or asked:
            self.save()
            self.saved = now
        if asked:
            where = f"{self.progress.iteration} iterations are saved in {self.state_file}"
            raise KeyboardInterrupt(f"{where}; type the same command again to go on")
        if preview:
            self.preview()
            self.previewed = now

    def save(self) -> None:
        """Write the run to disk, its history first."""
        tensors = tensors_of(self.training, keep=self.team.main)
        if self.team.main:
            self.curve.flush()
            save_state(self.state_file, self.training, tensors, self.recipe, self.settings)

    def averaged(self) -> dict[str, Tensor]:
        """The averaged parameters, whole; of a sharded model also the buffers, which the objective's own model lacks."""
        parameters = dict(self.training.model.named_parameters()) if self.team.sharded or not self.training.average else {}
        buffers = dict(self.training.model.named_buffers()) if self.team.sharded else {}
        return {name: whole(tensor) for name, tensor in (buffers | parameters | self.training.average).items()}

    def preview(self) -> None:
        """A picture of what the averaged model does now, by the main process."""
        model = self.objective.model
        trained = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
        model.load_state_dict(self.averaged(), strict=False)
        model.eval()
        try:
            if self.team.main:
                self.objective.preview(self.state_file.with_name(f"preview-{self.progress.iteration:07d}.png"))
        finally:
            model.load_state_dict(trained, strict=False)
            model.train()


def _save_memory(model: nn.Module) -> None:
    save = getattr(model, "save_memory", None)
    if save is None:
        raise InvalidInput(f"checkpointing=true needs a model with save_memory(), {type(model).__name__} has none; leave checkpointing out")
    save()


def _warm_and_cool(iteration: int, fraction: float) -> float:
    """Learning-rate factor: 50 iterations of warm-up, constant, and a linear fall to a twentieth over the last 40 %."""
    return min(1.0, (iteration + 1) / 50) * min(1.0, 0.05 + 0.95 * (1 - fraction) / 0.4)


def _constant(iteration: int, fraction: float) -> float:
    """Learning-rate factor: one, as Vid2World is trained."""
    return 1.0


SCHEDULES: dict[str, Callable[[int, float], float]] = {"warm-and-cool": _warm_and_cool, "constant": _constant}
