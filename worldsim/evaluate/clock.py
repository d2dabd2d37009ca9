"""Where the time of an evaluation goes. Knows nothing of what is being timed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from worldsim.report.run_folder import RunFolder


@dataclass
class Clock:
    """Seconds spent per part, as `results.json` reports them, and what came of them.

    Attributes:
        seconds: by part.
        rollouts: episodes kept.
        frames: frames made in them.
        lanes: most lanes in one call of the world model, as it was at the end; None where there was none.
        halved: most rows in one call of a policy or of the verifier, by its name, where the memory was too small for more.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("world_model", "policy", "verifier", "other"), 0.0))
    rollouts: int = 0
    frames: int = 0
    lanes: int | None = None
    halved: dict[str, int] = field(default_factory=dict)

    def measure(self, part: str, call: Callable[[], Any]) -> Any:
        """Run `call` and book its time to `part`."""
        begin = time.perf_counter()
        result = call()
        self.seconds[part] += time.perf_counter() - begin
        return result


@contextmanager
def timed(run: RunFolder) -> Iterator[Clock]:
    """A clock for one session of work on a run. When the block ends, however it ends, the time it took is appended to the run."""
    clock, begin = Clock(), time.perf_counter()
    try:
        yield clock
    finally:
        clock.seconds["other"] += time.perf_counter() - begin - sum(clock.seconds.values())
        if clock.rollouts:
            run.add_throughput(clock.seconds, rollouts=clock.rollouts, frames=clock.frames, lanes=clock.lanes, halved=clock.halved)
        else:
            note_halved(run, clock)


def note_halved(run: RunFolder, clock: Clock) -> None:
    """Append what did not fit into memory, where something did not, as a session that took no time."""
    if clock.halved:
        run.add_throughput(dict.fromkeys(clock.seconds, 0.0), rollouts=0, frames=0, halved=clock.halved)
