"""A converted checkpoint of the authors as a world: rolled out behind Gymnasium, in both histories, post-trained. 8 x 8 frames."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import tiny_vid2world as tiny
import torch

import worldsim
from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.models.causal import causality_leak
from worldsim.models.vid2world import convert as conversion
from worldsim.models.vid2world.convert import Choices, convert
from worldsim.models.vid2world.domains import DOMAINS, domain_action
from worldsim.simulator import RELEASED
from worldsim.types import Trajectory

pytestmark = pytest.mark.slow  # as a file

STRICT = Choices("rt1", norm="frame", head="symmetric", image_tokens="per_frame")
SIZE, ACTIONS = 8, 13
FEW = {"steps": 2, "history_level": 0.04, "precision": "fp32"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A tiny Vid2World RT-1 checkpoint, converted as released and strictly causal."""
    place = tmp_path_factory.mktemp("official")
    torch.manual_seed(0)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "unet_config", tiny.unet_config)
        torch.save({"state_dict": tiny.checkpoint()}, place / "tiny.ckpt")
        for name, choices in {"released": Choices("rt1"), "strict": STRICT}.items():
            found[name] = place / name
            convert(place / "tiny.ckpt", choices, say=lambda _: None).save_pretrained(found[name])
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Four short recordings with RT-1's actions, and what they mean."""
    folder, rng = tmp_path_factory.mktemp("rt1"), np.random.default_rng(0)
    for number in range(4):
        frames = rng.integers(0, 256, (18, SIZE, SIZE, 3), dtype=np.uint8)
        actions = rng.uniform(-1, 1, (17, ACTIONS)).astype(np.float32)
        for split in ("train", "validation"):
            write_trajectory(folder / split / f"{number:07d}.h5", Trajectory("rt1", frames, actions, number))
    (folder / "summary.json").write_text(json.dumps({"action": vars(domain_action("rt1"))}))
    return folder


def rollout(model, steps: int = 3) -> np.ndarray:
    """Frames `[steps, 2, H, W, 3]` of two lanes."""
    rng = np.random.default_rng(0)
    state = model.start(rng.integers(0, 256, (2, 1, SIZE, SIZE, 3), dtype=np.uint8), np.array([1, 2], dtype=np.uint64))
    frames = []
    for _ in range(steps):
        state, frame = model.step(state, rng.uniform(-1, 1, (2, ACTIONS)).astype(np.float32))
        frames.append(frame)
    return np.stack(frames)


def test_the_released_weights_are_rolled_out_behind_gymnasium(folders, data):
    env = gymnasium.make("worldsim/World-v0", world_model=str(folders["released"]), task=str(data / "validation"), steps=2, horizon=3)
    first, _ = env.reset(seed=0)
    frames = [env.step(env.action_space.sample())[0] for _ in range(3)]
    assert first.shape == frames[0].shape == (SIZE, SIZE, 3)
    again, _ = env.reset(seed=0)
    assert np.array_equal(first, again)


def test_the_released_sampler_is_the_default(folders):
    model = worldsim.load_world_model(folders["released"])
    assert model.sampler == RELEASED
    assert (model.spec.action, model.spec.height) == (domain_action("rt1"), SIZE)
    assert model.network.starts_known


def test_norms_over_the_clip_are_not_streamed(folders):
    model = worldsim.load_world_model(folders["released"], history="stream", rescale_over="frame", anchor="episode", **FEW)
    with pytest.raises(InvalidInput, match="type history=recompute"):
        rollout(model)


def test_a_strict_conversion_streams_what_it_recomputes(folders):
    options = {"rescale_over": "frame", "anchor": "episode", "guidance": 2.5, **FEW}
    streamed, recomputed = (
        rollout(worldsim.load_world_model(folders["strict"], history=history, **options)) for history in ("stream", "recompute")
    )
    assert np.abs(streamed.astype(int) - recomputed.astype(int)).max() <= 1  # a rounding step of uint8


@pytest.mark.parametrize(("name", "strict"), [("released", False), ("strict", True)])
def test_the_probe_tells_released_from_strict(folders, name, strict):
    leak = causality_leak(worldsim.load_world_model(folders[name]).network)
    assert (leak == {"latents": 0.0, "levels": 0.0, "actions": 0.0}) is strict


