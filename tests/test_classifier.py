"""The learnt judge: labels from three sources are one training set, wear changes no label, motion is learned, the threshold decides."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import judged
import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from worldsim.errors import DamagedFile, InvalidInput
from worldsim.experiments import cli
from worldsim.experiments.labelled_clips import Source, labelled_clips
from worldsim.experiments.relived import Relive
from worldsim.load import load_verifier, load_world_model, part_facts
from worldsim.models.checkpoint import save_checkpoint
from worldsim.models.video_convnet import VideoConvNetConfig
from worldsim.registry import VERIFIERS
from worldsim.statistics import centred
from worldsim.training import wear
from worldsim.training.judging import Judging, last_frames
from worldsim.types import Trajectory
from worldsim.verifiers.classifier import Classifier
from worldsim.verifiers.recorded import RecordedVerifier


def trajectory(seed: int = 0, steps: int = 5, size: int = tiny.SIZE) -> Trajectory:
    frames = np.random.default_rng(seed).integers(0, 256, (steps + 1, size, size, 3), dtype=np.uint8)
    return Trajectory("t", frames, np.zeros((steps, 3), np.float32), seed)


def card(**changes) -> dict:
    return {"temperature": 1.0, "threshold": 0.5, "band": [0.5, 0.5], "rule": "last_step", "estimates": None} | changes


class Brightness(torch.nn.Module):
    """Says the logit of the last frame's mean brightness, and how much brighter it is than the first of the clip."""

    config = VideoConvNetConfig(frames=2, height=4, width=4, outputs=2)

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(()))

    def forward(self, clips):
        bright = clips.float().mean((2, 3, 4)) / 255 * self.one
        return torch.stack([torch.logit(bright[:, -1]), bright[:, -1] - bright[:, 0]], dim=1)


def shining(*levels: float) -> Trajectory:
    """One frame per level of brightness."""
    frames = np.stack([np.full((4, 4, 3), round(255 * level), np.uint8) for level in levels])
    return Trajectory("t", frames, np.zeros((len(levels) - 1, 3), np.float32))


# judging


def test_the_probability_is_that_of_the_last_frames_at_the_temperature():
    estimates = {"name": "opening", "boundary": 0.02, "scale": 0.5}
    judge = Classifier(Brightness(), card(temperature=2.0, estimates=estimates))
    [verdict] = judge.judge([shining(0.9, 0.2, 0.8)])
    assert verdict.score == pytest.approx(1 / (1 + (0.2 / 0.8) ** 0.5), abs=1e-6)
    assert verdict.details["p"] == verdict.score
    assert verdict.details["opening"] == pytest.approx(0.6 * 0.5 + 0.02, abs=1e-6)
    assert verdict.reason == "success looks 67% likely at the end, opening like 0.320"
    assert judge.judge([]) == []


def test_an_episode_shorter_than_a_clip_stands_still_before_its_start():
    judge = Classifier(Brightness(), card(estimates={"name": "change", "boundary": 0.0, "scale": 1.0}))
    [verdict] = judge.judge([shining(0.8)])
    assert (verdict.details["p"], verdict.details["change"]) == (pytest.approx(0.8), 0.0)
    assert last_frames(1, 4).tolist() == [0, 0, 0, 1]
    assert last_frames(5, 3).tolist() == [3, 4, 5]


@pytest.mark.parametrize("rule", ["last_step", "ever"])
def test_success_at_the_end_or_ever(rule):
    judge = Classifier(Brightness(), card(rule=rule))
    done_and_undone, never = judge.judge([shining(0.2, 0.8, 0.4), shining(0.2, 0.4, 0.4)])
    assert done_and_undone.success == (rule == "ever")
    assert done_and_undone.details["p"] == pytest.approx(0.8 if rule == "ever" else 0.4)
    assert ("at step 1" in done_and_undone.reason) == (rule == "ever")
    assert never.success is False


