"""Training: it learns, a killed run resumes as if nothing had happened, and the losses say what sampling needs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import stirred
import torch
from torch import Tensor, nn

from worldsim.data.windows import windows_over
from worldsim.diffusion.parameterize import previous, to_clean
from worldsim.diffusion.schedule import get_schedule
from worldsim.errors import DamagedFile, RunMismatch
from worldsim.metrics import psnr
from worldsim.models.autoencoder import AutoencoderConfig, to_pixels, to_unit
from worldsim.models.convnet import ConvNetConfig
from worldsim.training.autoencoding import Reconstruction, reconstruct
from worldsim.training.latents import LatentClips, encode_trajectories
from worldsim.training.loop import LoopConfig, train
from worldsim.training.loss import Diffusion, causal_loss, joint_loss, self_generated
from worldsim.training.regression import Regression, soften
from worldsim.training.stages import VideoObjective, VideoOptions
from worldsim.types import Trajectory

DIFFUSION = Diffusion(get_schedule("linear"))


class Line:
    """Fit y = 3 x - 1, with a batch norm so that there are buffers to keep."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1))
        self.previews: list[dict[str, Tensor]] = []

    def loss(self, generator: torch.Generator) -> Tensor:
        x = torch.randn(16, 1, generator=generator)
        return (self.model(x) - (3 * x - 1)).square().mean()

    def preview(self, path) -> None:
        assert not self.model.training
        self.previews.append({name: tensor.clone() for name, tensor in self.model.named_parameters()})


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def killed_at(iteration: int):
    """A watcher that interrupts the run."""

    def watch(progress) -> None:
        if progress.iteration == iteration:
            raise KeyboardInterrupt

    return watch


def trajectory(opening, seed: int = 0, size: int = 32) -> Trajectory:
    opening = np.asarray(opening, dtype=np.float64)
    frames = np.random.default_rng(seed).integers(0, 256, (len(opening), size, size, 3), dtype=np.uint8)
    actions = np.random.default_rng(seed).uniform(-1, 1, (len(opening) - 1, 3)).astype(np.float32)
    return Trajectory("t", frames, actions, seed, states={"opening": opening})


def video_objective(net=None, **options) -> VideoObjective:
    """Clips of latents that drift with the action."""
    generator = torch.Generator().manual_seed(3)
    actions = torch.rand(60, 3, generator=generator) * 2 - 1
    steps = actions.mean(1)[:, None, None, None] * torch.ones(60, 4, 4, 4)
    windows = windows_over([trajectory(np.zeros(20), size=2)] * 3, 6)
    clips = LatentClips(steps.cumsum(0).mul(0.5).half(), actions, windows)
    chosen = VideoOptions(**({"batch": 4, "dropout": 0.1} | options))
    return VideoObjective(net or stirred.network(), stirred.autoencoder(), clips, DIFFUSION, chosen)


def test_a_run_learns(tmp_path):
    objective, losses = Line(), []
    train(objective, LoopConfig(tmp_path, iterations=300, learning_rate=0.05, average=0.9), lambda progress: losses.append(progress.loss))
    assert losses[0] > 3
    objective.model.eval()
    x = torch.linspace(-1, 1, 9)[:, None]
    assert (objective.model(x) - (3 * x - 1)).square().mean() < 0.2


@pytest.mark.parametrize("trunk", ["unet", "transformer"])
def test_a_video_network_learns_where_actions_lead(tmp_path, trunk):
    torch.manual_seed(0)
    config = stirred.network(trunk).config
    objective = video_objective(config.build(), self_share=0.3)
    measure = torch.Generator().manual_seed(99)
    held_out = objective.clips.draw(32, measure)

    def error() -> float:
        with torch.no_grad():
            loss = causal_loss(objective.model, *held_out, DIFFUSION, torch.Generator().manual_seed(1), dropout=0.0)
        return loss.item()

    before = error()  # a fresh network predicts no change
    train(objective, LoopConfig(tmp_path, iterations=60, learning_rate=3e-3, average=0.5))
    assert error() < 0.8 * before