def test_a_converted_world_is_evaluated_and_measured(folders, data, tmp_path, capsys):
    words = ["policies=[replay]", "episodes=2", "horizon=2", "steps=1", "verifier=none", "report=false", f"run={tmp_path / 'run'}"]
    assert cli.main(["evaluate", f"world_model={folders['released']}", f"task={data / 'validation'}", *words]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["policies"][0]["episodes"] == 2
    assert results["world_model"]["parameters"] > 0


def post_trained(folder: Path, data: Path, out: Path) -> dict:
    """The config of two steps of post-training."""
    preset = Path(cli.__file__).parent / "configs" / "world_models" / "rt1.yaml"
    mine = out / "mine.yaml"
    mine.write_text(preset.read_text().replace("clip: 16", "clip: 4").replace("steps: 50", "steps: 2"))
    words = [f"world_model={mine}", "stage=posttrain", f"init={folder}", f"data={data}", f"out={out}", "steps=2", "learning_rate=0.01"]
    assert cli.main(["train", *words, "threads=1", "precision=fp32", "checkpointing=true"]) == 0
    return json.loads((out / "posttrain" / "config.json").read_text())


def test_a_converted_world_is_post_trained(folders, data, tmp_path):
    """The U-Net and the image projector learn, the image tower does not."""
    config = post_trained(folders["strict"], data, tmp_path)
    assert config["network_kind"] == "vid2world"
    assert config["leak"] == {"latents": 0.0, "levels": 0.0, "actions": 0.0}
    loaded = (worldsim.load_world_model(folder, precision="fp32") for folder in (folders["strict"], tmp_path / "posttrain"))
    before, after = (model.network.state_dict() for model in loaded)
    moved = {name.split(".")[0] for name in before if (after[name] - before[name]).abs().max() > 1e-3}
    assert moved == {"unet", "resampler"}
    assert rollout(worldsim.load_world_model(tmp_path / "posttrain", **FEW), steps=1).shape == (1, 2, SIZE, SIZE, 3)


def test_actions_keep_their_meaning_whatever_the_data_span(folders, data, tmp_path):
    """Bounds that an import found in the data are not the network's: those of the domain stay."""
    narrow = tmp_path / "narrow"
    shutil.copytree(data, narrow)
    found = vars(domain_action("rt1")) | {"low": (-0.25,) * ACTIONS, "high": (0.35,) * ACTIONS}
    (narrow / "summary.json").write_text(json.dumps({"action": found}))
    config = post_trained(folders["strict"], narrow, tmp_path)
    assert tuple(config["spec"]["action"]["high"]) == domain_action("rt1").high


def test_no_action_leads_into_the_first_frame_of_a_window(folders, monkeypatch):
    """The released network always had zeros there, also when the window has left the episode's first frame."""
    model = worldsim.load_world_model(folders["released"], **FEW)
    told = []
    monkeypatch.setattr(
        model.network.unet, "forward", lambda x, timesteps, actions, known, context, fps: told.append((actions, known)) or x[:, :, :4]
    )
    rollout(model, steps=model.network.window + 2)
    actions, known = told[-1]
    assert actions.shape[1] == model.network.window + 1
    assert not actions[:, 0].any()
    assert known[:, 0].all()
    assert actions[:, 1:].all()


def test_actions_between_given_frames_are_known(folders):
    model = worldsim.load_world_model(folders["released"], **FEW)
    rng = np.random.default_rng(0)
    frames, seeds = rng.integers(0, 256, (1, 4, SIZE, SIZE, 3), dtype=np.uint8), np.array([1], dtype=np.uint64)
    actions = rng.uniform(-1, 1, (1, 3, ACTIONS)).astype(np.float32)
    told, hidden = model.start(frames, seeds, actions), model.start(frames, seeds)
    assert told.known[0, -4:].tolist() == [1, 1, 1, 1]
    assert hidden.known[0, -4:].tolist() == [1, 0, 0, 0]
    with pytest.raises(InvalidInput, match="4 given frames of 1 lanes take actions"):
        model.start(frames, seeds, actions[:, :2])


def test_the_wrong_domain_is_refused(folders, data, tmp_path, capsys):
    words = ["stage=posttrain", f"init={folders['strict']}", f"data={data}", f"out={tmp_path}", "steps=1"]
    assert cli.main(["train", "world_model=csgo", *words]) == 2
    assert "takes actions of 13 numbers, csgo of 51, the data have 13" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "size"), [("rt1", 13), ("csgo", 51), ("recon", 3)])
def test_the_domains_have_symmetric_bounds(name, size):
    action = DOMAINS[name]
    assert action.size == size
    assert action.low == tuple(-high for high in action.high)
    assert replace(action).check(np.zeros((1, size))).shape == (1, size)
