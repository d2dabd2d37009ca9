"""The executor that spreads rounds over a Ray cluster: its workers play and judge, the process that asks keeps what they make.

A worker that dies takes with it the round that it was playing and nothing else: another one plays that again.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self

from worldsim.evaluate import Clock, Episode, Round, judge_missing, missing, missing_rounds, rounds_of
from worldsim.experiments.executors import Here
from worldsim.experiments.ray_cluster import connected, room
from worldsim.experiments.ray_dispatch import Dispatch
from worldsim.experiments.ray_player import Played, Player, parts_of
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.setting import Setting
from worldsim.load import part_config, part_members
from worldsim.registry import VERIFIERS
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory, Verdict

EACH = 4  # rounds of a strict run for each worker, so that all end at about the same time

log = logging.getLogger("worldsim")


class Crew(Here):
    """Workers on a Ray cluster, of which each holds all parts of an evaluation. They begin when there is something to play.

    A judge that people stand behind, or that asks a server at a pace of its own, judges in this process.
    """

    def __init__(self, config: EvaluateConfig, setting: Setting) -> None:
        super().__init__(config)
        self._threads, self._gpus = config.threads or 1, 1 if config.device == "cuda" else 0
        self._setting, self._casts = setting, [setting.specs]
        self._judges_here = getattr(setting.verifier, "revisable", False) or _asks_at_a_pace(setting.judge)
        self._stack, self._dispatch, self._count = ExitStack(), None, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def meet(self) -> None:
        """Find or make the cluster, and say who will work.

        Raises:
            WorldsimError: there is none to be had.
        """
        if self._dispatch is not None:
            return
        config, threads = self._config, self._threads
        here = _gpus_here() if self._gpus else max(1, (os.cpu_count() or 1) // threads)
        wanted = config.workers or (here if config.ray_address is None else 0)
        self._stack.enter_context(connected(config.ray_address, wanted * threads, wanted * self._gpus))
        self._count = wanted or room(threads, self._gpus)
        given = replace(config, executor="local", threads=threads if config.device == "cpu" else config.threads)
        given = replace(given, verifier="none") if self._judges_here else given
        parts = {name: value for name, value in parts_of(self._setting).items() if name != "verifier" or not self._judges_here}
        start = (given, os.getcwd(), parts)
        self._dispatch = Dispatch(Player, start, {"num_cpus": threads, "num_gpus": self._gpus}, room(threads, self._gpus))

    def ready(self, folder: RunFolder, planned: Sequence[Episode], batches: int) -> list[Round]:
        """What is to be played, in rounds of one batch, or smaller ones of a strict run; and the workers for them, begun."""
        left = missing(folder, planned)
        if not left:
            return []
        self.meet()
        size = min(self._config.batch, -(-len(left) // (EACH * self._count)))
        rounds = list(rounds_of(left, size)) if self._strict else missing_rounds(folder, planned, self._config.batch)
        if self._dispatch.hire(min(self._count, len(rounds))):
            print(f"worldsim: Ray workers: {self._dispatch.workers}, threads of each: {self._threads}", file=sys.stderr)
        return rounds

    def at_once(self, world: str, rounds: Sequence[Round]) -> int:
        return max(map(len, rounds), default=0) * min(self._count, len(rounds))

    def play(self, setting: Setting, world: str, rounds: list[Round], clock: Clock) -> Iterator[tuple[Episode, Trajectory]]:
        """The episodes of all rounds as they come. The clock is told each part's share of the time, as the mean over workers."""
        if not rounds:
            return
        cast = self._cast(setting.specs)
        pieces = [(world, cast, each, self._config.batch) for each in rounds]
        warned: set[str] = set()
        for number, played in self._dispatch.each("play", pieces, [len(each) for each in rounds]):
            self._book(clock, played)
            for line in played.warnings:
                if line not in warned:
                    log.warning(line)
            warned |= set(played.warnings)
            yield from ((episode, played.trajectories[episode.id]) for episode in rounds[number])

    def judge(self, folder: RunFolder, setting: Setting, world: str, clock: Clock) -> None:
        if self._dispatch is None or self._judges_here:
            super().judge(folder, setting, world, clock)
        else:
            judge_missing(folder, setting.identity["verifier"]["name"], _Spread(self._dispatch), [world], clock)

    def _cast(self, specs: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A number for these policies, by which workers know them again."""
        if not any(each is specs for each in self._casts):
            self._casts.append(specs)
        number = next(number for number, each in enumerate(self._casts) if each is specs)
        return number, specs if number else {}

    def _book(self, clock: Clock, played: Played) -> None:
        for part, seconds in played.clock.seconds.items():
            clock.seconds[part] += seconds / self._dispatch.workers
        clock.lanes = max(clock.lanes or 0, played.clock.lanes or 0) or None
        clock.halved |= played.clock.halved


class _Spread:
    """A judge whose trajectories are judged by all workers at once."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        size = -(-len(trajectories) // self._dispatch.workers)
        pieces = [trajectories[begin : begin + size] for begin in range(0, len(trajectories), size)]
        said = dict(self._dispatch.each("judge", [(each,) for each in pieces], list(map(len, pieces))))
        return [verdict for number in range(len(pieces)) for verdict in said[number]]


def _asks_at_a_pace(judge: Any) -> bool:
    return any(hasattr(part_config(VERIFIERS, member), "requests_per_minute") for member in part_members(VERIFIERS, judge))


def _gpus_here() -> int:
    import torch

    return max(1, torch.cuda.device_count())
