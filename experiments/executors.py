"""Where the rounds of an evaluation are played and judged: in this process, or by the workers of a Ray cluster. Knows no report."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from worldsim.evaluate import Clock, Episode, Round, judge_missing, missing, missing_rounds, roll_out
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.setting import Setting
from worldsim.experiments.truth_workers import truth_workers
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory


class Here:
    """Plays in this process; the true world in several, where that is quicker and no bit can depend on it."""

    def __init__(self, config: EvaluateConfig) -> None:
        self._config, self._strict = config, config.determinism == "strict"

    def meet(self) -> None:
        """Find whoever will play. Raises WorldsimError where they cannot be had; here nobody else is needed."""

    def ready(self, folder: RunFolder, planned: Sequence[Episode], batches: int) -> list[Round]:
        """What is to be played: whole rounds of so many batches; of a strict run, which no batch can change, only what is missing."""
        return [missing(folder, planned)] if self._strict else missing_rounds(folder, planned, batches * self._config.batch)

    def at_once(self, world: str, rounds: Sequence[Round]) -> int:
        """How many episodes are played at the same time."""
        return self._config.batch * (self._workers(rounds) if world == "truth" else 1)

    def play(self, setting: Setting, world: str, rounds: list[Round], clock: Clock) -> Iterator[tuple[Episode, Trajectory]]:
        """The episodes of all rounds as they end, and what became of them; the clock is told where the time goes."""
        if world == "truth" and self._workers(rounds) > 1:
            with truth_workers(self._workers(rounds), self._config.truth, setting.specs, setting.task) as play:
                yield from play(rounds)
            return
        place = setting.worlds[world]
        try:
            for each in rounds:
                yield from roll_out(place, setting.cast, setting.task, each, clock, batch=self._config.batch)
        finally:
            clock.lanes = min(clock.lanes or 0, place.limit or self._config.batch) or None
            clock.halved |= setting.cast.halved

    def judge(self, folder: RunFolder, setting: Setting, world: str, clock: Clock) -> None:
        """Have the run's own verifier judge what it has not judged yet; of a strict run one episode at a time."""
        few = {"batch": 1} if self._strict else {}
        judge_missing(folder, setting.identity["verifier"]["name"], setting.verifier, [world], clock, **few)

    def _workers(self, rounds: Sequence[Round]) -> int:
        """The number of processes for the true world."""
        return 1 if self._strict else min(self._config.workers or os.cpu_count() or 1, len(rounds))


@contextmanager
def executor_of(config: EvaluateConfig, setting: Setting) -> Iterator[Here]:
    """The executor that `config` asks for. What it starts ends with the block."""
    if config.executor == "local":
        yield Here(config)
        return
    from worldsim.experiments.ray_workers import Crew

    with Crew(config, setting) as crew:
        yield crew
