"""Which split an RLDS episode belongs to, where the data set itself has one split only. Knows numbers and names only."""

from collections.abc import Callable, Mapping, Sequence

from worldsim.data.published_splits import published_split
from worldsim.data.splits import hash_split
from worldsim.data.tfds_order import reading_order

RT1 = "fractal20220817_data"
Rule = Callable[[str, int, int, str], str]  # (split, file, record, name) of an episode to its split


def split_rule(data_set: str, splits: Mapping[str, Sequence[int]]) -> Rule:
    """How the episodes of a data set are split.

    Where it has several splits, they are kept. RT-1, whole, is split as published (4,361 held out); any other by the hash of a name.

    Args:
        data_set: what it calls itself.
        splits: for each of its splits, how many records each file holds by tensorflow-datasets' own account (`shard_lengths`).

    Returns:
        A function of an episode's split in the data set, the numbers of its file in that split and of its record in the file, and its name.
    """
    if len(splits) != 1:
        return lambda split, file, record, name: split
    records, published = next(iter(splits.values())), published_split("rt1")
    if data_set != RT1 or sum(records) != len(published.held_out) + published.train:
        return lambda split, file, record, name: hash_split(name)
    held_out = set(published.held_out)
    apart = {place for number, place in enumerate(reading_order(records)) if number in held_out}
    return lambda split, file, record, name: "validation" if (file, record) in apart else "train"
