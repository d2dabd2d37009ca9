"""Which episodes a run consists of, and which of them are played together. Plays nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.data.files import digest_of
from worldsim.errors import InvalidInput
from worldsim.report.run_folder import RunFolder
from worldsim.types import Start, Task

Round = list["Episode"]


@dataclass(frozen=True)
class Episode:
    """One planned episode; its id says everything it depends on."""

    id: str
    policy: str
    world: str
    start: Start
    seed: int


def plan(task: Task, policies: Mapping[str, Any], worlds: Mapping[str, Any], episodes: int, seed: int) -> list[Episode]:
    """All episodes of a run: each policy in each world from the same starts with the same seeds.

    `policies` and `worlds` map names to what identifies them (JSON values); ids are hashes of identity, policy, task, start and seed.

    Raises:
        InvalidInput: the task has fewer starts than episodes are asked for.
    """
    if episodes > len(task.starts):
        raise InvalidInput(f'task "{task.id}" has {len(task.starts)} starts, not {episodes}; type episodes={len(task.starts)}')
    planned = []
    for world, identity in worlds.items():
        for policy, facts in policies.items():
            for index, start in enumerate(task.starts[:episodes]):
                key = [world, identity, policy, facts, task.id, task.horizon, start.id, start.seed, seed + index]
                planned.append(Episode(digest_of(key), policy, world, start, seed + index))
    return planned


def rounds_of(episodes: Sequence[Episode], size: int) -> Iterator[Round]:
    """Fixed rounds of at most `size` episodes, in plan order, across policies.

    What a batch computes may depend, in its last bits, on which lanes it holds. Nothing reaches from one round into another, so a
    round that is played again as a whole gives the same bits again.
    """
    for begin in range(0, len(episodes), size):
        yield list(episodes[begin : begin + size])


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of a plan that is cut into `count` parts: every `count`-th round, whatever has been played already."""

    number: int = 1
    count: int = 1

    @classmethod
    def of(cls, text: str) -> "Shard":
        """A shard as it is typed: "2/4".

        Raises:
            InvalidInput: anything else.
        """
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise InvalidInput(f'shard is "{text}", expected a part of all, as 1/4, 2/4, 3/4 or 4/4')
        return cls(int(number), int(count))

    def part(self, rounds: Iterable[Round]) -> list[Round]:
        """The rounds that are played here."""
        return list(rounds)[self.number - 1 :: self.count]

    def __str__(self) -> str:
        """A name for a folder."""
        return f"{self.number}-of-{self.count}"


WHOLE = Shard()


def missing(run: RunFolder, episodes: Iterable[Episode]) -> list[Episode]:
    """The episodes that the run folder lacks."""
    return [episode for episode in episodes if not run.has_episode(episode.id)]


def missing_rounds(run: RunFolder, planned: Sequence[Episode], size: int) -> list[Round]:
    """The rounds of which the run folder lacks an episode or more, whole."""
    return [each for each in rounds_of(planned, size) if missing(run, each)]
