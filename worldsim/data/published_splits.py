"""Which episodes of public data sets are held out from training, as papers that others compare with did it. Facts, in `references/splits/`.

A published list names episodes by number. RECON's list (9,468 trajectories to train on, 2,367 held out) is not at hand; its episodes are
split by a hash (`worldsim.data.splits.hash_split`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import PurePath

from worldsim.errors import DamagedFile, UnknownName
from worldsim.registry import did_you_mean

DOMAINS = ("rt1", "csgo")
CSGO_FOLDER = 200  # recordings per folder of the CS:GO data as DIAMOND's script lays it out: 1-200, 201-400, ...


@dataclass(frozen=True)
class PublishedSplit:
    """A frozen split of a public data set.

    Attributes:
        data: which data set, and how its episodes are numbered.
        source: who published the split, and its licence.
        pattern: an episode's name by its number, for `str.format`.
        held_out: numbers of the episodes that are never trained on, in the order of the published list.
        train: how many others were trained on.
        begins: first frame of the clip that is scored, by number, where the authors fixed one.
    """

    data: str
    source: str
    pattern: str
    held_out: tuple[int, ...]
    train: int
    begins: Mapping[int, int]

    @cached_property
    def _held_out(self) -> frozenset[int]:
        return frozenset(self.held_out)

    def number_of(self, name: str) -> int | None:
        """The number of an episode by its name, with or without a file's ending; None where the name is of another kind."""
        stem = PurePath(name).stem
        digits = re.search("[0-9]+$", stem)
        return int(digits[0]) if digits and self.pattern.format(int(digits[0])) == stem else None

    def split_of(self, name: str) -> str:
        """The split of an episode by its name: "validation" where it is held out, "train" for every other name."""
        return "validation" if self.number_of(name) in self._held_out else "train"


@cache
def published_split(domain: str) -> PublishedSplit:
    """The frozen split of "rt1" (RT-1 as in Vid2World) or "csgo" (CS:GO as in DIAMOND and Vid2World).

    Raises:
        UnknownName: no list for this domain.
        DamagedFile: the list that came with worldsim does not hold what it says.
    """
    if domain not in DOMAINS:
        raise UnknownName(f'no published split is at hand for "{domain}"; {did_you_mean(domain, DOMAINS)}')
    found = json.loads((files("worldsim.data") / "references" / "splits" / f"{domain}.json").read_text(encoding="utf-8"))
    episodes = tuple(found["episodes"])
    if len(set(episodes)) != found["held_out"] or len(episodes) != found["held_out"]:
        raise DamagedFile(f"the list of {domain} has {len(episodes)} episodes, expected {found['held_out']}; install worldsim again")
    begins = dict(zip(sorted(episodes, key=_csgo_place), found.get("begins", ()), strict=False))
    return PublishedSplit(found["data"], found["source"], found["pattern"], episodes, found["train"], begins)


def _csgo_place(number: int) -> tuple[str, str]:
    """What Vid2World sorts the CS:GO files by before it hands the i-th its i-th begin: their paths, as text.

    The folders are those of DIAMOND's script, which Vid2World's instructions call for; only the number that a folder begins with matters.
    """
    first = (number - 1) // CSGO_FOLDER * CSGO_FOLDER + 1
    return f"{first}-", f"hdf5_dm_july2021_{number}.hdf5"
