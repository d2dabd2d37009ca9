"""Which seeds belong to training, validation and evaluation. Disjoint by construction: a seed's range is its split."""

from pathlib import Path

from worldsim.errors import InvalidInput
from worldsim.registry import did_you_mean

SPAN = 1_000_000
SPLITS = {"train": 0, "validation": 1, "evaluation": 2}


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
