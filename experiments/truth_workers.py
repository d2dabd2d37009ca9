"""The true world in several processes: rounds of episodes in, their trajectories out. Knows nothing of runs or verdicts."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from worldsim.errors import WorldsimError
from worldsim.evaluate import Cast, Clock, Episode, Genuine, Round, roll_out
from worldsim.types import Task, Trajectory

Play = Callable[[list[Round]], Iterator[tuple[Episode, Trajectory]]]

_worker: dict[str, Any] = {}  # what a worker process keeps between rounds


@contextmanager
def truth_workers(count: int, truth: Any, policies: dict[str, Any], task: Task) -> Iterator[Play]:
    """A function that plays rounds in `count` processes, which end with the block, or with this process if it is killed.

    Args:
        count: number of processes.
        truth: name of the true world; each process builds its own.
        policies: what to load each policy from, by the name that episodes carry.
        task: the task.
    """
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(count, context, _prepare, (reader, truth, policies, task))

    def play(rounds: list[Round]) -> Iterator[tuple[Episode, Trajectory]]:
        try:
            with _keeping_ctrl_c():
                played = deque(executor.submit(_play, each) for each in rounds)  # starts the processes
            for each in rounds:
                trajectories = played.popleft().result()  # not `map`: where it is left early, it cancels what a broken pool fails on
                yield from ((episode, trajectories[episode.id]) for episode in each)
        except BrokenProcessPool as error:
            raise WorldsimError(
                "a process of the true world died, perhaps for want of memory; type the same command with workers=1"
            ) from error

    try:
        yield play
        executor.shutdown()
    finally:
        writer.close()  # whoever still works ends now
        executor.shutdown(wait=False, cancel_futures=True)
        reader.close()


@contextmanager
def _keeping_ctrl_c() -> Iterator[None]:
    """What is started within never sees Ctrl-C, from its first moment on: it is for the process that asked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(reader: Connection, truth: Any, policies: dict[str, Any], task: Task) -> None:
    threading.Thread(target=_end_with_parent, args=(reader,), daemon=True).start()

    import torch

    from worldsim.load import load_truth

    torch.set_num_threads(1)
    try:
        _worker.update(world=Genuine(load_truth(truth)), specs=policies, task=task, policies={})
    except Exception as error:  # said by its first round, in whose place the executor would say that a process died
        _worker["failure"] = error


def _end_with_parent(reader: Connection) -> None:
    """Wait for the end of the pipe, which comes when the other side closes it or dies."""
    try:
        reader.recv()
    except (EOFError, OSError):
        os._exit(1)


def _play(episodes: Round) -> dict[str, Trajectory]:
    """One round in one batch, by episode id."""
    from worldsim.load import load_policy

    if "failure" in _worker:
        raise _worker["failure"]
    world, policies = _worker["world"], _worker["policies"]
    for name in {episode.policy for episode in episodes} - policies.keys():
        policies[name] = load_policy(_worker["specs"][name], world.action)
    played = roll_out(world, Cast(policies), _worker["task"], episodes, Clock(), batch=len(episodes))
    return {episode.id: trajectory for episode, trajectory in played}