def test_the_threshold_is_one_half_of_the_score_and_the_band_abstains():
    judge = Classifier(Brightness(), card(threshold=0.8, band=[0.6, 0.8]))
    scores = {level: judge.judge([shining(level)])[0] for level in (0.2, 0.6 - 1 / 255, 0.6, 0.8, 0.9)}
    levels = list(scores)
    assert [verdict.success for verdict in scores.values()] == [False, False, None, True, True]
    for level in (levels[0], levels[1], levels[4]):
        assert scores[level].score == pytest.approx(centred(scores[level].details["p"], 0.8))
    unsure = scores[0.6]
    assert unsure.reason == "could not tell: success looks 60% likely at the end, between 0.60 and 0.80"
    assert unsure.details["p"] == pytest.approx(0.6)


def test_options_replace_what_the_checkpoint_says(tmp_path):
    tiny.classifier(tmp_path / "judge", threshold=0.5, band=[0.3, 0.7])
    held = {"name": "classifier", "path": str(tmp_path / "judge")}
    episode = trajectory()
    p = load_verifier(held).judge([episode])[0].details["p"]
    above, below = min(1.0, p + 0.01), max(0.0, p - 0.01)
    assert load_verifier(held | {"threshold": below}).judge([episode])[0].success is True  # a new threshold brings no old band
    assert load_verifier(held | {"threshold": above}).judge([episode])[0].success is False
    assert load_verifier(held | {"threshold": p, "band": [below, above]}).judge([episode])[0].success is None
    assert load_verifier(held | {"band": []}).judge([episode])[0].success == (p >= 0.5)
    for options, words in (
        ({"threshold": 1.5}, "expected a probability"),
        ({"band": [0.6, 0.7]}, "with the threshold .0.5. between"),
        ({"band": [0.2]}, "expected two probabilities"),
        ({"rule": "once"}, 'rule is "once", expected last_step or ever'),
    ):
        with pytest.raises(InvalidInput, match=words):
            load_verifier(held | options)


def test_frames_of_another_size_are_refused(tmp_path):
    judge = load_verifier(str(tiny.classifier(tmp_path / "judge")))
    with pytest.raises(InvalidInput, match=r"clips have shape \[1, 2, 8, 8, 3\], this judge was trained on \[N, 2, 16, 16, 3\]"):
        judge.judge([trajectory(size=8)])


def test_frames_need_not_be_square(tmp_path):
    network = VideoConvNetConfig(frames=2, height=20, width=36, channels=4).build()
    save_checkpoint(tmp_path, "verifier", {"network": network}, {"network": network.describe(), **card(band=[])})
    frames = np.zeros((3, 20, 36, 3), np.uint8)
    assert 0 < load_verifier(str(tmp_path)).judge([Trajectory("t", frames, np.zeros((2, 3), np.float32))])[0].score < 1


def test_a_judge_of_an_earlier_version_is_refused_in_one_line(tmp_path):
    network = VideoConvNetConfig(channels=4).build()
    save_checkpoint(tmp_path, "verifier", {"network": network}, {"network": network.describe(), "target": "opening"})
    with pytest.raises(InvalidInput, match="earlier version of worldsim; train it again"):
        load_verifier(str(tmp_path))


def test_a_saved_judge_says_what_it_said(tmp_path):
    path = tiny.classifier(tmp_path / "judge", seed=3)
    first, again = load_verifier(str(path)), load_verifier(str(path))
    network = first._network
    save_checkpoint(tmp_path / "copy", "verifier", {"network": network}, {"network": network.describe(), **card(band=[])})
    said = [
        [v.score for v in judge.judge([trajectory(seed) for seed in range(4)])]
        for judge in (first, again, load_verifier(str(tmp_path / "copy")))
    ]
    assert said[0] == said[1] == said[2]
    assert len(set(said[0])) == 4


# labels


def source(data: Path, labels, frames: int = 2, held_out: float = 0.3) -> Source:
    return Source(data, labels, frames, held_out)


def same(one, other) -> None:
    """Two training sets are the same, whoever labelled them."""
    assert np.array_equal(one.show(np.arange(len(one))), other.show(np.arange(len(other))))
    assert one.labels.tolist() == other.labels.tolist()
    assert one.groups.tolist() == other.groups.tolist()
    assert one.final.all()


