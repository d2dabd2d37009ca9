"""`worldsim train` from the command line's side: presets, pretrained U-Nets of diffusers, the authors' weights, kill and resume."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import diffusers
import gymnasium
import numpy as np
import pytest
import small_unets
import tiny
import torch

import worldsim
from worldsim.data.files import write_json
from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.experiments.model_presets import ModelPreset, model_preset
from worldsim.experiments.presets import preset_names
from worldsim.models.networks import build_network
from worldsim.models.vid2world import Vid2WorldConfig
from worldsim.types import Trajectory

pytestmark = pytest.mark.slow  # as a file

QUICK = ("threads=1", "precision=fp32")


def command(*words: str) -> None:
    assert cli.main([*map(str, words), *QUICK]) == 0


def refused(capsys, *words: str) -> str:
    """The one line that a wrong request ends with."""
    assert cli.main([*map(str, words), *QUICK]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Recordings of the tiny true world, 16 x 16, with a train and a validation split."""
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "validation"):
        tiny.recordings(folder / split, lengths=(8, 8, 9))
    return folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    """A pretrained pipeline as diffusers stores it: `unet` and `vae`, tiny."""
    folder = tmp_path_factory.mktemp("pipeline")
    small_unets.unet("UNet3DConditionModel").float().save_pretrained(folder / "unet")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
        layers_per_block=1,
    )
    vae.save_pretrained(folder / "vae")
    return folder


@pytest.mark.parametrize("name", preset_names("world_model"))
def test_every_preset_describes_a_network_and_a_sampler(name):
    from worldsim.simulator import Sampler

    preset = model_preset(name)
    Sampler(**({"prediction": preset.prediction, "schedule": preset.schedule} | preset.sampler))
    if preset.kind == "video_unet":
        build_network({"network_kind": preset.kind, "network": preset.network | {"latent_size": 8}})


@pytest.mark.parametrize(
    ("name", "actions", "frames", "parameters"),
    [("rt1", 13, 16, 1_440_910_020), ("csgo", 51, 16, 1_440_921_860), ("recon", 3, 20, None)],
)
def test_the_published_domains_at_full_size(name, actions, frames, parameters):
    preset = model_preset(name)
    with torch.device("meta"):
        net = Vid2WorldConfig(**preset.network).build()
    assert (net.config.action_size, net.config.window, preset.clip) == (actions, frames, frames)
    assert parameters in (None, sum(parameter.numel() for parameter in net.parameters()))
    published = (preset.action_dropout, preset.learning_rate, preset.clip_norm, preset.average, preset.constant_rate)
    assert published == (0.2, 1e-5, 0.5, 0.0, True)


@pytest.mark.parametrize("transfer", ["shift", "mixed"])
def test_causalize_with_steps_begins_at_the_pretrained_network(tmp_path, data, transfer):
    out = tmp_path / "made"
    for stage, steps in (("autoencoder", 3), ("pretrain", 3), ("causalize", 3), ("posttrain", 2)):
        command("train", "world_model=tiny", f"stage={stage}", f"steps={steps}", f"data={data}", f"out={out}", f"transfer={transfer}")
    for stage in ("causalize", "posttrain"):
        assert config_of(out / stage)["leak"] == {"latents": 0.0, "levels": 0.0, "actions": 0.0}
    assert config_of(out / "causalize")["training"]["transfer"] == transfer
    env = gymnasium.make("worldsim/World-v0", world_model=str(out / "posttrain"), task=str(data / "validation"))
    frame, _ = env.reset(seed=0)
    assert env.step(env.action_space.sample())[0].shape == frame.shape == (16, 16, 3)


def test_forcing_trains_the_native_network_too(tmp_path, data):
    command(
        "train", "world_model=tiny", "stage=causalize", "steps=2", "objective=forcing", "prediction=v", f"data={data}", f"out={tmp_path}"
    )
    config = config_of(tmp_path / "causalize")
    assert config["sampler"]["prediction"] == "v"
    assert config["training"]["objective"] == "forcing"


