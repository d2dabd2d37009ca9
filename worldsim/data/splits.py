"""What belongs to training, validation and evaluation: of our own worlds by the seed, of recordings by a hash of the episode's name.

Disjoint by construction: a seed's range is its split, and a name has one hash.
"""

from collections.abc import Mapping
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

from worldsim.errors import InvalidInput
from worldsim.registry import did_you_mean

SPAN = 1_000_000
SPLITS = {"train": 0, "validation": 1, "evaluation": 2}
CHAINS = ("table-close-push",)  # tasks in a row
# Tasks of our own worlds, whose episodes are split by their seeds.
OWN = ("drawer", "drop", "table-close", "table-open", "table-push", *CHAINS)
HASH_SHARES = {"train": 0.9, "validation": 0.1}


def seed_of(split: str, index: int) -> int:
    """The seed of episode `index` of a split.

    Raises:
        InvalidInput: unknown split, or an index outside [0, 1,000,000).
    """
    if split not in SPLITS:
        raise InvalidInput(f'unknown split "{split}"; {did_you_mean(split, SPLITS)}')
    if not 0 <= index < SPAN:
        raise InvalidInput(f"episode index {index} is outside [0, {SPAN}), the seeds of one split")
    return SPLITS[split] * SPAN + index


def split_of(seed: int) -> str:
    """The split that a seed belongs to; seeds beyond all ranges belong to none ("other")."""
    names = {base: name for name, base in SPLITS.items()}
    return names.get(seed // SPAN, "other")


def split_folder(data: str | Path, split: str) -> Path:
    """The folder of a split below `data` ("val" is validation, as RLDS names it), or `data` itself where it is not divided."""
    names = [split, *(["val"] if split == "validation" else [])]
    return next((Path(data) / name for name in names if (Path(data) / name).is_dir()), Path(data))


def require_split(seed: int, split: str) -> None:
    """Refuse a seed of another split: what is trained on must never be evaluated on.

    Raises:
        InvalidInput: naming both splits.
    """
    if split_of(seed) != split:
        raise InvalidInput(
            f"seed {seed} belongs to the {split_of(seed)} split, expected {split}; collect with: worldsim collect split={split}"
        )


def hash_split(episode: str, shares: Mapping[str, float] | None = None, salt: str = "worldsim") -> str:
    """The split of an episode by its name alone: the same on every machine, and never changed by episodes that come or go.

    The first 64 bits of SHA-256 of `salt`, a NUL and the name are a number in [0, 1). The splits stand side by side on that line in the
    order given, each as wide as its share. Episodes of one session that are named apart may land on both sides.

    Args:
        episode: a name that stays, unique in its data set.
        shares: share of each split, together 1; nine tenths train, one tenth validation by default.
        salt: another word draws another, independent split.

    Raises:
        InvalidInput: shares that are negative or do not add up to 1.
    """
    shares = HASH_SHARES if shares is None else shares
    if not shares or not all(share >= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise InvalidInput(f"shares of splits are {dict(shares)}, expected numbers from 0 that add up to 1")
    place = int.from_bytes(sha256(f"{salt}\0{episode}".encode(errors="surrogatepass")).digest()[:8], "big") / 2**64
    ends = accumulate(shares.values())
    inside = (name for name, end in zip(shares, ends, strict=True) if place < end)
    return next(inside, next(name for name in reversed(shares) if shares[name] > 0))  # the sum may fall short of 1 by a rounding
