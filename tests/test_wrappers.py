"""What is put around a world model: chunks change nothing but the size of calls, and a watched lane that stands still is named."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import stirred
import torch
import toy
from breaking import Hungry, Stuck

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.types import ActionSpec
from worldsim.wrappers import FROZEN, PATIENCE, Chunked, Watched, start_lanes
from worldsim.wrappers.watched import moving

SIZES = (None, 1, 2, 3, 7)
LANES = 7


def pictures(lanes: int = LANES) -> np.ndarray:
    return np.stack([[toy.picture(lane % 8)] for lane in range(lanes)])


def seeds(lanes: int = LANES) -> np.ndarray:
    return np.arange(100, 100 + lanes, dtype=np.uint64)


def moves(steps: int, lanes: int = LANES) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, lanes, 2)).astype(np.float32)


def video(model, state, actions) -> np.ndarray:
    """Frames `[steps, B, H, W, 3]`."""
    frames = []
    for action in actions:
        state, shown = model.step(state, action)
        frames.append(shown)
    return np.stack(frames)


@pytest.mark.parametrize("size", SIZES)
def test_chunks_change_nothing_but_the_size_of_calls(size):
    plain, inner = toy.PixelShift(), toy.PixelShift()
    chunked, actions = Chunked(inner, size), moves(3)
    expected = video(plain, plain.start(pictures(), seeds()), actions)
    np.testing.assert_array_equal(video(chunked, chunked.start(pictures(), seeds()), actions), expected)
    full, rest = divmod(LANES, size or LANES)
    assert inner.calls == 3 * ([size or LANES] * full + [rest] * (rest > 0))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lanes", [[3], [6, 0, 3, 3, 1], list(range(LANES)), [0] * 9])
def test_selecting_across_chunks(size, lanes):
    plain, chunked, actions = toy.PixelShift(), Chunked(toy.PixelShift(), size), moves(3)
    states = [model.step(model.start(pictures(), seeds()), actions[0])[0].select(lanes) for model in (plain, chunked)]
    left, right = (video(model, state, actions[1:, lanes]) for model, state in zip((plain, chunked), states, strict=True))
    np.testing.assert_array_equal(left, right)
    assert len(states[1]) == len(lanes)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lanes", [[3], [6, 0, 2], list(range(LANES))[::-1]])
def test_merging_across_chunks_of_two_layouts(size, lanes):
    plain, chunked, actions = toy.PixelShift(), Chunked(toy.PixelShift(), size), moves(3)
    fresh, numbers = pictures()[: len(lanes)], np.arange(len(lanes), dtype=np.uint64)
    mine, theirs = (model.step(model.start(pictures(), seeds()), actions[0])[0] for model in (plain, chunked))
    other = Chunked(toy.PixelShift(), 2).start(fresh, numbers)
    left, right = mine.merge(lanes, plain.start(fresh, numbers)), theirs.merge(lanes, other)
    np.testing.assert_array_equal(video(plain, left, actions[1:]), video(chunked, right, actions[1:]))
    np.testing.assert_array_equal(video(plain, mine, actions[1:]), video(chunked, theirs, actions[1:]))  # which are as they were


@pytest.mark.parametrize("history", ["stream", "block", "window", "recompute"])
def test_alone_in_its_call_a_lane_has_the_bits_of_a_batch_of_one(history):
    inner = stirred.world_model(history=history, guidance=1.5)
    model, frames, actions = Chunked(inner, 1), stirred.pictures(3), stirred.actions(3, 6)
    state = model.start(frames, np.arange(3))
    for action in actions[:2]:
        state, _ = model.step(state, action)
    state = state.merge([1], model.start(frames[1:2], np.array([9])))
    shown = video(model, state, actions[2:])
    for lane, seed, since in ((0, 0, 0), (1, 9, 2), (2, 2, 0)):
        alone = video(inner, inner.start(frames[[lane]], np.array([seed])), actions[since:, [lane]])
        np.testing.assert_array_equal(alone[-4:, 0], shown[:, lane])


def errors() -> list[Exception]:
    return [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8000000 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ]


@pytest.mark.parametrize("error", errors(), ids=lambda error: str(error)[:20])
def test_a_memory_that_is_too_small_halves_the_chunks_and_says_so(error, caplog):
    plain, hungry, actions = toy.PixelShift(), Hungry(toy.PixelShift(), 2, error), moves(2)
    model = Chunked(hungry)
    expected = video(plain, plain.start(pictures(), seeds()), actions)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(video(model, model.start(pictures(), seeds()), actions), expected)
    assert model.size == 1
    assert hungry.calls == [7, 3] + [1] * 7 * 3
    assert [record.getMessage() for record in caplog.records] == [
        "the memory is too small for 7 lanes in one call of the world model; going on with 3 at a time",
        "the memory is too small for 3 lanes in one call of the world model; going on with 1 at a time",
    ]


def test_a_memory_that_becomes_too_small_in_mid_run_changes_no_frame():
    plain, hungry, actions = toy.PixelShift(), Hungry(toy.PixelShift(), 9, MemoryError()), moves(6)
    expected = video(plain, plain.start(pictures(), seeds()), actions)
    model = Chunked(hungry)
    state, shown = model.start(pictures(), seeds()), []
    for step, action in enumerate(actions):
        hungry.most = 4 if step > 2 else 9
        state, frames = model.step(state, action)
        shown.append(frames)
    np.testing.assert_array_equal(shown, expected)
    assert model.size == 3


def test_a_memory_too_small_for_one_lane_is_one_line():
    model = Chunked(Hungry(toy.PixelShift(), 0, MemoryError("no more\nat all")))
    with pytest.raises(WorldsimError) as caught:
        model.start(pictures(2), seeds(2))
    assert str(caught.value).startswith(
        "the memory is too small for the world model, even one lane at a time (no more); ask for fewer lanes"
    )
    assert "\n" not in str(caught.value)


def test_a_memory_too_small_to_hold_the_lanes_is_one_line(monkeypatch):
    model = Chunked(toy.PixelShift(), 2)
    state = model.start(pictures(), seeds())

    def full(*arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.\nmore")

    monkeypatch.setattr(toy.PixelState, "select", full)
    monkeypatch.setattr(toy.PixelState, "merge", full)
    for call, lanes in ((lambda: state.select([1, 5]), 2), (lambda: state.merge([1], model.start(pictures(1), seeds(1))), 7)):
        with pytest.raises(WorldsimError, match=f"too small to hold {lanes} lanes of this world") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_other_errors_pass_through():
    model = Chunked(Hungry(toy.PixelShift(), 0, RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        model.start(pictures(), seeds())
    assert model.size is None


def test_wrong_input_of_a_chunked_model_names_the_lane_of_the_whole_batch():
    model = Chunked(toy.PixelShift(), 2)
    state, actions = model.start(pictures(), seeds()), moves(1)[0]
    actions[5, 0] = np.nan
    with pytest.raises(InvalidInput, match='"right" of lane 5 is nan'):
        model.step(state, actions)
    with pytest.raises(InvalidInput, match="7 lanes need as many actions, got 6"):
        model.step(state, np.zeros((6, 2), np.float32))
    with pytest.raises(InvalidInput, match="7 lanes need as many seeds, got 6"):
        model.start(pictures(), seeds(6))
    with pytest.raises(InvalidInput, match="size is 0, expected a number of lanes"):
        Chunked(toy.PixelShift(), 0)


def test_a_frozen_lane_is_found_and_the_others_are_left_alone():
    model = Watched(Stuck(toy.PixelShift(), {102: 3, 105: 1}))
    plain, actions = toy.PixelShift(), np.ones((6, LANES, 2), dtype=np.float32)
    state, expected = model.start(pictures(), seeds()), video(plain, plain.start(pictures(), seeds()), actions)
    found = {}
    for number, action in enumerate(actions, start=1):
        state, frames = model.step(state, action)
        found |= {lane: number for lane, fault in enumerate(state.faults) if fault and lane not in found}
        sound = [lane for lane in range(LANES) if lane not in (2, 5)]
        np.testing.assert_array_equal(frames[sound], expected[number - 1, sound])
    assert found == {2: 3 + PATIENCE - 1, 5: PATIENCE}
    assert set(state.faults) == {"", FROZEN}
    assert state.select([2, 0]).faults == (FROZEN, "")
    assert state.merge([5], model.start(pictures(1), seeds(1))).faults == tuple(FROZEN if lane == 2 else "" for lane in range(LANES))


@pytest.mark.parametrize(("actions", "expected"), [([0, 0, 0, 0, 0], False), ([1, 1, 0, 1, 1], False), ([1, 1, 1, 0, 0], True)])
def test_only_a_run_of_moves_may_not_stand_still(actions, expected):
    model = Watched(Stuck(toy.PixelShift(), {100: 1}))
    state = model.start(pictures(1), seeds(1))
    for right in actions:
        state, _ = model.step(state, np.array([[right, 0]], dtype=np.float32))
    assert bool(state.faults[0]) is expected


def test_what_counts_as_a_move():
    spec = ActionSpec(("x", "speed", "gripper"), (-1.0, 0.5, 0.0), (1.0, 2.5, 1.0), 5.0, gripper="absolute")
    actions = np.array([[0, 0.5, 0], [0.019, 0.5, 0], [0.021, 0.5, 0], [0, 0.53, 0], [0, 0.5, 1], [-1, 0.5, 1]], dtype=np.float32)
    assert moving(actions, spec).tolist() == [False, False, True, True, False, True]
    relative = ActionSpec(spec.names, spec.low, spec.high, 5.0, gripper="relative")
    assert moving(actions, relative).tolist() == [False, False, True, True, True, True]


def test_lanes_of_several_lengths_begin_while_others_go_on():
    model, long = toy.PixelShift(), np.stack([toy.picture(5)] * 2)
    begun = {lane: (long if lane % 2 else pictures()[lane], 10 + lane) for lane in (4, 1, 3, 0, 2)}
    state = start_lanes(model, None, 5, begun)
    assert state.seeds.tolist() == [10, 11, 12, 13, 14]
    assert [toy.column_of(frame) for frame in state.frames] == [0, 5, 2, 5, 4]
    later = start_lanes(model, state, 5, {3: (pictures()[7 - 1], 3), 1: (long, 1)})
    assert later.seeds.tolist() == [10, 1, 12, 3, 14]
    np.testing.assert_array_equal(later.frames[[0, 2, 4]], state.frames[[0, 2, 4]])
    assert start_lanes(model, later, 2, {0: (long, 1), 1: (long, 2)}).seeds.tolist() == [1, 2]


def test_wrappers_load_no_torch():
    code = "import sys, worldsim.wrappers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