def test_state_people_and_flags_that_say_the_same_give_one_training_set(tmp_path):
    seeds = range(12)
    state, _ = labelled_clips(source(judged.divided(tmp_path / "a", 12, 4), "state"), "train", every=99)
    flags, _ = labelled_clips(source(judged.divided(tmp_path / "b", 12, 4, told="recorded"), "recorded"), "train", every=1)
    exported = {"name": "human", "labels": str(judged.label_file(tmp_path / "labels.csv", seeds))}
    people, _ = labelled_clips(source(judged.divided(tmp_path / "c", 12, 4, told="nobody"), exported), "train", every=1)
    same(state, flags)
    same(state, people)
    assert state.values.tolist() == [0.005 if label else 0.06 for label in state.labels]
    assert np.isnan(flags.values).all()
    run = judged.labelled_run(tmp_path / "run", range(40))
    sides = [labelled_clips(source(run, "human"), split, every=1)[0] for split in ("train", "validation")]
    assert sorted([*sides[0].groups, *sides[1].groups]) == [f"{seed:07d}" for seed in range(40)]
    assert 4 <= len(sides[1]) <= 20
    assert [bool(label) for label in sides[0].labels] == [judged.moving(int(group))[1] for group in sides[0].groups]


def test_the_true_state_labels_every_moment(tmp_path):
    tiny.recordings(tmp_path / "train", lengths=(8,))
    clips, counts = labelled_clips(source(tmp_path, "state", frames=3), "train", every=4)
    assert counts == {"episodes": 1, "unlabelled": 0}
    from worldsim.data.trajectory_file import read_trajectory

    episode = read_trajectory(tmp_path / "train" / "0000000.h5")
    assert clips.values.tolist() == episode.states["opening"][[8, 4, 0]].tolist()
    assert clips.labels.tolist() == (episode.states["opening"][[8, 4, 0]] < 0.02).tolist()
    assert clips.final.tolist() == [True, False, False]
    assert np.array_equal(clips.show([0, 1, 2]), np.stack([episode.frames[6:9], episode.frames[2:5], episode.frames[[0, 0, 0]]]))


def test_episodes_of_one_start_stay_on_one_side(tmp_path):
    run = judged.labelled_run(tmp_path / "run", range(30))
    sides = [set(labelled_clips(source(run, "human"), split, every=1)[0].groups) for split in ("train", "validation")]
    assert not sides[0] & sides[1]


def test_what_has_no_label_is_counted_and_no_label_at_all_is_refused(tmp_path):
    judged.episodes(tmp_path / "some" / "train", 5, told="recorded")
    judged.episodes(tmp_path / "some" / "train", 3, first=5, told="nobody")
    _, counts = labelled_clips(source(tmp_path / "some", "recorded"), "train", every=1)
    assert counts == {"episodes": 5, "unlabelled": 3}
    judged.episodes(tmp_path / "none" / "train", 3, told="nobody")
    with pytest.raises(InvalidInput, match="none of the 3 train episodes .* is labelled by state; name who knows: labels=state"):
        labelled_clips(source(tmp_path / "none", "state"), "train", every=1)


@pytest.mark.parametrize(
    ("metadata", "score"),
    [
        ({"success": True}, 1.0),
        ({"success": 0}, 0.0),
        ({"recorded": {"success": 1.0}}, 1.0),
        ({"success": False, "recorded": {"success": True}}, 0.0),
        ({"success": "yes"}, None),
        ({"success": 0.5}, None),
        ({"recorded": {}}, None),
        ({"recorded": "no mapping"}, None),
        ({}, None),
    ],
)
def test_a_flag_is_true_or_false_or_nothing(metadata, score):
    episode = Trajectory("t", np.zeros((1, 4, 4, 3), np.uint8), np.zeros((0, 3), np.float32), metadata=metadata)
    assert RecordedVerifier().judge([episode])[0].score == score
    deep = Trajectory("t", episode.frames, episode.actions, metadata={"recorded": {"outcome": metadata}})
    assert RecordedVerifier("outcome.success").judge([deep])[0].score == (None if "recorded" in metadata and score else score)


# wear


