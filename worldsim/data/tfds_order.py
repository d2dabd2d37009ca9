"""In which order tensorflow-datasets reads the records of several files. Knows numbers only, and needs no tensorflow.

Published lists (RT-1's hold-out episodes) count episodes in this order, not in that of the files: read with its defaults,
tensorflow-datasets takes up to 16 records at a time from each of 16 files in turn.
"""

from collections import deque
from collections.abc import Iterator, Sequence

CYCLE, BLOCK = 16, 16  # defaults of tensorflow_datasets.ReadConfig: interleave_cycle_length, interleave_block_length


def reading_order(records: Sequence[int], cycle: int = CYCLE, block: int = BLOCK) -> Iterator[tuple[int, int]]:
    """(file, record) of the first, second, ... episode that a default `as_dataset()` yields.

    Args:
        records: how many records each file holds, `builder.info.splits[split].shard_lengths`.
        cycle: files that are open at a time.
        block: records taken from one before it is the next one's turn.
    """
    waiting = deque((file, iter(range(count))) for file, count in enumerate(records))
    places: list = [None] * cycle
    turn = 0
    while waiting or any(places):
        taken = 0
        while taken < block:
            if places[turn] is None:
                if not waiting:
                    break
                places[turn] = waiting.popleft()
            file, rest = places[turn]
            record = next(rest, None)
            if record is None:
                places[turn] = None  # its place goes to the next file when its turn comes again
                break
            taken += 1
            yield file, record
        turn = (turn + 1) % cycle