def test_a_pretrained_unet_of_diffusers_is_causalized_trained_and_rolled_out(tmp_path, data, pipeline):
    parts = (f"world_model={pipeline / 'unet'}", f"autoencoder={pipeline / 'vae'}", f"data={data}", f"out={tmp_path}", "clip=4")
    command("train", "stage=causalize", *parts)
    command("train", "stage=posttrain", "steps=2", "average=0.5", *parts)
    config = config_of(tmp_path / "posttrain")
    assert config["network_kind"] == "diffusers"
    assert config["leak"] == {"latents": 0.0, "levels": 0.0, "actions": 0.0}
    streamed, recomputed = (
        worldsim.load_world_model(tmp_path / "posttrain", history=history, steps=2, precision="fp32") for history in ("stream", "recompute")
    )
    states = [model.start(np.stack([tiny.picture(1)[None]]), np.array([1], dtype=np.uint64)) for model in (streamed, recomputed)]
    for _ in range(2):
        results = [model.step(state, np.zeros((1, 3))) for model, state in zip((streamed, recomputed), states, strict=True)]
        states = [state for state, _ in results]
    torch.testing.assert_close(states[0].latest, states[1].latest, atol=1e-4, rtol=1e-4)


def test_a_world_model_is_distilled_and_sampled_in_fewer_steps(tmp_path, data):
    """From a checkpoint with guidance, noise and an early ending in its sampler to one that needs none of them."""
    from worldsim.simulator import Sampler

    sampler = vars(Sampler(steps=10, guidance=1.5, eta=0.5, history_level=0.03, ending="released", history_shrink=False))
    teacher = tiny.world_model(tmp_path / "teacher", sampler=sampler)
    base = ("train", "stage=distill", "world_model=tiny", "steps=2", f"init={teacher}", f"data={data}", "teacher_steps=4")
    command(*base, "student_steps=2", f"out={tmp_path / 'made'}")
    config = config_of(tmp_path / "made" / "distill")
    taken_in = {"guidance": 1.0, "rescale": 0.0, "eta": 0.0, "ending": "clean", "history_shrink": True}
    assert config["sampler"] == sampler | {"steps": 2} | taken_in
    assert config["training"]["teacher"] == config_of(teacher)["sha256"]
    assert config["leak"] == {"latents": 0.0, "levels": 0.0, "actions": 0.0}
    assert config["sha256"] != config_of(teacher)["sha256"]
    assert worldsim.load_world_model(tmp_path / "made" / "distill").sampler.steps == 2


def test_a_network_of_one_stream_is_distilled_after_posttrain(tmp_path, data, pipeline):
    parts = (f"world_model={pipeline / 'unet'}", f"autoencoder={pipeline / 'vae'}", f"data={data}", f"out={tmp_path}", "clip=4")
    command("train", "stage=causalize", *parts)
    command("train", "stage=posttrain", "steps=1", *parts)
    command("train", "stage=distill", "steps=2", *parts)
    sampler = config_of(tmp_path / "distill")["sampler"]
    assert (sampler["steps"], sampler["guidance"], sampler["rescale"]) == (1, 1.0, 0.0)
    assert config_of(tmp_path / "posttrain")["sampler"]["guidance"] == 2.5


def test_what_cannot_be_distilled(tmp_path, data, capsys):
    base = ("train", "stage=distill", "world_model=tiny", f"data={data}", f"out={tmp_path}", "steps=1")
    assert "stage distill begins there; type: worldsim train stage=self-context" in refused(capsys, *base)
    command("train", "stage=pretrain", "world_model=tiny", f"data={data}", f"out={tmp_path}", "steps=1")
    assert "still looks at the future" in refused(capsys, *base, f"init={tmp_path / 'pretrain'}")
    teacher = tiny.world_model(tmp_path / "self-context")
    assert "expected a larger multiple of student_steps=3" in refused(capsys, *base, "student_steps=3")
    assert "drop fsdp=true" in refused(capsys, *base, "fsdp=true")
    assert "trained on 64 x 64 frames" in refused(capsys, *base, "init=drawer")
    command(*base, "teacher_steps=2")
    assert cli.main([*map(str, base), f"init={teacher}", "teacher_steps=8"]) == 1
    assert "teacher_steps=2, now asked for 8" in capsys.readouterr().err
    assert cli.main([*map(str, base), f"init={tmp_path / 'distill'}", "teacher_steps=2"]) == 1
    assert "teacher=" in capsys.readouterr().err  # another one than the run began with


