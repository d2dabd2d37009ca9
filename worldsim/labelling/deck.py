"""Which clips a rater is shown and in which order, so that nothing about a clip's place or name tells who acted in it.

Both follow from hashes, not from a generator: `seed` and the episode decide which clips are chosen, the same for everybody, so that raters
overlap; `seed`, the episode and the rater decide the order, another for each. A run that grows adds clips and moves none.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worldsim.data.files import digest_of
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.report.run_folder import WORLDS, About, RunFolder

BOTH = "both"
LAYOUTS = ("single", "pair")


@dataclass(frozen=True)
class Card:
    """A clip to judge: the random name that it goes by on the page, its place in the order from 1, and the clip shown beside it."""

    id: str
    place: int
    entry: About
    reference: str | None = None


@dataclass(frozen=True)
class Choice:
    """Which episodes are to be labelled: their world, how many (None is all), and the seed; and whether a true clip stands beside.

    `only` are ids of the episodes to choose from; None is all.
    """

    world: str = "imagined"
    count: int | None = None
    seed: int = 0
    layout: str = "single"
    only: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.layout == "pair" and self.world != "imagined":
            raise InvalidInput(f"layout=pair sets true clips beside imagined ones and would tell them apart; drop it or world={self.world}")


def read_entries(run: RunFolder) -> tuple[list[About], dict[str, str]]:
    """Every episode of a run that says who acted where, and why others cannot be read, by id. Moves no file."""
    entries, damaged = [], {}
    for episode in run.episode_ids():
        try:
            entries.append(run.about(episode))
        except DamagedFile as error:
            damaged[episode] = str(error)
    return entries, damaged


def chosen(entries: Iterable[About], choice: Choice) -> list[About]:
    """The episodes to label, the same for every rater. Those that broke off are left out: nobody can tell how they would have ended."""
    worlds = WORLDS if choice.world == BOTH else (choice.world,)
    asked = [entry for entry in entries if choice.only is None or entry.episode in choice.only]
    fitting = [entry for entry in asked if entry.world in worlds and not entry.fault]
    return sorted(fitting, key=lambda entry: digest_of(["chosen", choice.seed, entry.episode]))[: choice.count]


def deal(entries: Sequence[About], choice: Choice, rater: str) -> list[Card]:
    """The rater's cards in order, each under a fresh random name."""
    shuffled = sorted(chosen(entries, choice), key=lambda entry: digest_of(["order", choice.seed, rater, entry.episode]))
    twins = _twins(entries) if choice.layout == "pair" else {}
    return [Card(secrets.token_urlsafe(12), place, entry, twins.get(entry.episode)) for place, entry in enumerate(shuffled, 1)]


def _twins(entries: Iterable[About]) -> dict[str, str]:
    """The true episode of the same policy from the same start, by imagined episode: the n-th with the n-th where there are several."""
    seen: Counter[tuple[str, str, str]] = Counter()
    keyed: dict[tuple[str, str, str, int], str] = {}
    for entry in sorted(entries, key=lambda entry: (entry.seed, entry.episode)):
        place = (entry.world, entry.policy, entry.start)
        keyed[*place, seen[place]] = entry.episode
        seen[place] += 1
    return {episode: keyed[twin] for key, episode in keyed.items() if key[0] == "imagined" and (twin := ("truth", *key[1:])) in keyed}
