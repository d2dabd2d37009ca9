"""Peers beside ours, with checkouts that the tests write themselves: a few lines with the same interface. No timing is asserted."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import InvalidInput, MissingDependency, UnknownName
from worldsim.experiments.peers import PEERS, compare, diamond, diamond_learner, quality_table, table, timing, worldgym, worldgym_learner
from worldsim.experiments.peers.borrowed import PeerMissing
from worldsim.experiments.peers.learners import OwnKind, actions_into
from worldsim.experiments.peers.ours import OwnModel, Setting, wake
from worldsim.experiments.peers.quality import Quality, learnt, read
from worldsim.experiments.peers.timing import Contender, alternate
from worldsim.models.autoencoder import AutoencoderConfig
from worldsim.models.checkpoint import parameter_count
from worldsim.models.video_unet import VideoUNetConfig
from worldsim.types import Trajectory

TINY = {"channels": (16, 32), "embedding": 32, "window": 4}
OURS = {
    "diamond": OwnModel(VideoUNetConfig(latent_channels=4, **TINY), AutoencoderConfig(latent_channels=4, width=8)),
    "worldgym": OwnModel(VideoUNetConfig(latent_channels=4, latent_size=4, action_size=10, **TINY)),
}
SETTINGS = {"diamond": (Setting(2, guided=True), Setting(1, guided=False)), "worldgym": (Setting(2, guided=False),)}
NOT_READ = "raise RuntimeError('this file of the peer is not to be loaded')\n"

DIAMOND = {
    "src/data/__init__.py": NOT_READ,
    "src/utils.py": NOT_READ,
    "src/models/__init__.py": NOT_READ,
    "src/models/blocks.py": "SCALE = 0.5\n",
    "src/models/diffusion/__init__.py": """
from dataclasses import dataclass
from .denoiser import Denoiser

@dataclass
class InnerModelConfig:
    img_channels: int
    num_steps_conditioning: int
    cond_channels: int
    depths: list
    channels: list
    attn_depths: list
    num_actions: int

@dataclass
class DenoiserConfig:
    inner_model: InnerModelConfig
    sigma_data: float
    sigma_offset_noise: float

@dataclass
class SigmaDistributionConfig:
    loc: float
    scale: float
    sigma_min: float
    sigma_max: float

@dataclass
class DiffusionSamplerConfig:
    num_steps_denoising: int

class DiffusionSampler:
    def __init__(self, denoiser, cfg):
        self.denoiser = denoiser
    def sample(self, obs, act):
        assert obs.shape[1:] == (4, 3, 64, 64) and act.shape[:2] == obs.shape[:2]
        return 0.5 * obs[:, -1], []
""",
    "src/models/diffusion/denoiser.py": """
import torch
from data import Batch
from utils import LossAndLogs
from ..blocks import SCALE

