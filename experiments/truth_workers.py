"""The true world in several processes: groups of episodes in, their trajectories out, in order. Knows nothing of runs or verdicts."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from worldsim.errors import WorldsimError
from worldsim.evaluate import Clock, Genuine, Group, RollOuts, roll_out
from worldsim.types import Task, Trajectory

_worker: dict[str, Any] = {}  # what a worker process keeps between groups


@contextmanager
def truth_workers(count: int, truth: Any, policies: dict[str, Any], task: Task) -> Iterator[RollOuts]:
    """A function that rolls groups out in `count` processes, which end with the block, or with this process if it is killed.

    Args:
        count: number of processes.
        truth: name of the true world; each process builds its own.
        policies: what to load each policy from, by the name that episodes carry.
        task: the task.
    """
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(count, context, _prepare, (reader, truth, policies, task))

    def roll_outs(groups: list[Group]) -> Iterator[list[Trajectory]]:
        try:
            yield from executor.map(_roll_out, groups)
        except BrokenProcessPool as error:
            raise WorldsimError(
                "a process of the true world died, perhaps for want of memory; type the same command with workers=1"
            ) from error

    try:
        yield roll_outs
        executor.shutdown()
    finally:
        writer.close()  # whoever still works ends now
        executor.shutdown(wait=False, cancel_futures=True)
        reader.close()


def _prepare(reader: Connection, truth: Any, policies: dict[str, Any], task: Task) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked
    threading.Thread(target=_end_with_parent, args=(reader,), daemon=True).start()

    import torch

    from worldsim.load import load_truth

    torch.set_num_threads(1)
    _worker.update(world=Genuine(load_truth(truth)), specs=policies, task=task, policies={})


def _end_with_parent(reader: Connection) -> None:
    """Wait for the end of the pipe, which comes when the other side closes it or dies."""
    try:
        reader.recv()
    except (EOFError, OSError):
        os._exit(1)


def _roll_out(group: Group) -> list[Trajectory]:
    from worldsim.load import load_policy

    world, name = _worker["world"], group[0].policy
    if name not in _worker["policies"]:
        _worker["policies"][name] = load_policy(_worker["specs"][name], world.action)
    return roll_out(world, _worker["policies"][name], _worker["task"], group, Clock())