def clips_of(count: int = 6, k: int = 3, height: int = 20, width: int = 28) -> torch.Tensor:
    return torch.rand((count, k, height, width, 3), generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_wear_follows_from_its_seed_and_leaves_the_clips_given():
    clips = clips_of()
    kept = clips.clone()
    one, again, other = (wear.worn(clips, torch.Generator().manual_seed(seed), 2) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == clips.shape
    assert torch.equal(clips, kept)


def test_wear_changes_no_label(tmp_path):
    clips, _ = labelled_clips(source(judged.divided(tmp_path, 12, 4), "state"), "train", every=1)
    seen = []

    class Spy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, pictures):
            seen.append(pictures)
            return torch.zeros(len(pictures), 1) + self.weight

    labels, objective = clips.labels.copy(), Judging(Spy(), clips, 0.02, 0.1, batch=8, shift=2)
    loss = objective.loss(torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(np.log(2))
    assert np.array_equal(clips.labels, labels)
    which = objective.draw(np.random.default_rng(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(0)).item()))
    loss.backward()
    assert objective.model.weight.grad.item() == pytest.approx(0.5 - labels[which].mean())  # the labels are those of the clips drawn
    assert not torch.equal(seen[0], torch.from_numpy(clips.show(which)).float() / 127.5 - 1)


def test_each_kind_of_wear_is_what_it_says():
    x = clips_of().permute(0, 1, 4, 2, 3).flatten(1, 2)
    flat = torch.full((2, 3, 16, 16), 0.3)
    strong = torch.ones(2, 1, 1, 1)
    for kind in (wear.blurred, wear.coarse):  # what is even stays even, and detail is lost
        torch.testing.assert_close(kind(flat, strong), flat)
        assert kind(x[:2], strong).var() < 0.6 * x[:2].var()
    basis = wear.cosines()
    torch.testing.assert_close(basis @ basis.T, torch.eye(8), atol=1e-6, rtol=0)
    torch.testing.assert_close(wear.blocky(x, torch.full((6, 1, 1, 1), 1e-5)), x, atol=1e-3, rtol=0)
    block = wear.blocky(x[:2], 4 * strong)[:, :, :8, :8]  # coarse steps keep little but each block's mean
    assert torch.linalg.matrix_rank(block[0, 0]) < 8
    moved = wear.shifted(x, torch.Generator().manual_seed(3), 2)
    assert not torch.equal(moved, x)
    inner = moved[0, :, 4:-4, 4:-4]
    assert any(torch.equal(inner, x[0, :, 4 + dy : 16 + dy, 4 + dx : 24 + dx]) for dy in range(-2, 3) for dx in range(-2, 3))


def test_gaussian_blur_is_the_closed_form():
    point = torch.zeros(1, 1, 15, 15)
    point[0, 0, 7, 7] = 1.0
    sigma = 0.9
    got = wear.blurred(point, torch.full((1, 1, 1, 1), sigma))[0, 0]
    line = torch.exp(-(torch.arange(-3.0, 4.0) ** 2) / (2 * sigma**2))
    torch.testing.assert_close(got[4:11, 4:11], torch.outer(line, line) / line.sum() ** 2)
    assert got.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("asked", "steps"), [(0, 2), (1, 2), (4, 4)])
def test_a_world_model_relives_the_end_of_an_episode(tmp_path, asked, steps):
    """Its clips are the last frames of stepping the world by hand from the true past, and their labels those of the moments they end at."""
    tiny.recordings(tmp_path / "data" / "train", lengths=(8, 9))
    model = load_world_model(str(tiny.world_model(tmp_path / "world")), precision="fp32")
    past = min(4, model.spec.context)
    relive = Relive(model, 1.0, seed=0, steps=asked)
    clips, _ = labelled_clips(source(tmp_path / "data", "state", frames=2), "train", every=1, relive=relive)
    plain, _ = labelled_clips(source(tmp_path / "data", "state", frames=2), "train", every=1)
    possible = [end for length in (8, 9) for end in range(length, past + steps - 2, -1)]
    assert len(clips) == len(plain) + len(possible)
    from worldsim.data.trajectory_file import read_trajectory

    episode = read_trajectory(tmp_path / "data" / "train" / "0000000.h5")
    begin = 8 - steps - past + 1
    state = model.start(episode.frames[None, begin : begin + past], np.zeros(1, np.uint64), episode.actions[None, begin : begin + past - 1])
    frames = []
    for step in range(8 - steps, 8):
        state, frame = model.step(state, episode.actions[None, step])
        frames.append(frame[0])
    imagined = clips.show([len(plain)])[0].astype(int)  # they follow the true ones
    assert np.abs(imagined - np.stack(frames[-2:])).max() <= 1
    assert clips.values[len(plain)] == episode.states["opening"][8]
    assert Relive(model, 0.0, seed=0).draw(episode, [8], 2) == {}


