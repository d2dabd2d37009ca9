"""The training loop: any module, any loss. Knows nothing about video.

Every iteration's randomness comes from (seed, iteration), so a run that was killed and resumed equals one that was not.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from worldsim.errors import WorldsimError
from worldsim.models.cpu import choose_precision
from worldsim.training.state import Progress, load_state, save_state


class Objective(Protocol):
    """What is trained and how well it does: `loss` draws its own batch from the generator."""

    model: nn.Module

    def loss(self, generator: torch.Generator) -> Tensor: ...
    def preview(self, path: Path) -> None: ...


@dataclass
class LoopConfig:
    """How long and how to train. The run ends at `iterations`, or after `seconds` of training where those are given."""

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


def train(objective: Objective, config: LoopConfig, watch: Callable[[Progress], None] = lambda progress: None) -> nn.Module:
    """Train `objective.model` and return it holding the averaged weights. Continues from `out/state.safetensors` if that is there."""
    return _Run(objective, config).finish(watch)


class _Run:
    def __init__(self, objective: Objective, config: LoopConfig) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)  # a second run in this process may use another precision
        mixed = "bf16" if choose_precision(config.precision, config.device) == "bf16" else "no"
        self.accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=mixed)
        self.objective, self.config = objective, config
        self.model = objective.model
        optimizer = torch.optim.AdamW(
            self.model.parameters(), config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        self.optimizer = self.accelerator.prepare(optimizer)
        self.average = {name: tensor.detach().clone().float() for name, tensor in self.model.named_parameters()}
        self.state_file = Path(config.out) / "state.safetensors"
        self.recipe = config.recipe | {"seed": config.seed, "learning_rate": config.learning_rate}
        self.progress = Progress()
        if self.state_file.exists():
            self.progress = load_state(self.state_file, self.model, self.average, self.optimizer.optimizer, self.recipe)

    def fraction(self) -> float:
        """How much of the run is done, in [0, 1]."""
        if self.config.seconds:
            return min(1.0, self.progress.seconds / self.config.seconds)
        return min(1.0, self.progress.iteration / self.config.iterations)

    def finish(self, watch: Callable[[Progress], None]) -> nn.Module:
        self.model.train()
        saved = previewed = time.monotonic()
        while self.fraction() < 1.0:
            self.iterate()
            watch(self.progress)
            now = time.monotonic()
            if now - saved > self.config.save_seconds:
                self.save()
                saved = now
            if now - previewed > self.config.preview_seconds:
                self.preview()
                previewed = now
        self.save()
        self.model.load_state_dict(self.average, strict=False)  # buffers keep their own values
        self.model.eval()
        return self.model

    def iterate(self) -> None:
        """One optimizer step."""
        begin = time.monotonic()
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * _warm_and_cool(self.progress.iteration, self.fraction())
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.progress.iteration)
        with self.accelerator.autocast():
            loss = self.objective.loss(generator)
        if not torch.isfinite(loss):
            where = f"the loss is {loss.item()} at iteration {self.progress.iteration}"
            raise WorldsimError(f"{where}; the state before is kept, train on with a lower learning_rate= in another out=")
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.remember(loss.item(), time.monotonic() - begin)

    def remember(self, loss: float, seconds: float) -> None:
        """Fold the step into the averages: short ones early, `config.average` later."""
        self.progress.iteration += 1
        keep = min(self.config.average, self.progress.iteration / (self.progress.iteration + 10))
        parameters = [parameter.detach().float() for parameter in self.model.parameters()]
        torch._foreach_lerp_(list(self.average.values()), parameters, 1 - keep)
        self.progress.seconds += seconds
        self.progress.loss = loss if self.progress.iteration == 1 else 0.98 * self.progress.loss + 0.02 * loss

    def save(self) -> None:
        """Write the run to disk, and a line of its history."""
        save_state(self.state_file, self.model, self.average, self.optimizer.optimizer, self.progress, self.recipe)
        with open(self.state_file.with_name("log.jsonl"), "a", encoding="utf-8") as log:
            log.write(json.dumps(vars(self.progress)) + "\n")

    def preview(self) -> None:
        """A picture of what the averaged model does now."""
        trained = {name: tensor.detach().clone() for name, tensor in self.model.named_parameters()}
        self.model.load_state_dict(self.average, strict=False)
        self.model.eval()
        try:
            self.objective.preview(self.state_file.with_name(f"preview-{self.progress.iteration:07d}.png"))
        finally:
            self.model.load_state_dict(trained, strict=False)
            self.model.train()


def _warm_and_cool(iteration: int, fraction: float) -> float:
    """Learning-rate factor: 50 iterations of warm-up, constant, and a linear fall to a twentieth over the last 40 %."""
    return min(1.0, (iteration + 1) / 50) * min(1.0, 0.05 + 0.95 * (1 - fraction) / 0.4)
