"""Small trainings that several processes, or one that gets killed, can do: `python small_run.py '[{"out": ..., "kind": ...}]'`.

Each run writes what each process ended with to `out/final-RANK.safetensors`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from worldsim.training.loop import LoopConfig, train
from worldsim.training.processes import seed_of


class Net(nn.Module):
    """A batch norm to have buffers, and a branch that a batch may leave unused."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.leave = nn.Linear(2, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, 1)
        self.spare = nn.Linear(2, 1)

    def forward(self, x: Tensor, *, spare: bool) -> Tensor:
        y = self.leave(torch.tanh(self.norm(self.enter(x))))
        return y + self.spare(x) if spare else y


class Direct:
    """Evaluates its model directly."""

    def __init__(self, *, uneven: bool = True) -> None:
        torch.manual_seed(0)
        self.model = Net()
        self.uneven = uneven

    def evaluate(self, x: Tensor, *, spare: bool) -> Tensor:
        return self.model(x, spare=spare)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Half of the batches use the spare branch; where `uneven`, half begin with a pass without gradient, by another draw."""
        x = torch.randn(6, 2, generator=generator)
        first, spare = (torch.rand((2,), generator=generator) < 0.5).tolist()
        if first and self.uneven:
            with torch.no_grad():
                self.evaluate(x, spare=False)
        return (self.evaluate(x, spare=spare or not self.uneven) - x.prod(1, keepdim=True)).square().mean()

    def preview(self, path: Path) -> None:
        path.write_bytes(self.model.enter.weight.detach().numpy().tobytes())


class Called(Direct):
    """Evaluates its model through `call`."""

    def __init__(self, *, uneven: bool = True) -> None:
        super().__init__(uneven=uneven)
        self.call = self.model

    def evaluate(self, x: Tensor, *, spare: bool) -> Tensor:
        return self.call(x, spare=spare)


class Averaged(Direct):
    """In one process, the mean of the losses that two processes have."""

    def __init__(self, *, uneven: bool = True) -> None:
        super().__init__(uneven=uneven)
        self.iteration = 0

    def loss(self, generator: torch.Generator) -> Tensor:
        other = torch.Generator().manual_seed(seed_of(0, self.iteration, 1))
        self.iteration += 1
        return (super().loss(generator) + super().loss(other)) / 2


KINDS = {
    "direct": lambda: Direct(),
    "called": lambda: Called(),
    "even": lambda: Called(uneven=False),
}


def config_of(out: Path, **options: object) -> LoopConfig:
    """Twelve iterations that change every weight a lot."""
    return LoopConfig(Path(out), **({"iterations": 12, "learning_rate": 0.05, "average": 0.5, "log_every": 1} | options))


def main(runs: list[dict]) -> None:
    """Train each run; `leave` and `die` name an iteration and a process that then gets a SIGTERM or SIGKILL."""
    rank = int(os.environ.get("RANK", 0))
    for run in runs:
        out, kind, pause = Path(run.pop("out")), run.pop("kind"), run.pop("pause", 0.0)
        signals = {signal.SIGTERM: run.pop("leave", None), signal.SIGKILL: run.pop("die", None)}
        objective, steps = KINDS[kind](), 0
        evaluate = objective.loss

        def loss(generator: torch.Generator, evaluate=evaluate, signals=signals, pause=pause) -> Tensor:
            nonlocal steps
            steps += 1
            for number, (when, who) in ((number, place) for number, place in signals.items() if place):
                if (steps, rank) == (when, who):
                    os.kill(os.getpid(), number)
            time.sleep(pause)
            return evaluate(generator)

        objective.loss = loss
        try:
            model = train(objective, config_of(out, **run))
        except KeyboardInterrupt as interrupt:
            print(f"process {rank} left: {interrupt}", flush=True)
            continue
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out / f"final-{rank}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(json.loads(sys.argv[1]))