class Denoiser(torch.nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.inner_model = torch.nn.Module()
        self.inner_model.act_emb = torch.nn.Embedding(1, 1)
        self.rest = torch.nn.Parameter(torch.zeros(COUNT - 1))
        self.noise = None
    def setup_training(self, cfg):
        self.noise = cfg.scale
    def forward(self, batch: Batch) -> LossAndLogs:
        assert batch.obs.shape[1:] == (5, 3, 64, 64) and batch.mask_padding.all()
        seen = self.inner_model.act_emb(batch.act[:, :4])
        return SCALE * (seen.square().mean() + self.rest.square().mean()), {}
""",
}
WORLDGYM = {
    "model.py": """
import torch

class DiT(torch.nn.Module):
    def __init__(self, in_channels, action_dim, dim, num_layers, num_heads, max_frames, patch_size):
        super().__init__()
        self.max_frames = max_frames
        self.rest = torch.nn.Parameter(torch.zeros(COUNT))
""",
    "diffusion.py": """
import torch
from tqdm import tqdm

class Diffusion:
    def __init__(self, sampling_timesteps):
        self.steps = sampling_timesteps
    def generate(self, model, x, actions, n_context_frames, n_frames):
        assert x.shape[1] == n_context_frames and actions.shape[1] == n_frames <= model.max_frames
        bar = tqdm(total=n_frames)
        return torch.cat([x] + [x[:, -1:]] * (n_frames - n_context_frames), dim=1)
    def loss_fn(self, model, x, actions):
        assert x.shape[:2] == actions.shape[:2] == (x.shape[0], model.max_frames)
        return (model.rest - 1).square().mean()
""",
}
CHECKOUTS = {"diamond": DIAMOND, "worldgym": WORLDGYM}
MODULES = {"diamond": diamond, "worldgym": worldgym}


def checkout(folder, name, size=1.0):
    """A peer with `size` times our parameters."""
    count = int(size * parameter_count(*OURS[name].build()))
    for path, text in CHECKOUTS[name].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.replace("COUNT", str(count)))
    return str(folder)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(sys.modules, "einops", SimpleNamespace())  # the real WorldGym needs it, and nobody else does
    for name, module in MODULES.items():
        monkeypatch.setattr(module, "OURS", {"tiny": OURS[name]})
        monkeypatch.setattr(module, "SETTINGS", SETTINGS[name])
    monkeypatch.setattr(worldgym, "LATENT", (4, 4, 4))
    kind = OwnKind(VideoUNetConfig(**TINY), clip=6, settings=(Setting(1, guided=False),), batch=2)
    monkeypatch.setattr(diamond_learner, "OWN", kind)
    monkeypatch.setattr(worldgym_learner, "OWN", kind)


@pytest.fixture
def quality(tmp_path):
    """A few recorded episodes of noise."""
    rng = np.random.default_rng(0)
    for split, base in (("train", 0), ("validation", 1_000_000)):
        for i in range(3):
            frames = rng.integers(0, 256, (18, 64, 64, 3), dtype=np.uint8)
            actions = rng.uniform(-1, 1, (17, 3)).astype(np.float32)
            write_trajectory(tmp_path / split / f"{i}.h5", Trajectory("drawer", frames, actions, seed=base + i))
    return Quality.of(tmp_path, seconds=2.5, episodes=2)


@pytest.fixture
def ticking(monkeypatch):
    """A clock of processor time that advances by one second whenever it is read."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("time.process_time", lambda: float(next(ticks)))


@pytest.mark.parametrize("name", PEERS)
def test_a_row_for_each_number_of_lanes_and_setting(tmp_path, capfd, name):
    found = compare(name, checkout(tmp_path, name), lanes=(1, 2), repeats=1)
    assert str(tmp_path) not in json.dumps(found)
    assert found.keys() >= {
        "peer",
        "parameters",
        "peer_facts",
        "our_facts",
        "threads",
        "dtype",
        "repeats",
        "load",
        "rows",
        "quality_reason",
    }
    assert found["quality"] is None
    assert quality_table(found) is None
    assert (found["threads"], found["dtype"]) == (1, "float32")
    kinds = [(row["lanes"], row["ours_steps"], row["ours_guided"]) for row in found["rows"]]
    assert kinds == [(lanes, setting.steps, setting.guided) for lanes in (1, 2) for setting in SETTINGS[name]]
    assert all(row["ratio"] == row["peer_ms"] / row["ours_ms"] and row["peer_steps"] == MODULES[name].STEPS for row in found["rows"])
    assert table(found).row_count == len(found["rows"])
    assert "".join(capfd.readouterr()) == ""  # the peer's progress bar is off


@pytest.mark.parametrize(("size", "refused"), [(1.08, False), (0.93, False), (1.25, True), (0.85, True)])
@pytest.mark.parametrize("name", PEERS)
def test_models_of_different_size_are_refused_with_both_counts(tmp_path, name, size, refused):
    path, ours = checkout(tmp_path, name, size), parameter_count(*OURS[name].build())
    if not refused:
        assert compare(name, path, lanes=(), repeats=1)["parameters"]["ours"] == {"tiny": ours}
        return
    with pytest.raises(InvalidInput) as error:
        compare(name, path, lanes=(1,), repeats=1)
    assert f"{ours:,}" in str(error.value)
    assert f"{int(size * ours):,}" in str(error.value)


@pytest.mark.parametrize("name", PEERS)
def test_a_missing_checkout_is_one_line(tmp_path, name):
    with pytest.raises(PeerMissing, match=f"expected a checkout of {name}") as error:
        compare(name, str(tmp_path / "nowhere"))
    assert "\n" not in str(error.value)


def test_an_unknown_peer():
    with pytest.raises(UnknownName, match="diamond"):
        compare("dimond", "anywhere")


@pytest.mark.parametrize("name", PEERS)
def test_a_checkout_of_another_commit(tmp_path, name):
    checkout(tmp_path, name)
    (tmp_path / {"diamond": "src/models/diffusion/__init__.py", "worldgym": "model.py"}[name]).write_text("")
    with pytest.raises(InvalidInput, match=MODULES[name].COMMIT):
        compare(name, str(tmp_path))
    assert str(tmp_path) not in "".join(sys.path)


def test_worldgym_without_einops(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "einops", None)
    with pytest.raises(MissingDependency, match="pip install -c constraints.txt einops"):
        compare("worldgym", checkout(tmp_path, "worldgym"))


@pytest.mark.parametrize("name", PEERS)
def test_imports_leave_no_trace(tmp_path, monkeypatch, name):
    mine = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "data", mine)
    monkeypatch.setitem(sys.modules, "model", mine)
    path, modules = list(sys.path), {key for key in sys.modules if key.split(".")[0] in ("data", "utils", "models", "model", "diffusion")}
    compare(name, checkout(tmp_path, name), lanes=(1,), repeats=1)
    assert sys.path == path
    assert {key for key in sys.modules if key.split(".")[0] in ("data", "utils", "models", "model", "diffusion")} == modules
    assert sys.modules["data"] is sys.modules["model"] is mine
    assert list(tmp_path.rglob("__pycache__")) == []


