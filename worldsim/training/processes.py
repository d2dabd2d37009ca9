"""The processes that train one model together, each on batches of its own. Knows nothing about losses, files or schedules.

With one process nothing here does anything. Several are started by `torchrun` or `accelerate launch`; they talk through gloo on CPUs and
nccl on GPUs. Each holds the whole model (data parallelism), or a share of it, its averages and its optimizer (FSDP2).
"""

import atexit
import copy
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from worldsim.errors import InvalidInput

LOW, GOLDEN = 2**32, 0x9E3779B1  # torch's CPU generator looks at the low 32 bits of a seed only


def seed_of(seed: int, iteration: int, rank: int) -> int:
    """The seed of one process's draws in one iteration. Ranks are spread by the golden ratio; rank 0 draws what a lone process draws."""
    alone = seed * 1_000_003 + iteration
    return alone if rank == 0 else (alone + rank * GOLDEN) % LOW


def launched_sharded() -> bool:
    """Whether `accelerate launch --use_fsdp` started this process."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints; a lone process is. Known before any training begins."""
    return int(os.environ.get("RANK", "0")) == 0


def take_device(device: str) -> None:
    """Let "cuda" mean this process's own GPU from now on; to be called before models are put there."""
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


class Team:
    """This process among those that train together."""

    def __init__(self, device: str, mixed: str, *, sharded: bool) -> None:
        """`mixed` is accelerate's name of the number format; `sharded` is FSDP2.

        Raises:
            InvalidInput: a model cannot be shared with nobody.
        """
        self.sharded = sharded
        self.accelerator = _accelerator(device, mixed, sharded=sharded)
        self.count, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        self.main = self.accelerator.is_main_process
        if sharded and self.count == 1:
            raise InvalidInput("fsdp=true shares the model among processes and there is one; start: torchrun --nproc-per-node=2 -m ...")
        self.wrapper: nn.Module | None = None

    def sum(self, *values: float) -> list[float]:
        """Each value summed over the processes, the same numbers in all of them."""
        if self.count == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        torch.distributed.all_reduce(total)
        return total.tolist()

    def begin_alike(self, model: nn.Module) -> None:
        """Give every process the main one's parameters and buffers, on its own device."""
        if self.count > 1:
            model.to(self.accelerator.device)
            self._copy_from_main([*model.parameters(), *model.buffers()])

    def prepare(self, objective: Any, learn: Callable[[nn.Module], torch.optim.Optimizer]) -> tuple[nn.Module, Any]:
        """The model whose parameters are trained and its optimizer; `objective.call` becomes the wrapper that averages gradients.

        Data parallelism trains `objective.model` itself, FSDP2 a sharded copy of it. An objective without `call` evaluates its model
        directly; then gradients are averaged after the backward pass.

        Raises:
            InvalidInput: FSDP2 and an objective that does not evaluate `objective.call`, or whose call is compiled.
        """
        model, call = objective.model, getattr(objective, "call", None)
        if self.sharded:
            if call is not model:
                raise InvalidInput(
                    f"fsdp=true needs an objective whose call is its model, {type(objective).__name__}'s is not; leave fsdp and compile out"
                )
            model = copy.deepcopy(model)
            self.wrapper, optimizer = self.accelerator.prepare(model, learn(model))
        else:
            optimizer = self.accelerator.prepare(learn(model))
            if self.count > 1 and isinstance(call, nn.Module):
                self.wrapper = self.accelerator.prepare(call)
        if self.wrapper is not None:
            objective.call = self.wrapper
        return model, optimizer

    def release(self, objective: Any, call: nn.Module | None) -> None:
        """Undo `prepare`: the objective evaluates `call` again, and no sharded model outlives the talk between processes."""
        if self.wrapper is not None:
            self.accelerator.unwrap_model(self.wrapper, keep_fp32_wrapper=False)
            self.accelerator.free_memory()
            self.wrapper, objective.call = None, call

    def apart(self) -> AbstractContextManager:
        """Backward passes in this block stay with each process; the next one outside is averaged together with them."""
        return nullcontext() if self.wrapper is None else self.accelerator.no_sync(self.wrapper)

    def average_gradients(self, model: nn.Module) -> None:
        """Average what no wrapper has averaged. A gradient that some processes lack counts as zero there; one that all lack stays away."""
        if self.count == 1 or self.wrapper is not None:
            return
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        used = self.sum(*(parameter.grad is not None for parameter in parameters))
        for parameter in (parameter for parameter, count in zip(parameters, used, strict=True) if count):
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= self.count

    def same_buffers(self, model: nn.Module) -> None:
        """Running statistics are the main process's, so that what is saved is what every process goes on with."""
        if self.count > 1:
            self._copy_from_main(list(model.buffers()))

    def wait(self) -> None:
        """Go on when every process has come here; one that failed never does, so not in a `finally`."""
        if self.count > 1:
            torch.distributed.barrier()

    def _copy_from_main(self, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            torch.distributed.broadcast(tensor.detach(), src=0)


def _accelerator(device: str, mixed: str, *, sharded: bool) -> Any:
    """Accelerate's view of the machine, begun anew: a second run in this process may use another number format."""
    from accelerate import Accelerator, DistributedType
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    AcceleratorState._reset_state(reset_partial_state=True)
    was, plugin = os.environ.pop("ACCELERATE_USE_FSDP", None), _fsdp_plugin() if sharded else None
    try:  # some losses leave parameters unused; and processes may evaluate unequally often, so buffers are sent after the step instead
        options = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
        accelerator = Accelerator(cpu=device == "cpu", mixed_precision=mixed, fsdp_plugin=plugin, kwargs_handlers=[options])
    finally:
        os.environ.pop("ACCELERATE_USE_FSDP", None)  # accelerate sets it for good, also for a later run that is not sharded
        if was is not None:
            os.environ["ACCELERATE_USE_FSDP"] = was
    if sharded and accelerator.num_processes > 1:  # accelerate turns FSDP on for GPUs only; torch has it on CPUs too
        accelerator.state.fsdp_plugin, accelerator.state.distributed_type = plugin, DistributedType.FSDP
    if accelerator.num_processes > 1:
        warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)  # accelerate knows no newer name
        warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)  # of 1 x 1 convolutions; no error, torch says
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)  # losses change no output in place
        atexit.unregister(_leave)
        atexit.register(_leave)
    return accelerator


def _fsdp_plugin() -> Any:
    """FSDP2 in full precision under autocast, as without it. Block by block where a model names its blocks in `_no_split_modules`."""
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import MixedPrecisionPolicy

    policy = os.environ.get("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
    whole = MixedPrecisionPolicy(cast_forward_inputs=False)
    return FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy=policy, mixed_precision_policy=whole, cpu_ram_efficient_loading=False
    )


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
