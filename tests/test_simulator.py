"""The learned world as a world model: lanes, seeds, branches, sampler options, checkpoints. On tiny random networks in float32."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import stirred
import torch

from worldsim.data.actions import normalise
from worldsim.diffusion.noise import keyed_noise
from worldsim.diffusion.samplers import level_steps
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.load import load_world_model
from worldsim.models.autoencoder import to_unit
from worldsim.simulator import HISTORY_STEP, LatentState, Sampler, VideoWorldModel, open_world_model, save_world_model

TOLERANCE = 1e-5  # of latents of size 1, in float32: matrix products of other sizes round otherwise
STEPS = 7  # beyond the window of 4


@pytest.fixture(scope="module")
def model() -> VideoWorldModel:
    return stirred.world_model()


def rollout(model: VideoWorldModel, frames, seeds, actions) -> tuple[LatentState, np.ndarray, torch.Tensor]:
    """The last state, frames `[steps, B, H, W, 3]` and latents `[steps, B, h, w, C]`."""
    state, video, latents = model.start(frames, np.asarray(seeds, dtype=np.uint64)), [], []
    for action in actions:
        state, newest = model.step(state, action)
        video.append(newest)
        latents.append(state.latest)
    return state, np.stack(video), torch.stack(latents)


def assert_same(left: torch.Tensor, right: torch.Tensor) -> None:
    torch.testing.assert_close(left, right, atol=TOLERANCE, rtol=0)


def recomputed(model: VideoWorldModel, frames: np.ndarray, seed: int, actions: np.ndarray) -> torch.Tensor:
    """One lane of the same world by its definition: without a cache, every evaluation passes over all history and the new frame."""
    net, sampler, shape = model.network, model.sampler, (4, 4, 4)
    level = sampler.history_level
    clean = list(model.autoencoder.encode(to_unit(torch.from_numpy(frames))))
    into, known = [torch.zeros(3)] * len(frames), [0.0] * len(frames)
    for action in actions:
        index = len(clean)
        held = [(1 - level) * z + level * keyed_noise([seed], [i], HISTORY_STEP, shape)[0] for i, z in enumerate(clean)]
        into.append(torch.from_numpy(normalise(action, model.spec.action)))
        x = keyed_noise([seed], [index], 0, shape)[0]
        for now, after in zip(level_steps(sampler.steps)[:-1], level_steps(sampler.steps)[1:], strict=True):
            streams = torch.stack([torch.stack([*held, x])] * 2)[None]  # [1, 2, T, h, w, C]
            levels = torch.tensor([level] * index + [now]).expand(1, 2, -1)
            masks = torch.tensor([[*known, 1.0], [*known, 0.0]])[None]
            output = net(streams, levels, torch.stack(into)[None], masks)[0, :, -1]
            with_action, without = output + (1 - level) * held[-1]
            guess = without + sampler.guidance * (with_action - without)
            x = (1 - after) * guess + after * (x - (1 - now) * guess) / now
        clean.append(x)
        known.append(1.0)
    return torch.stack(clean[len(frames) :])


@pytest.mark.parametrize("trunk", stirred.TRUNKS)
@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("given", [1, 6])
def test_the_cached_world_is_the_world_by_definition(trunk, guidance, given):
    model = stirred.world_model(trunk, steps=2, guidance=guidance)
    frames, actions = stirred.pictures(1, given), stirred.actions(1, STEPS)
    with torch.no_grad():
        expected = recomputed(model, frames[0], 11, actions[:, 0])
    _, _, latents = rollout(model, frames, [11], actions)
    torch.testing.assert_close(latents[:, 0], expected, atol=1e-4, rtol=0)


def test_frames_are_pixels_of_the_latents(model):
    state, video, _ = rollout(model, stirred.pictures(2), [1, 2], stirred.actions(2, 2))
    assert video.dtype == np.uint8
    assert video.shape == (2, 2, 32, 32, 3)
    with torch.no_grad():
        decoded = model.autoencoder.decode(state.latest).numpy()
    assert np.array_equal(video[-1], np.clip(np.rint((decoded + 1) * 127.5), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("trunk", stirred.TRUNKS)
def test_a_lane_does_not_feel_its_batch_mates(trunk):
    model, frames, actions = stirred.world_model(trunk, guidance=2.0), stirred.pictures(3), stirred.actions(3, STEPS)
    _, video, latents = rollout(model, frames, [5, 6, 7], actions)
    for lane in range(3):
        _, alone, own = rollout(model, frames[[lane]], [5 + lane], actions[:, [lane]])
        assert_same(own[:, 0], latents[:, lane])
        assert np.abs(alone[:, 0].astype(int) - video[:, lane]).max() <= 1


def test_the_same_seeds_give_the_same_video_bit_for_bit(model):
    frames, actions = stirred.pictures(2), stirred.actions(2, STEPS)
    torch.manual_seed(1)
    _, first, _ = rollout(model, frames, [3, 4], actions)
    torch.manual_seed(2)
    _, again, _ = rollout(model, frames, [3, 4], actions)
    assert np.array_equal(first, again)
    _, other, _ = rollout(model, frames, [3, 2**64 - 1], actions)
    assert np.array_equal(other[:, 0], first[:, 0])
    assert not np.array_equal(other[:, 1], first[:, 1])


def test_actions_matter_and_only_from_their_step_on(model):
    actions = stirred.actions(1, 4)
    changed = actions.copy()
    changed[2] *= -1
    _, _, left = rollout(model, stirred.pictures(1), [0], actions)
    _, _, right = rollout(model, stirred.pictures(1), [0], changed)
    assert torch.equal(left[:2], right[:2])
    assert (left[2] - right[2]).abs().max() > 1e-3
    assert (left[3] - right[3]).abs().max() > 1e-3  # the past is remembered


def test_a_branch_leaves_the_trunk_alone(model):
    """From one state: two futures, then the first again."""
    frames, actions = stirred.pictures(2), stirred.actions(2, 6)
    state, _, _ = rollout(model, frames, [8, 9], actions[:5])
    _, first = model.step(state, actions[5])
    _, second = model.step(state, -actions[5])
    _, again = model.step(state, actions[5])
    assert not np.array_equal(first, second)
    assert np.array_equal(first, again)


def test_selected_lanes_go_on_as_they_would(model):
    frames, actions = stirred.pictures(3), stirred.actions(3, 8)
    state, _, _ = rollout(model, frames, [1, 2, 3], actions[:5])
    chosen = state.select([2, 0])
    assert chosen.seeds == (3, 1)
    for action in actions[5:]:
        state, _ = model.step(state, action)
        chosen, _ = model.step(chosen, action[[2, 0]])
    assert_same(chosen.latest, state.latest[[2, 0]])


def test_one_state_selected_many_times_branches_it(model):
    state, _, _ = rollout(model, stirred.pictures(1), [4], stirred.actions(1, 3))
    many = state.select([0, 0, 0])
    _, frames = model.step(many, np.tile(stirred.actions(1, 1)[0], (3, 1)))
    assert np.array_equal(frames[0], frames[1])
    assert np.array_equal(frames[0], frames[2])


def test_a_lane_reset_in_mid_run_is_as_if_alone(model):
    frames, actions, fresh = stirred.pictures(3), stirred.actions(3, 11), stirred.pictures(1, seed=9)
    state, _, latents = rollout(model, frames, [1, 2, 3], actions[:6])
    state = state.merge([1], model.start(fresh, np.array([77], dtype=np.uint64)))
    assert state.seeds == (1, 77, 3)
    assert state.frame.tolist() == [6, 0, 6]
    for action in actions[6:]:
        state, _ = model.step(state, action)
    _, _, alone = rollout(model, fresh, [77], actions[6:, [1]])
    _, _, undisturbed = rollout(model, frames, [1, 2, 3], actions)
    assert_same(state.latest[1], alone[-1, 0])
    assert_same(state.latest[::2], undisturbed[-1, ::2])


def test_merge_changes_neither_state(model):
    mine, _, _ = rollout(model, stirred.pictures(2), [1, 2], stirred.actions(2, 2))
    other = model.start(stirred.pictures(1, seed=5), np.array([9], dtype=np.uint64))
    kept = mine.latest.clone(), mine.frame.clone(), mine.seeds
    mine.merge([0], other)
    assert torch.equal(mine.latest, kept[0])
    assert torch.equal(mine.frame, kept[1])
    assert mine.seeds == kept[2]
    assert other.frame.tolist() == [0]


def test_a_start_of_several_frames_uses_them_all(model):
    frames, actions = stirred.pictures(1, 3), stirred.actions(1, 1)
    state = model.start(frames, np.array([1], dtype=np.uint64))
    assert state.frame.tolist() == [2]
    assert_same(state.latest, model.start(frames[:, -1:], np.array([1], dtype=np.uint64)).latest)
    _, _, latents = rollout(model, frames, [1], actions)
    for frame in range(3):
        other = frames.copy()
        other[:, frame] = 255 - other[:, frame]
        _, _, moved = rollout(model, other, [1], actions)
        assert (moved - latents).abs().max() > 1e-4, frame


def test_sampler_options_change_the_video():
    frames, actions = stirred.pictures(1), stirred.actions(1, 2)

    def last(**options):
        return rollout(stirred.world_model(**options), frames, [1], actions)[2][-1]

    plain = last(steps=2)
    assert torch.equal(last(steps=2, guidance=1.0), plain)
    for options in ({"steps": 1}, {"steps": 5}, {"guidance": 2.0}, {"history_level": 0.3}, {"prediction": "v"}, {"schedule": "cosine"}):
        assert (last(**({"steps": 2} | options)) - plain).abs().max() > 1e-4, options


def test_guidance_pushes_away_from_not_knowing_the_action():
    """One denoising step is linear in the scale; scale 0 does not listen to the latest action."""
    frames, actions = stirred.pictures(1), stirred.actions(1, 1)
    at = {scale: rollout(stirred.world_model(steps=1, guidance=scale), frames, [1], actions)[2][0] for scale in (0.0, 1.0, 2.0)}
    assert_same(at[2.0] - at[1.0], at[1.0] - at[0.0])
    assert (at[1.0] - at[0.0]).abs().max() > 1e-3
    deaf = rollout(stirred.world_model(steps=1, guidance=0.0), frames, [1], -actions)[2][0]
    assert_same(deaf, at[0.0])


def test_wrong_frames_and_actions_are_refused(model):
    seeds, frames = np.array([1], dtype=np.uint64), stirred.pictures(1)
    with pytest.raises(InvalidInput, match="expected uint8"):
        model.start(frames.astype(np.float32), seeds)
    with pytest.raises(InvalidInput, match=r"frames have shape \[1, 1, 16, 32, 3\], expected \[lanes, frames, 32, 32, 3\]"):
        model.start(frames[:, :, ::2], seeds)
    with pytest.raises(InvalidInput, match="1 lanes need as many seeds, got 2"):
        model.start(frames, np.array([1, 2], dtype=np.uint64))
    state = model.start(frames, seeds)
    for bad, words in ((np.nan, 'action "y" of lane 0 is nan'), (1.5, 'action "y" of lane 0 is 1.5, expected a number in')):
        with pytest.raises(InvalidInput, match=words):
            model.step(state, np.array([[0.0, bad, 0.0]], dtype=np.float32))
    with pytest.raises(InvalidInput, match=r"actions have shape \[1, 2\]"):
        model.step(state, np.zeros((1, 2), dtype=np.float32))


def test_a_bidirectional_network_is_no_world_model():
    with pytest.raises(InvalidInput, match="stage=causalize"):
        VideoWorldModel(stirred.SPEC, stirred.network(causal=False), stirred.autoencoder(), Sampler())


def test_sampler_options_are_checked():
    with pytest.raises(UnknownName, match='unknown history "streem"; did you mean "stream"'):
        Sampler(history="streem")
    with pytest.raises(InvalidInput, match="steps is 0"):
        Sampler(steps=0)
    with pytest.raises(UnknownName, match="unknown prediction"):
        Sampler(prediction="x")


def save(folder, model: VideoWorldModel, **facts) -> str:
    return save_world_model(folder, model.spec, model.network, model.autoencoder, model.sampler, facts)


@pytest.mark.parametrize("trunk", stirred.TRUNKS)
def test_a_saved_model_is_the_same_model(tmp_path, trunk):
    model = stirred.world_model(trunk, steps=3, guidance=1.5)
    sha256 = save(tmp_path / "model", model, leak={"latents": 0.0})
    again = open_world_model(tmp_path / "model", precision="fp32")
    assert again.spec == model.spec
    assert again.sampler == model.sampler
    assert again.parameters == model.parameters == sum(p.numel() for net in (model.network, model.autoencoder) for p in net.parameters())
    assert (again.card["sha256"], again.card["leak"]) == (sha256, {"latents": 0.0})
    frames, actions = stirred.pictures(2), stirred.actions(2, 3)
    assert np.array_equal(rollout(again, frames, [1, 2], actions)[1], rollout(model, frames, [1, 2], actions)[1])


def test_options_replace_the_samplers_own_unless_none(tmp_path):
    save(tmp_path, stirred.world_model(steps=3, guidance=1.5))
    model = load_world_model(tmp_path, steps=5, guidance=None, history=None, precision="fp32")
    assert model.sampler == replace(Sampler(), steps=5, guidance=1.5)


def test_bfloat16_stays_near_float32(tmp_path):
    save(tmp_path, stirred.world_model())
    frames, actions = stirred.pictures(2), stirred.actions(2, 5)
    exact, rough = (rollout(open_world_model(tmp_path, precision=name), frames, [1, 2], actions)[2] for name in ("fp32", "bf16"))
    difference = (exact - rough).abs().max() / exact.std()
    assert 0 < difference < 0.2


def test_damaged_checkpoints_are_refused(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    save(whole, stirred.world_model())

    def broken_by(change) -> None:
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(whole, broken)
        change(broken / "model.safetensors", broken / "config.json")

    def flip(weights, config):
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)

    def other_shape(weights, config):
        facts = json.loads(config.read_text())
        facts["network"]["embedding"] = 64
        config.write_text(json.dumps(facts))

    damages = {
        "damaged or replaced": [flip, lambda weights, config: weights.write_bytes(weights.read_bytes()[:-100])],
        "is missing": [lambda weights, config: weights.unlink()],
        "is not JSON": [lambda weights, config: config.write_text(config.read_text()[:-20])],
        "does not hold a network of this shape": [other_shape],
    }
    for words, changes in damages.items():
        for change in changes:
            broken_by(change)
            with pytest.raises(DamagedFile, match=words):
                open_world_model(broken)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"holds no checkpoint \(no config.json\)"):
        open_world_model(tmp_path)
    save(tmp_path, stirred.world_model())
    facts = json.loads((tmp_path / "config.json").read_text()) | {"kind": "policy"}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    with pytest.raises(InvalidInput, match="holds a policy, expected a world_model"):
        open_world_model(tmp_path)
    with pytest.raises(UnknownName, match='unknown world model "nowhere"'):
        load_world_model("nowhere")
