"""The video network: what a frame may depend on, and that every cached, batched or two-stream way of computing it agrees. In float64."""

import pytest
import stirred
import torch
from torch import Tensor

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.cache import HistoryCache, Memory
from worldsim.models.video_unet import VideoUNet, VideoUNetConfig

WINDOW = 4
trunks = pytest.mark.parametrize("trunk", stirred.TRUNKS)
pytestmark = pytest.mark.usefixtures("_no_gradients")


@pytest.fixture
def _no_gradients():
    with torch.no_grad():
        yield


def net_of(trunk: str, **options) -> VideoUNet:
    return stirred.network(trunk, window=WINDOW, **options).double()


def inputs_of(frames: int, lanes: int = 2, streams: int = 1, seed: int = 0) -> dict[str, Tensor]:
    """Random arguments of a pass, every third action hidden."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    known = (draw(lanes, streams, frames) > 0.33).double()
    return {
        "x": 2 * draw(lanes, streams, frames, 4, 4, 4) - 1,
        "levels": draw(lanes, streams, frames),
        "actions": 2 * draw(lanes, frames, 3) - 1,
        "known": known,
    }


def frames_of(inputs: dict[str, Tensor], frames: slice) -> dict[str, Tensor]:
    """The arguments that concern some frames."""
    return {name: tensor[:, frames] if name == "actions" else tensor[:, :, frames] for name, tensor in inputs.items()}


def lanes_of(inputs: dict[str, Tensor], lanes: list[int]) -> dict[str, Tensor]:
    return {name: tensor[lanes] for name, tensor in inputs.items()}


def advance(net: VideoUNet, cache: HistoryCache | None, inputs: dict[str, Tensor]) -> tuple[Tensor, HistoryCache]:
    """One frame: output `[B, S, 1, ...]` and the cache after it."""
    memory = Memory(cache)
    return net(**inputs, memory=memory), net.remember(memory, 1)


def stepwise(net: VideoUNet, inputs: dict[str, Tensor]) -> tuple[Tensor, HistoryCache]:
    """All frames, one by one through the cache."""
    cache, outputs = None, []
    for frame in range(inputs["x"].shape[2]):
        output, cache = advance(net, cache, frames_of(inputs, slice(frame, frame + 1)))
        outputs.append(output)
    return torch.cat(outputs, dim=2), cache


def changed_from(inputs: dict[str, Tensor], name: str, frame: int) -> dict[str, Tensor]:
    """The arguments with `name` changed at `frame` and after."""
    tensor = inputs[name].clone()
    tensor[(slice(None), slice(frame, None)) if name == "actions" else (slice(None), slice(None), slice(frame, None))] *= -0.5
    if name == "known":
        tensor[:, :, frame:] = 1 - inputs[name][:, :, frame:]
    return inputs | {name: tensor}


@trunks
@pytest.mark.parametrize("name", ["x", "levels", "actions", "known"])
@pytest.mark.parametrize("frames", [1, 2, 5, WINDOW + 6])
def test_the_past_does_not_feel_the_future(trunk, name, frames):
    net, inputs = net_of(trunk), inputs_of(frames)
    inputs["known"] = torch.ones_like(inputs["known"]) if name == "actions" else inputs["known"]
    before = net(**inputs)
    for frame in range(frames):
        after = net(**changed_from(inputs, name, frame))
        assert torch.equal(after[:, :, :frame], before[:, :, :frame])
        assert not torch.equal(after[:, :, frame], before[:, :, frame])  # the frame itself does feel it


@trunks
@pytest.mark.parametrize("name", ["x", "levels", "actions"])
def test_before_causalization_the_past_does_feel_the_future(trunk, name):
    net, inputs = net_of(trunk, causal=False), inputs_of(3)
    inputs["known"] = torch.ones_like(inputs["known"])
    assert (net(**changed_from(inputs, name, 2)) - net(**inputs))[:, :, :2].abs().amax() > 1e-6


@trunks
def test_a_frame_feels_its_past(trunk):
    net, inputs = net_of(trunk), inputs_of(4)
    moved = inputs | {"x": inputs["x"].clone()}
    moved["x"][:, :, 0] += 1
    difference = (net(**moved) - net(**inputs)).abs().amax(dim=(0, 1, 3, 4, 5))
    assert difference.min() > 1e-6


@trunks
def test_a_prefix_is_computed_as_the_whole_is(trunk):
    net, inputs = net_of(trunk), inputs_of(WINDOW + 5)
    whole = net(**inputs)
    for frames in range(1, WINDOW + 5):
        prefix = net(**frames_of(inputs, slice(0, frames)))
        torch.testing.assert_close(prefix, whole[:, :, :frames], atol=1e-12, rtol=0)


@trunks
def test_gradients_do_not_flow_back_in_time(trunk):
    net, inputs = net_of(trunk), inputs_of(WINDOW + 2)
    with torch.enable_grad():
        inputs["x"].requires_grad_()
        net(**inputs)[:, :, 3].sum().backward()
    reach = inputs["x"].grad.abs().amax(dim=(0, 1, 3, 4, 5))
    assert (reach[:4] > 0).all()
    assert (reach[4:] == 0).all()


@trunks
@pytest.mark.parametrize("frames", [1, 2, WINDOW, 2 * WINDOW + 5])
def test_frame_by_frame_equals_the_full_pass(trunk, frames):
    net, inputs = net_of(trunk), inputs_of(frames)
    outputs, cache = stepwise(net, inputs)
    torch.testing.assert_close(outputs, net(**inputs), atol=1e-12, rtol=0)
    assert cache.length.tolist() == [min(frames, WINDOW)] * 2


@trunks
@pytest.mark.parametrize("frames", [1, 3, WINDOW + 4])
def test_the_cache_of_a_full_pass_continues_as_that_of_single_steps(trunk, frames):
    net, inputs = net_of(trunk), inputs_of(frames + 1)
    memory = Memory()
    net(**frames_of(inputs, slice(0, frames)), memory=memory)
    last = frames_of(inputs, slice(frames, frames + 1))
    output, _ = advance(net, net.remember(memory, frames), last)
    torch.testing.assert_close(output, net(**inputs)[:, :, frames:], atol=1e-12, rtol=0)


@trunks
def test_a_cache_is_a_value(trunk):
    """Two branches from one cache: neither changes it."""
    net, inputs = net_of(trunk), inputs_of(4)
    _, cache = stepwise(net, frames_of(inputs, slice(0, 3)))
    kept = {name: [tensor.clone() for tensor in tensors] for name, tensors in cache.seen.items()}
    last = frames_of(inputs, slice(3, 4))
    first, _ = advance(net, cache, last)
    advance(net, cache, last | {"x": -last["x"]})
    again = HistoryCache(cache.length, cache.layers).seen  # read anew from what the layers hold
    assert all(torch.equal(a, b) for name in kept for a, b in zip(kept[name], again[name], strict=True))
    assert torch.equal(advance(net, cache, last)[0], first)


@trunks
@pytest.mark.parametrize("frames", [1, 3, WINDOW + 4])
def test_the_history_stream_does_not_feel_the_targets(trunk, frames):
    """Bit for bit between passes of one shape; to rounding against the pass of history alone, whose matrix products have other sizes."""
    net, one = net_of(trunk), inputs_of(frames)
    first, second = (
        {name: one[name] if name == "actions" else torch.cat([one[name], other[name]], dim=1) for name in one}
        for other in (inputs_of(frames, seed=7), inputs_of(frames, seed=8))
    )
    history = net(**first)[:, :1]
    assert torch.equal(net(**second)[:, :1], history)
    torch.testing.assert_close(history, net(**one), atol=1e-12, rtol=0)


@trunks
@pytest.mark.parametrize("frames", [1, 3, WINDOW + 4])
def test_a_second_stream_equal_to_history_has_the_same_output(trunk, frames):
    net, one = net_of(trunk), inputs_of(frames)
    two = {name: one[name] if name == "actions" else one[name].repeat(1, 2, *[1] * (one[name].ndim - 2)) for name in one}
    history, target = net(**two).unbind(dim=1)
    torch.testing.assert_close(target, history, atol=1e-12, rtol=0)


@trunks
def test_a_target_sees_history_and_itself_and_no_other_target(trunk):
    """What is trained (two streams in one pass) is what is sampled: the history's cache, then the target's frame."""
    frames = WINDOW + 3
    net, inputs = net_of(trunk), inputs_of(frames, streams=2)
    trained = net(**inputs)[:, 1]
    history = {name: tensor if name == "actions" else tensor[:, :1] for name, tensor in inputs.items()}
    target = {name: tensor if name == "actions" else tensor[:, 1:] for name, tensor in inputs.items()}
    cache = None
    for frame in range(frames):
        now = slice(frame, frame + 1)
        sampled, _ = advance(net, cache, frames_of(target, now))
        torch.testing.assert_close(sampled[:, 0, 0], trained[:, frame], atol=1e-12, rtol=0)
        _, cache = advance(net, cache, frames_of(history, now))


@trunks
def test_guidance_branches_share_one_cache(trunk):
    """Two branches as two streams equal each branch alone."""
    net, past = net_of(trunk), inputs_of(3)
    _, cache = stepwise(net, past)
    now = inputs_of(1, streams=2, seed=5)
    both = net(**now, memory=Memory(cache, branches=2, keeps=False))
    for branch in range(2):
        alone = {name: tensor if name == "actions" else tensor[:, branch : branch + 1] for name, tensor in now.items()}
        torch.testing.assert_close(advance(net, cache, alone)[0][:, 0], both[:, branch], atol=1e-12, rtol=0)


@trunks
@pytest.mark.parametrize("frames", [1, 3, WINDOW + 4])
def test_one_pass_writes_a_frame_and_evaluates_the_next(trunk, frames):
    """Stream 0 is the newest frame, the others are two versions of the one after it; as if it had been written first."""
    net, past = net_of(trunk), inputs_of(frames + 1)
    _, before = stepwise(net, frames_of(past, slice(0, frames)))
    newest, following = frames_of(past, slice(frames, frames + 1)), inputs_of(1, streams=2, seed=5)
    written, apart = advance(net, before, newest)
    evaluated = net(**following, memory=Memory(apart, branches=2, keeps=False))
    both = {name: torch.cat([newest[name], following[name]], dim=1) for name in ("x", "levels", "known")}
    actions = torch.stack([newest["actions"], *[following["actions"]] * 2], dim=1)  # [B, S, 1, A]
    memory = Memory(before, branches=3, ahead=True)
    out = net(**both, actions=actions, memory=memory)
    torch.testing.assert_close(out, torch.cat([written, evaluated], dim=1), atol=1e-12, rtol=0)
    for name, features in net.remember(memory, 1).seen.items():
        torch.testing.assert_close(features, apart.seen[name], atol=1e-12, rtol=0)


@trunks
def test_lanes_do_not_feel_their_batch_mates(trunk):
    net, inputs = net_of(trunk), inputs_of(WINDOW + 2, lanes=3, streams=2)
    together = net(**inputs)
    for lane in range(3):
        torch.testing.assert_close(net(**lanes_of(inputs, [lane])), together[lane : lane + 1], atol=1e-12, rtol=0)


@trunks
def test_select_takes_lanes_in_the_order_given(trunk):
    net, inputs = net_of(trunk), inputs_of(4, lanes=3)
    _, cache = stepwise(net, frames_of(inputs, slice(0, 3)))
    last, order = frames_of(inputs, slice(3, 4)), [2, 0, 2]
    expected, _ = advance(net, cache, last)
    chosen, _ = advance(net, cache.select(order), lanes_of(last, order))
    torch.testing.assert_close(chosen, expected[order], atol=1e-12, rtol=0)


@trunks
def test_a_lane_that_begins_anew_in_mid_run_is_as_if_alone(trunk):
    """Lane 1 of three is reset after five frames: from then on the lanes have different lengths."""
    net, old, fresh = net_of(trunk), inputs_of(10, lanes=3), inputs_of(5, lanes=1, seed=9)
    _, cache = stepwise(net, frames_of(old, slice(0, 5)))
    _, first = stepwise(net, frames_of(fresh, slice(0, 1)))
    old_first, cache = advance(net, cache, frames_of(old, slice(5, 6)))
    cache = cache.merge([1], first)
    assert cache.length.tolist() == [WINDOW, 1, WINDOW]
    expected_old, expected_fresh = net(**old), net(**fresh)
    torch.testing.assert_close(old_first[:, :, 0], expected_old[:, :, 5], atol=1e-12, rtol=0)
    for step in range(1, 5):
        mixed = {name: tensor.clone() for name, tensor in frames_of(old, slice(5 + step, 6 + step)).items()}
        for name, tensor in frames_of(fresh, slice(step, step + 1)).items():
            mixed[name][1:2] = tensor
        output, cache = advance(net, cache, mixed)
        torch.testing.assert_close(output[1, :, 0], expected_fresh[0, :, step], atol=1e-12, rtol=0)
        torch.testing.assert_close(output[::2, :, 0], expected_old[::2, :, 5 + step], atol=1e-12, rtol=0)


def test_merge_leaves_both_caches_alone():
    net, inputs = net_of("hybrid"), inputs_of(3, lanes=2)
    _, mine = stepwise(net, inputs)
    _, other = stepwise(net, lanes_of(frames_of(inputs_of(2, seed=3), slice(0, 1)), [0]))
    before = [tensor.clone() for tensors in mine.seen.values() for tensor in tensors]
    merged = mine.merge([1], other)
    assert (mine.length.tolist(), other.length.tolist(), merged.length.tolist()) == ([3, 3], [1], [3, 1])
    after = [tensor for tensors in HistoryCache(mine.length, mine.layers).seen.values() for tensor in tensors]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert merged.select([1]).length.tolist() == other.length.tolist()
    for name, tensors in merged.seen.items():
        for ours, theirs, both in zip(mine.seen[name], other.seen[name], tensors, strict=True):
            assert torch.equal(both, torch.cat([ours[:1], theirs]))


def test_frames_beyond_the_window_are_out_of_reach_of_one_attention():
    """A trunk of one temporal attention forgets frame 0 after WINDOW frames; before that it does not."""
    config = VideoUNetConfig(4, 4, 3, 2, (32,), (("time",),), 32, WINDOW, causal=True)
    torch.manual_seed(0)
    net = stirred.stir(config.build()).double()
    net.middle, net.up = torch.nn.ModuleList(), torch.nn.ModuleList([torch.nn.ModuleList()])
    inputs = inputs_of(WINDOW + 3)
    moved = inputs | {"x": inputs["x"].clone()}
    moved["x"][:, :, 0] += 1
    difference = (net(**moved) - net(**inputs)).abs().amax(dim=(0, 1, 3, 4, 5))
    assert (difference[: WINDOW + 1] > 0).all()
    assert (difference[WINDOW + 1 :] == 0).all()


def test_a_hidden_action_has_no_effect():
    net, inputs = net_of("unet"), inputs_of(3)
    inputs["known"] = torch.zeros_like(inputs["known"])
    assert torch.equal(net(**inputs), net(**inputs | {"actions": inputs["actions"] + 1}))


def test_a_fresh_network_predicts_no_change():
    net = VideoUNetConfig(latent_channels=4, latent_size=4, channels=(16, 32), embedding=32).build().double()
    assert not net(**inputs_of(3)).any()


@trunks
def test_the_description_builds_the_same_shape(trunk):
    net = net_of(trunk)
    twin = VideoUNetConfig(**net.describe()).build()
    assert {name: tensor.shape for name, tensor in twin.state_dict().items()} == {name: t.shape for name, t in net.state_dict().items()}


def test_unknown_layers():
    with pytest.raises(UnknownName, match='unknown layer "tine"; did you mean "time"'):
        VideoUNetConfig(channels=(32,), levels=(("tine",),)).build()


def test_a_memory_takes_one_frame_of_its_branches_at_a_time():
    net, inputs = net_of("unet"), inputs_of(2, streams=2)
    _, cache = stepwise(net, frames_of(inputs_of(2), slice(0, 1)))
    with pytest.raises(InvalidInput, match=r"\[2, 2\] streams and frames are given to a memory, expected \[2, 1\]"):
        net(**inputs, memory=Memory(cache, branches=2))
    with pytest.raises(InvalidInput, match=r"\[2, 1\] streams and frames are given to a memory, expected \[1, 1\]"):
        net(**frames_of(inputs, slice(0, 1)), memory=Memory(cache))


def test_a_pass_that_keeps_nothing_cannot_be_remembered():
    net, inputs = net_of("unet"), inputs_of(1)
    memory = Memory(keeps=False)
    net(**inputs, memory=memory)
    assert not memory.written
    assert not memory.appended
    with pytest.raises(InvalidInput, match="cannot be remembered"):
        net.remember(memory, 1)