def test_what_training_cannot_begin_with(tmp_path, capsys, data, pipeline):
    base = ("train", f"data={data}", f"out={tmp_path}", "steps=1")
    assert "autoencoder=FOLDER" in refused(capsys, *base, "stage=causalize", f"world_model={pipeline / 'unet'}")
    vae = pipeline / "vae"
    assert "expected the folder of an AutoencoderKL" in refused(
        capsys, *base, "stage=causalize", f"world_model={pipeline / 'unet'}", f"autoencoder={pipeline / 'unet'}"
    )
    assert "AutoencoderKL" in refused(capsys, *base, "stage=causalize", f"world_model={vae}", f"autoencoder={vae}")
    assert "weights action=convert" in refused(capsys, *base, "stage=posttrain", "world_model=rt1")
    assert "worldsim train stage=pretrain" in refused(capsys, *base, "stage=causalize", "world_model=drawer")
    assert 'did you mean "tiny"' in refused(capsys, *base, "stage=causalize", "world_model=tyny")
    assert "worldsim collect truth=drawer" in refused(capsys, "train", "data=drawer", "stage=causalize", "world_model=transformer")
    (tmp_path / "mine.yaml").write_text("kind: video_unet\nclips: 3\n")
    assert "does not describe a world model" in refused(capsys, *base, "stage=causalize", f"world_model={tmp_path / 'mine.yaml'}")


def test_what_a_stage_was_trained_with_is_not_changed_on_the_way(tmp_path, data, capsys):
    base = ("train", "world_model=tiny", f"data={data}", f"out={tmp_path}", "steps=1")
    command(*base, "stage=causalize")
    assert "was trained with prediction=clean, not v" in refused(capsys, *base, "stage=posttrain", "prediction=v")
    assert "self-context needs two streams" in refused(capsys, *base, "stage=self-context", "objective=forcing")
    assert "a noise prediction says nothing" in refused(
        capsys,
        "train",
        "world_model=tiny",
        f"data={data}",
        f"out={tmp_path / 'other'}",
        "steps=1",
        "stage=causalize",
        "prediction=noise",
        "schedule=zero_snr",
    )
    (tmp_path / "causalize" / "config.json").write_text("{")
    assert cli.main([*map(str, base), "stage=posttrain"]) == 1
    assert "is not JSON" in capsys.readouterr().err
    assert 'device "cuda" is not there' in refused(capsys, *base, "stage=causalize", "device=cuda")


def test_validation_may_be_called_val(tmp_path):
    from worldsim.data.splits import split_folder

    assert split_folder(tmp_path, "validation") == tmp_path
    (tmp_path / "val").mkdir()
    assert split_folder(tmp_path, "validation") == tmp_path / "val"
    (tmp_path / "validation").mkdir()
    assert split_folder(tmp_path, "validation") == tmp_path / "validation"
    assert split_folder(tmp_path, "train") == tmp_path


