"""The buffer behind the feature cache: written in place, and yet a value. Against a plain list of frames."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worldsim.errors import InvalidInput
from worldsim.models.cache import HistoryCache, Memory
from worldsim.models.tape import Tape


def frame(value: int, lanes: int = 2, frames: int = 1) -> torch.Tensor:
    """Features `[lanes, 3, frames, 4]` that say which frame they are of."""
    return torch.full((lanes, 3, frames, 4), float(value)) + torch.arange(lanes)[:, None, None, None] / 10


def seen_by_definition(frames: list[torch.Tensor], window: int) -> torch.Tensor:
    """The last `window` frames, zeros before the first."""
    padded = [torch.zeros_like(frames[0])] * window + frames
    return torch.cat(padded[-window:], dim=-2)


@given(window=st.integers(1, 6), moves=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3)), max_size=25))
def test_whatever_is_branched_off_no_tape_changes(window, moves):
    """Each move appends to some earlier tape, not always the newest."""
    tapes = [(Tape.of(frame(0), window), [frame(0)])]
    for value, (choice, count) in enumerate(moves, start=1):
        tape, frames = tapes[choice % len(tapes)]
        new = [frame(10 * value + i) for i in range(count)]
        tapes.append((tape.after(torch.cat(new, dim=-2)), frames + new))
    for tape, frames in tapes:
        assert torch.equal(tape.seen, seen_by_definition(frames, window))


def test_frames_are_written_in_place():
    """A frame costs its own slot; only a full buffer, or a second future of one past, moves what is seen."""
    tape, buffers = Tape.of(frame(0), 8), set()
    for value in range(1, 25):
        tape = tape.after(frame(value))
        buffers.add(tape.slots.tensor.data_ptr())
    assert len(buffers) < 24 / 3
    first, second = tape.after(frame(99)), tape.after(frame(100))
    assert first.slots is not second.slots
    assert first.seen[0, 0, -1, 0] == 99
    assert second.seen[0, 0, -1, 0] == 100


def test_features_that_are_differentiated_are_not_written_in_place():
    tape = Tape.of(frame(0), 3)
    new = frame(1).requires_grad_()
    tape.after(new).seen.sum().backward()
    assert torch.equal(new.grad, torch.ones_like(new))


def test_what_is_kept_is_no_part_of_the_pass():
    """Nothing that a pass still owns, or that holds other branches, lives on: overwriting it afterwards changes no memory."""
    whole = torch.randn(2, 3, 5)  # two lanes, three branches
    memory = Memory(lanes=2)
    memory.write("conv", whole[:, 0])
    memory.append("attention", keys := torch.randn(2, 4, 1, 8))
    cache = memory.after(1, 4)
    before = [each.clone() for kept in cache.seen.values() for each in kept]
    whole.fill_(torch.nan)
    keys.fill_(torch.nan)
    after = [each for kept in HistoryCache(cache.length, cache.layers).seen.values() for each in kept]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    summary = cache.layers["conv"][0]
    assert summary.untyped_storage().nbytes() == summary.nbytes


def test_a_pass_over_nothing_that_remembers_is_refused():
    with pytest.raises(InvalidInput, match="no layer over time, so there is nothing to remember; type history=recompute"):
        Memory(lanes=1).after(1, 4)


def test_a_cache_says_what_a_lane_takes():
    cache = HistoryCache(torch.zeros(2, dtype=torch.int64), {"attention": (Tape.of(frame(0), 8),), "conv": (torch.zeros(2, 5),)})
    assert cache.bytes_per_lane == 4 * (3 * (8 + 4) * 4 + 5)