@pytest.mark.parametrize("make", [Line, lambda: video_objective(self_share=0.5)])
def test_a_killed_run_resumes_as_if_nothing_had_happened(tmp_path, make):
    """Six iterations at once, and three, a kill, three more in new objects: the same bits."""
    config = LoopConfig(tmp_path / "whole", iterations=6, learning_rate=0.01, save_seconds=0, recipe={"channels": (16, 32), "name": "x"})
    whole = train(make(), config)
    pieces = replace(config, out=tmp_path / "pieces")
    with pytest.raises(KeyboardInterrupt):
        train(make(), pieces, killed_at(3))
    torch.manual_seed(1234)  # no draw may come from torch's own generator
    resumed, seen = make(), []
    with torch.no_grad():
        for parameter in resumed.model.parameters():
            parameter.add_(1.0)  # whatever the new process begins with is replaced
    model = train(resumed, pieces, lambda progress: seen.append(progress.iteration))
    assert seen == [3, 4, 5, 6]  # what was not saved yet is done again
    assert_equal(tensors_of(model), tensors_of(whole))


def test_a_finished_run_is_not_trained_again(tmp_path):
    config, seen = LoopConfig(tmp_path, iterations=4), []
    first = tensors_of(train(Line(), config))
    again = train(Line(), config, seen.append)
    assert not seen
    assert_equal(tensors_of(again), first)


def test_the_average_is_returned_and_the_last_weights_are_kept(tmp_path):
    """One iteration: the average keeps 1/11 of the old weights."""
    objective = Line()
    begin, last = tensors_of(objective.model), []
    model = train(
        objective, LoopConfig(tmp_path, iterations=1, learning_rate=0.1), lambda progress: last.append(tensors_of(objective.model))
    )
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), begin[name] / 11 + last[0][name] * 10 / 11)
    assert any(not torch.equal(last[0][name], begin[name]) for name, _ in model.named_parameters())


def test_a_preview_shows_the_average_and_leaves_training_alone(tmp_path):
    config = LoopConfig(tmp_path / "plain", iterations=5, learning_rate=0.01)
    plain, shown = train(Line(), config), Line()
    watched = train(shown, replace(config, out=tmp_path / "shown", preview_seconds=0.0, save_seconds=0.0))
    assert len(shown.previews) == 5
    assert_equal(shown.previews[-1], dict(plain.named_parameters()))
    assert_equal(tensors_of(watched), tensors_of(plain))


def test_a_run_stops_after_its_seconds(tmp_path):
    progress = []
    train(Line(), LoopConfig(tmp_path, iterations=10**9, seconds=0.05), lambda now: progress.append((now.iteration, now.seconds)))
    assert progress[-1][1] >= 0.05
    assert all(seconds < 0.05 for _, seconds in progress[:-1])
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["iteration"] == len(progress)


@pytest.mark.parametrize(("change", "words"), [
    ({"seed": 1}, "seed=0, now asked for 1"),
    ({"learning_rate": 0.5}, "learning_rate=0.001, now asked for 0.5"),
    ({"recipe": {"trunk": "hybrid"}}, "trunk=unet, now asked for hybrid"),
])  # fmt: skip
def test_another_recipe_in_the_same_folder_is_refused(tmp_path, change, words):
    config = LoopConfig(tmp_path, iterations=2, recipe={"trunk": "unet"})
    train(Line(), config)
    with pytest.raises(RunMismatch, match=words):
        train(Line(), replace(config, **change))


def test_a_damaged_state_is_refused(tmp_path):
    config = LoopConfig(tmp_path, iterations=2)
    train(Line(), config)
    file = tmp_path / "state.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\xff" * 100):
        file.write_bytes(damaged)
        with pytest.raises(DamagedFile, match="delete it to train from the beginning"):
            train(Line(), config)


def test_previous_shifts_by_a_frame_and_weighs_by_cleanness():
    context = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1, 1)
    assert previous(context, torch.tensor([[0.5, 0.25, 0.0]])).flatten().tolist() == [0.0, 0.5, 1.5]


class Recorder(nn.Module):
    """Stands in for a network: remembers what it was given, answers `answer` everywhere."""

    def __init__(self, answer: float = 0.0) -> None:
        super().__init__()
        self.action_size, self.answer = stirred.network().action_size, answer

    def forward(self, x, levels, actions, known, memory=None, context=None):
        self.given = {"x": x, "levels": levels, "actions": actions, "known": known}
        return torch.full_like(x, self.answer)