def test_more_steps_than_an_episode_has_are_refused(tmp_path):
    tiny.recordings(tmp_path / "data" / "train", lengths=(8, 9))
    model = load_world_model(str(tiny.world_model(tmp_path / "world")), precision="fp32")
    with pytest.raises(InvalidInput, match="the longest train episode below .* has 9; give fewer relived_steps="):
        labelled_clips(source(tmp_path / "data", "state", frames=2), "train", every=1, relive=Relive(model, 1.0, seed=0, steps=100))


# the command


def train(data: Path, out: Path, **keys) -> dict:
    values = {"data": data, "out": out, "steps": 250, "batch": 32, "channels": 6, "frames": 2, "shift": 0, "threads": 1, "every": 9} | keys
    assert cli.main(["train-verifier", *(f"{key}={value}" for key, value in values.items())]) == 0
    return json.loads((out / "config.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_motion_is_learned_from_two_frames_and_not_from_one(tmp_path):
    data = judged.divided(tmp_path / "data", 300, 120)
    two, one = train(data, tmp_path / "two"), train(data, tmp_path / "one", frames=1)
    wrong = {name: sum(config["held_out"][key] for key in ("false_success", "missed")) for name, config in (("two", two), ("one", one))}
    count = two["held_out"]["clips"]
    assert wrong["two"] <= 0.05 * count
    assert wrong["one"] >= 0.25 * count
    assert two["held_out"]["false_success_rate"]["high"] >= two["held_out"]["false_success_rate"]["rate"]
    assert two["estimates"]["name"] == "opening"
    judge = load_verifier(str(tmp_path / "two"))
    fresh = [judged.moving(seed) for seed in range(5000, 5060)]
    assert sum(v.success == truth for v, (_, truth) in zip(judge.judge([t for t, _ in fresh]), fresh, strict=True)) >= 56


@pytest.mark.slow
def test_training_that_was_killed_and_goes_on_equals_one_that_was_not(tmp_path):
    data = judged.divided(tmp_path / "data", 40, 20)
    train(data, tmp_path / "whole", steps=60)
    keys = {
        "data": data,
        "out": tmp_path / "cut",
        "steps": 60,
        "batch": 32,
        "channels": 6,
        "frames": 2,
        "shift": 0,
        "threads": 1,
        "every": 9,
    }
    command = [sys.executable, "-m", "worldsim.experiments.cli", "train-verifier", *(f"{key}={value}" for key, value in keys.items())]
    process = subprocess.Popen([*command, "save_seconds=0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    state = tmp_path / "cut" / ".training" / "state.safetensors"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert state.exists()
    assert not (tmp_path / "cut" / "config.json").exists()
    train(data, tmp_path / "cut", steps=60)
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_labels_of_one_kind_are_refused_before_anything_is_trained(tmp_path, capsys):
    for seed in range(4):
        episode, _ = judged.moving(seed)
        for split in ("train", "validation"):
            from worldsim.data.trajectory_file import write_trajectory

            flagged = Trajectory("slide", episode.frames, episode.actions, seed, f"{split}{seed}", metadata={"recorded": {"success": True}})
            write_trajectory(tmp_path / split / f"{seed}.h5", flagged)
    code = cli.main(["train-verifier", f"data={tmp_path}", f"out={tmp_path / 'out'}", "labels=recorded"])
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert "0 failures, expected some of both" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dinov2", "clip", "clip-vision"])
def test_a_head_on_a_frozen_picture_model(tmp_path, kind):
    """A tiny random one: the head is trained and saved, the frozen model is neither, and the judge asks for the very same one."""
    save_picture_model(tmp_path / "model", kind)
    data = judged.divided(tmp_path / "data", 30, 30, told="recorded")
    config = train(data, tmp_path / "judge", labels="recorded", features=tmp_path / "model", steps=5, hidden=0)
    saved = load_file(tmp_path / "judge" / "model.safetensors")
    assert saved.keys() == {f"network/{key}" for key in ("norm.weight", "norm.bias", "head.0.weight", "head.0.bias")}
    judge = load_verifier(str(tmp_path / "judge"))
    frozen = judge._network._frozen[0].model
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    episodes = [judged.moving(seed)[0] for seed in range(3)]
    assert len({verdict.score for verdict in judge.judge(episodes)}) == 3
    (tmp_path / "model").rename(tmp_path / "moved")
    with pytest.raises(InvalidInput, match="is no folder of a transformers model"):
        load_verifier(str(tmp_path / "judge"))
    moved = load_verifier({"name": "classifier", "path": str(tmp_path / "judge"), "features": str(tmp_path / "moved")})
    assert [v.score for v in moved.judge(episodes)] == [v.score for v in judge.judge(episodes)]
    save_picture_model(tmp_path / "other", kind, seed=1)
    with pytest.raises(InvalidInput, match=f"holds another model .* trained on .{config['network']['sha256']}"):
        load_verifier({"name": "classifier", "path": str(tmp_path / "judge"), "features": str(tmp_path / "other")})


def save_picture_model(folder: Path, kind: str, seed: int = 0):
    """A random model of transformers, saved as its authors would."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    vision = size | {"intermediate_size": 16, "projection_dim": 8}
    if kind == "dinov2":
        model = transformers.Dinov2Model(transformers.Dinov2Config(**size))
    elif kind == "clip-vision":
        model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**vision))
    else:
        text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
        model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    model.save_pretrained(folder)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "side"), [({}, 28), ({"crop_size": {"height": 42, "width": 42}}, 42), ({"size": {"shortest_edge": 14}}, 14)]
)
def test_the_frozen_features_are_what_transformers_makes_of_the_pictures(tmp_path, said, side):
    """At the size that its preprocessing cuts to, and scaled as it says: one pooled feature each."""
    from worldsim.models.frozen_features import Frozen

    model = save_picture_model(tmp_path, "dinov2").eval()
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said | {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}))
    pictures = torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    x = (pictures.permute(0, 3, 1, 2) / 255 - mean) / deviation
    with torch.no_grad():
        expected = model(pixel_values=x).pooler_output
    torch.testing.assert_close(Frozen(str(tmp_path))(pictures), expected, atol=1e-4, rtol=1e-4)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tiny.classifier(tmp_path / "judge")
    (path / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(DamagedFile, match="damaged or replaced"):
        load_verifier(str(path))


def test_a_run_is_learned_from_by_the_labels_that_people_gave_it(tmp_path, capsys):
    """The command on a run folder, and on recordings beside an exported file: who labelled is kept in the card."""
    run = judged.labelled_run(tmp_path / "run", range(40))
    config = train(run, tmp_path / "a", labels="human", steps=1, abstain=0.2, rule="ever")
    assert (config["training"]["labels"], config["rule"], config["estimates"]) == ("human", "ever", None)
    assert config["network"]["outputs"] == 1
    assert "labelled by human" in capsys.readouterr().out
    low, high = config["band"]
    assert low <= config["threshold"] <= high
    assert load_verifier(str(tmp_path / "a")).judge([judged.moving(0)[0]])[0].details["p"] > 0
    seeds = [*range(12), *range(1_000_000, 1_000_030)]
    labels = f"{{name: human, labels: {judged.label_file(tmp_path / 'labels.jsonl', seeds)}}}"
    data = judged.divided(tmp_path / "data", 12, 30, told="nobody")
    assert train(data, tmp_path / "b", labels=labels, steps=1)["training"]["labels"]["name"] == "human"


def test_a_judge_is_known_by_what_turns_its_output_into_a_verdict(tmp_path):
    one, other = tiny.classifier(tmp_path / "one"), tiny.classifier(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    facts = [part_facts(VERIFIERS, str(folder)) for folder in (one, other)]
    assert facts[0] == facts[1]
    (other / "config.json").write_text(json.dumps(config | {"threshold": 0.9, "band": [0.9, 0.9]}))
    assert part_facts(VERIFIERS, str(other)) != facts[0]