def test_a_preset_refuses_unknown_words():
    with pytest.raises(InvalidInput, match='kind is "unet", expected one of'):
        replace(ModelPreset(), kind="unet")
    with pytest.raises(InvalidInput, match='objective is "x", expected two-stream or forcing'):
        replace(ModelPreset(), objective="x")


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_curve(tmp_path, data):
    def words(out: str) -> list[str]:
        asked = ["train", "world_model=tiny", "stage=causalize", "transfer=extrapolative", "steps=20", "save_seconds=0"]
        return [sys.executable, "-m", "worldsim.experiments.cli", *asked, f"data={data}", f"out={tmp_path / out}", *QUICK]

    subprocess.run(words("whole"), check=True, capture_output=True, timeout=300)
    state = tmp_path / "killed" / "causalize" / "training" / "state.safetensors"
    process = subprocess.Popen(words("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "causalize" / "config.json").exists()
    subprocess.run(words("killed"), check=True, capture_output=True, timeout=300)
    curves = [curve(tmp_path / name / "causalize") for name in ("whole", "killed")]
    assert curves[0] == curves[1]
    weights = [(tmp_path / name / "causalize" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def curve(stage: Path) -> list[dict]:
    """The loss curve without the wall clock."""
    lines = [json.loads(line) for line in (stage / "training" / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_an_encoder_is_added_to_a_network_that_exists_and_kept(tmp_path, data, capsys):
    """With no step it changes nothing that is imagined; trained, it does; and one cannot be added twice."""
    folder = tiny.world_model(tmp_path / "before")
    common = ("train", "stage=posttrain", "world_model=tiny", f"data={data}", f"init={folder}", "encoder=tiny")
    command(*common, f"out={tmp_path / 'none'}", "steps=0")
    command(*common, f"out={tmp_path / 'some'}", "steps=2", "batch=2", "clip=4")
    frames, action = tiny.picture(0)[None, None], np.full((1, 3), 0.5, np.float32)
    seen = {}
    for name, path in {"before": folder, "none": tmp_path / "none" / "posttrain", "some": tmp_path / "some" / "posttrain"}.items():
        model = worldsim.load_world_model(path, steps=2, guidance=1.0, history="stream", history_level=0.1)
        seen[name] = model.step(model.start(frames, np.array([1], np.uint64)), action)[1]
    assert np.array_equal(seen["before"], seen["none"])
    assert not np.array_equal(seen["before"], seen["some"])
    assert config_of(tmp_path / "some" / "posttrain")["network"]["encoder"]["trunk"] == "tiny"
    again = ("train", "stage=self-context", "world_model=tiny", f"data={data}", f"out={tmp_path / 'some'}")
    assert "has encoder already" in refused(capsys, *again, "encoder=tiny")
    command(*again, "steps=1", "batch=2", "clip=4")
    assert "encoder" in config_of(tmp_path / "some" / "self-context")["network"]
    wrong = refused(capsys, *common[:-1], "encoder=nowhere", f"out={tmp_path / 'c'}")
    assert "trunk=nowhere is no folder of a transformers model" in wrong


def test_a_world_of_other_actions_is_gone_on_with_by_name_only(tmp_path, capsys):
    """All weights but those of its encoder of actions are kept, and that says nothing yet: as if the actions were hidden."""
    folder = tiny.world_model(tmp_path / "before")
    recorded(tmp_path / "data", actions=5)
    base = ("train", "stage=posttrain", "world_model=tiny", f"data={tmp_path / 'data'}", f"init={folder}")
    assert refused(capsys, *base, f"out={tmp_path / 'a'}").endswith("type fresh_actions=true")
    command(*base, f"out={tmp_path / 'none'}", "fresh_actions=true", "steps=0")
    made = config_of(tmp_path / "none" / "posttrain")
    assert made["network"]["action_size"] == len(made["spec"]["action"]["names"]) == 5
    networks = [worldsim.load_world_model(path, precision="fp32").network for path in (folder, tmp_path / "none" / "posttrain")]
    old, new = (network.state_dict() for network in networks)
    assert [name for name in old if not torch.equal(old[name], new[name])] == [name for name in old if name.startswith("action_mlp")]
    noisy, levels = torch.randn(2, 1, 4, *networks[0].latent_shape), torch.rand(2, 1, 4)
    with torch.no_grad():
        hidden = networks[0](noisy, levels, torch.randn(2, 4, 3), torch.zeros(2, 1, 4))
        told = networks[1](noisy, levels, torch.randn(2, 4, 5), torch.ones(2, 1, 4))
    assert torch.equal(hidden, told)
    command(*base, f"out={tmp_path / 'some'}", "fresh_actions=true", "steps=2", "batch=2", "clip=4")
    again = ("train", "stage=self-context", "world_model=tiny", f"data={tmp_path / 'data'}", f"out={tmp_path / 'some'}")
    command(*again, "steps=1", "batch=2")


def recorded(folder: Path, actions: int) -> None:
    """Random episodes in which an `angle` changes once."""
    rng = np.random.default_rng(0)
    for split in ("train", "validation"):
        for seed in range(2):
            frames, known = (
                rng.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8),
                {"angle": (np.arange(9) > 6).astype(float), "late": np.arange(9) > 5, "map": np.zeros((9, 2, 2))},
            )
            acted = rng.uniform(-1, 1, (8, actions)).astype(np.float32)
            played = Trajectory("tiny", frames, acted, seed, states=known, metadata={"fps": 10.0})
            write_trajectory(folder / split / f"{seed:07d}.h5", played)
    meaning = replace(tiny.ACTION, names=tuple("abcde"[:actions]), low=(-1.0,) * actions, high=(1.0,) * actions)
    write_json(folder / "summary.json", {"action": asdict(meaning)})


def test_clips_are_drawn_around_a_state_that_is_named(tmp_path, capsys):
    recorded(tmp_path / "data", actions=3)
    base = ("train", "stage=posttrain", "world_model=tiny", f"data={tmp_path / 'data'}", "fresh_actions=true")
    base += (f"init={tiny.world_model(tmp_path / 'before')}",)
    assert 'hold no state "angel"; did you mean "angle"?' in refused(capsys, *base, f"out={tmp_path / 'a'}", "focus=[angel]")
    assert "focus names map, which is [2, 2] per frame" in refused(capsys, *base, f"out={tmp_path / 'a'}", "focus=[map]")
    few = ("steps=2", "batch=2", "clip=4")
    command(*base, f"out={tmp_path / 'even'}", *few)
    command(*base, f"out={tmp_path / 'flag'}", "focus=[late]", *few)
    command(*base, f"out={tmp_path / 'around'}", "focus=[angle]", *few)
    assert curve(tmp_path / "even" / "posttrain") != curve(tmp_path / "around" / "posttrain")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stage=posttrain", "fresh_actions=true"), "was given none; type init=NAME"),
        (("stage=distill", "fresh_actions=true", "init=drawer"), "does not train one; drop it"),
        (("stage=autoencoder", "focus=[opening]"), "draws no clips around states; drop focus="),
    ],
)
def test_a_key_that_a_stage_would_not_look_at_is_refused(words, said, data, tmp_path, capsys):
    assert said in refused(capsys, "train", "world_model=tiny", f"data={data}", f"out={tmp_path / 'out'}", *words)
    assert not (tmp_path / "out").exists()


def test_heads_are_learned_from_recordings_that_know_depth(tmp_path, capsys):
    """Alone they change no frame; the world model then says how deep an imagined frame is; and who does not know is told."""
    from test_scene_truth import NEAR, episode

    folder = tiny.world_model(tmp_path / "before")
    for split in ("train", "validation"):
        for seed in range(3):
            known = episode([(0.05 * t, 0, NEAR) for t in range(6)])
            frames = np.random.default_rng(seed).integers(0, 256, known.frames.shape, dtype=np.uint8)
            clip = replace(known, frames=frames, actions=np.zeros((5, 3), np.float32), seed=seed)
            write_trajectory(tmp_path / "data" / split / f"{seed:07d}.h5", clip)
    common = ("train", "stage=heads", "world_model=tiny", f"data={tmp_path / 'data'}", f"init={folder}", "batch=2", "clip=4")
    command(*common, f"out={tmp_path / 'out'}", "steps=2", "moving=[7:thing]")
    frames, action = tiny.picture(0)[None, None], np.full((1, 3), 0.5, np.float32)
    before, after = (worldsim.load_world_model(path, history="window") for path in (folder, tmp_path / "out" / "heads"))
    state, seen = after.step(after.start(frames, np.array([1], np.uint64)), action)
    assert np.array_equal(seen, before.step(before.start(frames, np.array([1], np.uint64)), action)[1])
    assert after.geometry(state).depth.shape == (1, 16, 16)
    assert after.sampler.steps == 2  # as it was
    refusals = {"moving=[x]": "expected NUMBER:STATE", "weights=[1,1]": "expected those of video", "depth=a.pt": "go together"}
    for word, line in (refusals | {"moving=[7:ball]": "has no ball"}).items():
        assert line in refused(capsys, *common, f"out={tmp_path / 'wrong'}", "steps=2", word)