def clips(lanes: int = 64, frames: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(lanes, frames, 4, 4, 4, generator=generator), torch.rand(lanes, frames, 3, generator=generator)


def test_the_causal_loss_feeds_history_beside_targets():
    net, (clean, actions) = Recorder(), clips()
    loss = causal_loss(net, clean, actions, DIFFUSION, torch.Generator().manual_seed(0), dropout=0.3)
    history, target = net.given["levels"].unbind(1)
    assert history.max() <= DIFFUSION.context_level < target.max() == 1
    known = net.given["known"]
    assert not known[:, :, 0].any()  # nothing is known to lead into a first frame
    assert known[:, 0, 1:].all()
    assert abs(known[:, 1, 1:].mean() - 0.7) < 0.1
    assert torch.equal(net.given["actions"], actions)
    noise = (net.given["x"][:, 0] - (1 - history)[..., None, None, None] * clean) / history[..., None, None, None]
    assert abs(noise.std() - 1) < 0.05
    base = previous(net.given["x"][:, 0], history)  # a network that outputs zero predicts the past
    torch.testing.assert_close(loss, (clean - base)[:, 1:].square().mean())


def test_the_causal_loss_takes_the_history_it_is_given():
    net, (clean, actions) = Recorder(), clips()
    still = replace(DIFFUSION, context_level=0.0)
    causal_loss(net, clean, actions, still, torch.Generator().manual_seed(0), dropout=0.0, history=clean + 5)
    assert torch.equal(net.given["x"][:, 0], clean + 5)


def test_a_perfect_network_has_no_causal_loss():
    """A network that outputs the change of a video that moves evenly, given a clean history."""
    clean = torch.arange(5.0)[None, :, None, None, None].expand(2, 5, 4, 4, 4)
    still = replace(DIFFUSION, context_level=0.0)
    assert causal_loss(Recorder(1.0), clean, torch.zeros(2, 5, 3), still, torch.Generator(), dropout=0.5) == 0


def test_the_joint_loss_hides_all_actions():
    net, (clean, _) = Recorder(), clips()
    loss = joint_loss(net, clean, DIFFUSION, torch.Generator().manual_seed(0))
    assert not net.given["known"].any()
    assert net.given["x"].shape == (64, 1, 5, 4, 4, 4)
    base = previous(net.given["x"][:, 0], net.given["levels"][:, 0])
    torch.testing.assert_close(loss, (clean - base).square().mean())


@pytest.mark.parametrize("prediction", ["clean", "v"])
def test_self_generated_replaces_every_second_frame_but_never_the_first(prediction):
    net, (clean, actions), diffusion = stirred.network(), clips(), replace(DIFFUSION, prediction=prediction)
    context = self_generated(net, clean, actions, diffusion, torch.Generator().manual_seed(0))
    replaced = (context != clean).flatten(2).any(-1)
    patterns = {tuple(row) for row in replaced.tolist()}
    assert patterns == {(False, True, False, True, False), (False, False, True, False, True)}
    assert not context.requires_grad


def test_a_replaced_frame_is_the_networks_one_step_prediction():
    net, (clean, actions) = stirred.network(), clips(2)
    context = self_generated(net, clean, actions, DIFFUSION, torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(0)
    noise, history_noise = (torch.randn(clean.shape, generator=draws) for _ in range(2))
    half = torch.full((2, 5), DIFFUSION.context_level / 2)
    history = DIFFUSION.schedule.add_noise(clean, history_noise, half)
    known = torch.ones(2, 2, 5)
    known[:, :, 0] = 0
    with torch.no_grad():
        output = net(torch.stack([history, noise], 1), torch.stack([half, torch.ones(2, 5)], 1), actions, known)[:, 1]
    guess = to_clean("clean", output, noise, torch.ones(2, 5), previous(history, half), DIFFUSION.schedule)
    replaced = (context != clean).flatten(2).any(-1)
    torch.testing.assert_close(context[replaced], guess[replaced])


def test_an_autoencoder_learns_and_its_latents_have_unit_variance(tmp_path):
    torch.manual_seed(0)
    coarse = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    frames = coarse.repeat(8, axis=1).repeat(8, axis=2)
    model = AutoencoderConfig(latent_channels=4, width=8, frame_size=32).build().eval()
    before = psnr(frames, reconstruct(model, frames)).mean()
    objective = Reconstruction(model, frames, batch=16)
    train(objective, LoopConfig(tmp_path, iterations=80, learning_rate=5e-3, average=0.5))
    assert psnr(frames, reconstruct(model, frames)).mean() > before + 2
    model.train()
    latents = model.encode(to_unit(torch.from_numpy(frames)))
    torch.testing.assert_close(latents.detach().var(dim=(0, 1, 2), unbiased=False), torch.ones(4), atol=0.02, rtol=0)
    objective.preview(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_each_frame_is_encoded_by_itself():
    model, frames = stirred.autoencoder(), to_unit(torch.from_numpy(stirred.pictures(1, 4)[0]))
    with torch.no_grad():
        together = model.encode(frames)
        assert together.shape == (4, 4, 4, 4)
        torch.testing.assert_close(model.encode(frames[2:3])[0], together[2], atol=1e-5, rtol=0)
        torch.testing.assert_close(model.decode(together)[2], model.decode(together[2:3])[0], atol=1e-5, rtol=0)


def test_pixels_survive_the_way_there_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    assert torch.equal(to_pixels(to_unit(pixels)), pixels)
    assert (to_unit(pixels).min(), to_unit(pixels).max()) == (-1, 1)
    assert to_pixels(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


def test_psnr_by_hand():
    black, grey = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 51, np.uint8)
    assert psnr(black, grey) == pytest.approx([20 * np.log10(5)], abs=1e-4)
    assert psnr(grey, grey) == [60]


def test_a_picture_network_learns_a_number(tmp_path):
    torch.manual_seed(0)
    light = np.random.default_rng(0).integers(0, 256, 60, dtype=np.uint8)
    frames = np.broadcast_to(light[:, None, None, None], (60, 32, 32, 3))
    targets = (light[:, None] / 127.5 - 1).astype(np.float32)
    model = ConvNetConfig(outputs=1, width=4, frame_size=32).build()
    train(Regression(model, frames.copy(), targets, batch=32), LoopConfig(tmp_path, iterations=60, learning_rate=3e-3, average=0.5))
    with torch.no_grad():
        guess = model(torch.from_numpy(frames.copy())).numpy()
    assert np.abs(guess - targets).mean() < 0.15


def test_softened_frames_stay_near_the_frames():
    frames = to_unit(torch.from_numpy(stirred.pictures(40)[:, 0].repeat(1, axis=1)))
    flat = torch.zeros_like(frames)
    soft = soften(flat, torch.Generator().manual_seed(0))
    assert 0.01 < soft.std() < 0.06
    assert soft.abs().max() < 0.05 + 0.06 * 6
    assert torch.equal(soft, soften(flat, torch.Generator().manual_seed(0)))
    assert (soften(frames, torch.Generator().manual_seed(0)) - frames).abs().mean() < 0.5


def test_encoded_trajectories_keep_actions_beside_the_frames_they_lead_into(tmp_path):
    model, episodes = stirred.autoencoder(), [trajectory(np.linspace(0, 1, 5), seed) for seed in range(2)]
    encoded = encode_trajectories(model, episodes, stirred.ACTION, 3, keep=tmp_path)
    assert encoded.latents.shape == (10, 4, 4, 4)
    assert not encoded.actions[[0, 5]].any()
    np.testing.assert_allclose(encoded.actions[6:10, :2], episodes[1].actions[:, :2], atol=1e-6)  # bounds -1 and 1
    np.testing.assert_allclose(encoded.actions[6:10, 2], episodes[1].actions[:, 2] / 2, atol=1e-6)  # bounds -2 and 2
    with torch.no_grad():
        direct = model.encode(to_unit(torch.from_numpy(episodes[1].frames)))
    torch.testing.assert_close(encoded.latents[5:].float(), direct, atol=2e-3, rtol=2e-3)


def test_kept_latents_are_read_again_only_for_the_same_frames_and_encoder(tmp_path):
    model, first, second = stirred.autoencoder(), trajectory(np.zeros(5), 1), trajectory(np.zeros(5), 1)

    def encode(model, episode):
        return encode_trajectories(model, [episode], stirred.ACTION, 3, keep=tmp_path).latents

    latents = encode(model, first)
    assert torch.equal(encode(model, second), latents)
    assert len(list(tmp_path.iterdir())) == 1
    other = replace(first, frames=255 - first.frames)  # the same seed and length: another recording of it
    assert not torch.equal(encode(model, other), latents)
    assert not torch.equal(encode(stirred.autoencoder(seed=1), first), latents)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("causal", [True, False])
def test_a_video_preview_is_a_picture(tmp_path, causal):
    objective = video_objective(stirred.network(causal=causal))
    objective.preview(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert objective.loss(torch.Generator().manual_seed(0)).requires_grad