def test_contenders_take_turns_and_the_least_counts(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(timing.time, "process_time", lambda: now[0])

    def job(name, *seconds):
        left = iter(seconds)

        def work():
            order.append(name)
            now[0] += next(left)

        return work

    contenders = {"a": Contender(job("a", 9, 3, 2, 4), 2), "b": Contender(job("b", 9, 1, 5, 7), 1)}
    assert alternate(contenders, 3) == {"a": 1000.0, "b": 1000.0}
    assert order == ["a", "b"] * 4


def test_waking_changes_only_what_is_zero():
    layer = torch.nn.Linear(3, 3)
    torch.nn.init.zeros_(layer.bias)
    weight = layer.weight.clone()
    wake(layer)
    assert layer.bias.all()
    assert torch.equal(layer.weight, weight)


def test_no_part_of_ours_is_silent():
    network, autoencoder = OURS["diamond"].build()
    assert network.causal
    assert all(parameter.any() for module in (network, autoencoder) for parameter in module.parameters())


def test_a_learner_ends_when_its_seconds_are_spent(ticking):
    class Still:
        model, rate = torch.nn.Linear(2, 1), 0.1

        def loss(self, generator):
            return self.model(torch.ones(1, 2)).square().mean()

    _, facts = learnt(Still, 4.5, seed=0)  # the clock is read once before and once for each step: at 1, 2, 3 and 4
    assert facts["iterations"] == 4
    assert facts["parameters"] == 3


def test_actions_lead_into_frames(quality):
    recordings = read(quality)
    assert recordings.frames.shape == (2, 12, 64, 64, 3)
    assert recordings.actions.shape == (2, 11, 3)
    into = actions_into(recordings, recordings.actions)
    assert into.shape == (2, 12, 3)
    assert not into[:, 0].any()
    assert into[:, 1:].numpy() == pytest.approx(recordings.actions)


@pytest.mark.parametrize("name", PEERS)
def test_quality_stands_beside_the_speed(tmp_path, monkeypatch, quality, ticking, name):
    monkeypatch.setattr(timing, "alternate", lambda contenders, repeats: dict.fromkeys(contenders, 1.0))
    found = compare(name, checkout(tmp_path, name), lanes=(1,), repeats=1, quality=quality)
    scores = found["quality"]["psnr"]
    assert scores.keys() == {"copying the last given frame", name, "ours 1 steps", "ours autoencoder on the truth"}
    assert all(len(each) == 3 and np.isfinite(each).all() for each in scores.values())
    assert {who: facts["iterations"] for who, facts in found["quality"]["trained"].items()} == {name: 2, "ours": 2}
    assert "quality_reason" not in found
    assert quality_table(found).row_count == len(scores)


def test_quality_refuses_episodes_of_another_split(tmp_path, quality):
    with pytest.raises(InvalidInput, match="split"):
        read(Quality(quality.validation, quality.train))
