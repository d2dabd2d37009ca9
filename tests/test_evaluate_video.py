"""`worldsim evaluate-video`: protocols, frozen clips, continuations, and the command from recordings to numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from test_metrics import Averages, Gap, script

import worldsim
from worldsim.data.files import sha256_of
from worldsim.data.published_splits import published_split
from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import InvalidInput, UnknownName, WorldsimError
from worldsim.experiments import cli
from worldsim.experiments.continuations import continue_jointly, continue_stepwise
from worldsim.experiments.presets import load_preset, preset_names
from worldsim.experiments.published_clips import published_clips
from worldsim.experiments.video_clips import choose_clips, read_batch, read_clips, write_clips
from worldsim.experiments.video_protocol import Protocol
from worldsim.experiments.video_scores import VideoScores
from worldsim.metrics import psnr, ssim

SHORT = "given: 2\npredicted: 3\nclips: 4\nmetrics: [psnr, ssim, lpips, fvd, fid]\n"


class MovingAverages(torch.nn.Module):
    """Features `[N, 3]` of clips `[N, 3, T, H, W]`, called as I3D is."""

    def forward(self, clips: torch.Tensor, rescale: bool, resize: bool, return_features: bool):
        assert return_features
        assert not rescale
        assert not resize
        return clips.flatten(2).mean(dim=2)


class Painter:
    """A world model that knows only its given frames: step k paints its own seed and k. Jointly it paints the same."""

    spec = worldsim.types.WorldSpec(height=2, width=2, action=tiny.ACTION, context=1, fps=1.0)

    def start(self, frames, seeds):
        self.given = frames.shape[1]
        return np.asarray(seeds), 0

    def step(self, state, actions):
        assert actions.dtype == np.float32
        assert np.abs(actions).max() <= 1
        seeds, step = state
        return (seeds, step + 1), np.full((len(seeds), 2, 2, 3), 10 * step, np.uint8) + seeds[:, None, None, None].astype(np.uint8)

    def imagine_jointly(self, frames, actions, seeds):
        state = self.start(frames, seeds)
        made = []
        for action in actions.swapaxes(0, 1):
            state, frame = self.step(state, action)
            made.append(frame)
        return np.stack(made, axis=1)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A folder with a world, recordings of which one is too short, and a protocol; commands run inside it."""
    monkeypatch.chdir(tmp_path)
    tiny.world_model(tmp_path / "world")
    tiny.recordings(tmp_path / "rec", lengths=(4, 6, 3, 9, 6))
    (tmp_path / "short.yaml").write_text(SHORT)
    return tmp_path


def evaluate(*more: str) -> int:
    return cli.main(["evaluate-video", "world_model=world", "data=rec", "protocol=short.yaml", *more])


def test_every_protocol_is_sound_and_says_what_it_compares_with():
    frames = {
        "drawer": (1, 24, 24),
        "rt1": (1, 15, 16),
        "csgo": (4, 12, 12),
        "recon": (4, 16, 1),
        "recon_rollout": (4, 16, 3),
        "drop": (1, 12, 12),
    }
    assert set(preset_names("protocol")) == set(frames)
    for name, (given, predicted, scored) in frames.items():
        protocol = load_preset("protocol", name, Protocol)
        assert (protocol.given, protocol.predicted, len(protocol.scored_frames)) == (given, predicted, scored)
        text = (Path(cli.__file__).parent / "configs" / "protocols" / f"{name}.yaml").read_text()
        assert text.startswith("# Comparable with")
    rollout, recon = (load_preset("protocol", name, Protocol) for name in ("recon_rollout", "recon"))
    assert rollout.scored_frames == (7, 11, 19)
    assert (recon.scored_frames, recon.video_frames) == ((19,), tuple(range(4, 20)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"given": 0}, "1 or more"),
        ({"scored": "lst"}, 'unknown scored "lst"'),
        ({"scored": [6]}, "from 1 to 5"),
        ({"metrics": ["ssmi"]}, 'unknown metric "ssmi"'),
        ({"mode": "joint"}, 'unknown mode "joint"'),
        ({"crop": [3]}, r"expected \[height,width\]"),
    ],
)
def test_unsound_protocols_are_refused(change, words):
    with pytest.raises(WorldsimError, match=words):
        Protocol(**({"given": 2, "predicted": 3, "clips": 1} | change))


def test_clips_are_the_same_in_every_process_and_lie_within_their_episodes(parts):
    chosen = choose_clips(Path("rec"), length=5, count=4, seed=0)
    code = "from pathlib import Path; from worldsim.experiments.video_clips import choose_clips as c; print(c(Path('rec'), 5, 4, 0).digest)"
    for hash_seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": hash_seed}
        assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.split() == [
            chosen.digest
        ]
    assert {clip.episode for clip in chosen.clips} == {"0000000", "0000001", "0000003", "0000004"}
    assert chosen.too_short in (0, 1)  # only episodes that were looked at count
    assert choose_clips(Path("rec"), 5, 5, seed=0).too_short == 1
    assert choose_clips(Path("rec"), 5, 2, seed=0).clips == chosen.clips[:2]
    begins = {choose_clips(Path("rec"), 5, 9, seed).clips for seed in range(20)}
    assert {clip.begin for clips in begins for clip in clips if clip.episode == "0000003"} == {0, 1, 2, 3, 4, 5}
    with pytest.raises(InvalidInput, match="none of the 5 episodes"):
        choose_clips(Path("rec"), 11, 4, seed=0)


def test_published_clips_are_taken_where_the_recordings_have_their_names(parts):
    """The two of the 500 CS:GO clips that begin earliest, and a recording of another name beside them."""
    begins = published_split("csgo").begins
    numbers = sorted(sorted(begins, key=begins.get)[:2], key=list(begins).index)
    tiny.recordings(parts / "csgo", lengths=[begins[number] + 5 for number in numbers] + [9])
    assert published_clips(parts / "csgo", "csgo", 5) is None
    for seed, number in enumerate(numbers):
        (parts / f"csgo/{seed:07d}.h5").rename(parts / f"csgo/hdf5_dm_july2021_{number}.h5")
    Path("short.yaml").write_text(SHORT + "published: csgo\n")
    assert evaluate("data=csgo", "out=out", "limit=9") == 0
    written = json.loads(Path("out/clips.json").read_text())["clips"]
    assert written == [{"episode": f"hdf5_dm_july2021_{number}", "begin": begins[number]} for number in numbers]
    assert evaluate("out=drawn") == 0  # none of these names: drawn, as ever
    assert len(json.loads(Path("drawn/clips.json").read_text())["clips"]) == 4
    with pytest.raises(UnknownName, match="no published split"):
        published_clips(parts / "csgo", "recon", 5)


def test_a_clip_list_comes_back_from_its_file_or_not_at_all(parts):
    chosen = choose_clips(Path("rec"), 5, 3, seed=7)
    write_clips(Path("clips.json"), chosen)
    assert read_clips("clips.json", 5) == chosen
    raw = json.loads(Path("clips.json").read_text())
    assert (raw["seed"], raw["digest"], set(raw["clips"][0])) == (7, chosen.digest, {"episode", "begin"})
    with pytest.raises(InvalidInput, match="the protocol has 6"):
        read_clips("clips.json", 6)
    raw["clips"][0]["begin"] += 1
    Path("clips.json").write_text(json.dumps(raw))
    with pytest.raises(WorldsimError, match="digest"):
        read_clips("clips.json", 5)
    Path("clips.json").write_text("[]")
    with pytest.raises(WorldsimError, match="not a list of clips"):
        read_clips("clips.json", 5)


def test_a_clip_brings_the_actions_between_its_frames(parts):
    chosen = choose_clips(Path("rec"), 5, 4, seed=0)
    clips = read_batch(Path("rec"), chosen.clips, length=5)
    frames, actions = (np.stack([getattr(clip, name) for clip in clips]) for name in ("frames", "actions"))
    assert (frames.shape, actions.shape) == ((4, 5, 16, 16, 3), (4, 4, 3))
    for row, clip in enumerate(chosen.clips):
        recorded = read_trajectory(f"rec/{clip.episode}.h5")
        assert np.array_equal(frames[row], recorded.frames[clip.begin : clip.begin + 5])
        assert np.array_equal(actions[row], recorded.actions[clip.begin : clip.begin + 4])
    assert len({clip.draw_seed(0) for clip in chosen.clips} | {clip.draw_seed(1) for clip in chosen.clips}) == 8


def test_both_modes_give_one_new_frame_per_action_and_clip_actions_to_their_bounds():
    given, actions = np.zeros((2, 3, 2, 2, 3), np.uint8), np.full((2, 4, 3), 9.0)
    frames = continue_stepwise(Painter(), given, actions, [1, 2])
    assert frames[:, :, 0, 0, 0].tolist() == [[1, 11, 21, 31], [2, 12, 22, 32]]
    assert np.array_equal(continue_jointly(Painter(), given, actions, [1, 2]), frames)
    with pytest.raises(InvalidInput, match=r"have 2 numbers, expected 3 \(x, y, z\)"):
        continue_stepwise(Painter(), given, actions[..., :2], [1, 2])


def test_models_that_cannot_draw_jointly_are_refused():
    class Stepwise:
        spec = Painter.spec

    class Wrong(Painter):
        def imagine_jointly(self, frames, actions, seeds):
            return np.zeros((2, 7, 2, 2, 3), np.uint8)

    given, actions = np.zeros((2, 3, 2, 2, 3), np.uint8), np.zeros((2, 4, 3))
    with pytest.raises(InvalidInput, match="type mode=ar"):
        continue_jointly(Stepwise(), given, actions, [1, 2])
    with pytest.raises(InvalidInput, match="one new frame per action"):
        continue_jointly(Wrong(), given, actions, [1, 2])


def test_scores_count_the_frames_that_the_protocol_names():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (3, 5, 16, 20, 3), dtype=np.uint8)
    made = truth.copy()
    made[:, 2:] ^= rng.integers(0, 64, made[:, 2:].shape, dtype=np.uint8)
    values = {}
    for scored in ("all", "predicted", "last", [3, 5]):
        scores = VideoScores(Protocol(2, 3, clips=3, scored=scored, crop=[12, 16]), {})
        scores.add(truth[:1], made[:1])  # in unequal batches
        scores.add(truth[1:], made[1:])
        values[str(scored)] = scores.summary(seed=0)
    cut = [each[:, :, 2:14, 2:18] for each in (made, truth)]
    by_frame = np.array([psnr(*pair) for pair in zip(*cut, strict=True)])
    for scored, rows in (("all", [0, 1, 2, 3, 4]), ("predicted", [2, 3, 4]), ("last", [4]), ("[3, 5]", [2, 4])):
        found = values[scored]["psnr"]
        assert found["value"] == pytest.approx(by_frame[:, rows].mean())
        assert found["predicted_only"] == pytest.approx(by_frame[:, 2:].mean())
        assert found["low"] <= found["value"] <= found["high"]
        assert (found["clips"], found["frames"]) == (3, [row + 1 for row in rows])
    assert values["all"]["psnr"]["by_frame"]["model"] == pytest.approx(by_frame.mean(axis=0))
    held = np.mean([ssim(t[2:], t[1:2]) for t in cut[1]])
    assert values["predicted"]["ssim"]["copy"] == pytest.approx(held, abs=1e-6)


def test_the_command_measures_what_it_has_networks_for(parts, capsys):
    i3d, lpips = script(MovingAverages(), parts / "i3d.pt"), script(Gap(), parts / "lpips.pt")
    script(Averages(), parts / "inception.pt")
    Path("fid.yaml").write_text("path: inception.pt\nrange: byte\nkwargs: {gain: 2.0}\n")
    assert evaluate(f"fvd={i3d}#{sha256_of(i3d)}", f"lpips={lpips}", "fid=fid.yaml", "batch=3", "out=out") == 0
    printed = capsys.readouterr().out
    numbers = json.loads(Path("out/video_quality.json").read_text())
    found = numbers["metrics"]
    assert set(found) == {"psnr", "ssim", "lpips", "fvd", "fid"}
    assert (numbers["left_out"], numbers["clips"], numbers["protocol"]["name"]) == ({}, 4, "short")
    assert (found["fvd"]["network"]["sha256"], found["fvd"]["vectors"], found["fid"]["vectors"]) == (sha256_of(i3d), 4, 12)
    assert all(found[metric]["value"] > 0 for metric in found)
    assert found["lpips"]["compare_with"] == "LPIPS-vgg"
    assert found["lpips"]["low"] <= found["lpips"]["value"] <= found["lpips"]["high"]
    assert "LPIPS" in printed
    for name in ("strips.png", "curves.png"):
        assert Path("out", name).read_bytes()[:4] == b"\x89PNG"
    listed = json.loads(Path("out/clips.json").read_text())
    assert listed["digest"] == numbers["clips_digest"]


def test_the_same_clips_give_the_same_numbers_and_other_actions_others(parts, capsys):
    assert evaluate("out=one", "limit=3") == 0
    printed = capsys.readouterr().out
    assert "FVD left out: no network given" in printed
    assert "3 clips, the protocol has 4" in printed
    tiny.recordings(parts / "rec", lengths=(4, 6, 3, 9, 6, 7, 7))  # more recordings would change the choice
    assert evaluate("out=two", "clips=one/clips.json") == 0
    assert evaluate("out=two", "clips=one/clips.json", "shuffle_actions=true") == 0
    one, two, other = (
        json.loads(Path(path).read_text())
        for path in ("one/video_quality.json", "two/video_quality.json", "two/video_quality_shuffled.json")
    )
    assert one["metrics"] == two["metrics"]
    assert one["clips_digest"] == two["clips_digest"] == other["clips_digest"]
    assert set(one["left_out"]) == {"lpips", "fvd", "fid"}
    assert one["metrics"]["psnr"]["copy"] == other["metrics"]["psnr"]["copy"]
    assert one["metrics"]["psnr"]["value"] != other["metrics"]["psnr"]["value"]


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["fvd=none.pt"], 2, "no network file none.pt"),
        (["lpips=lpips.pt#00ff"], 2, "expected 00ff"),
        (["fid=bad.yaml"], 2, "does not describe a network"),
        (["dreamsim=lpips.pt"], 2, "does not measure dreamsim"),
        (["clips=none.json"], 2, "no clip list none.json"),
        (["limit=1", "shuffle_actions=true"], 2, "at least two clips"),
        (["protocol=shrt"], 2, 'unknown protocol "shrt"'),
        (["protocol=drawer"], 2, "has the 25 frames of a clip"),
        (["crop=[17,16]"], 2, "cannot cut 17 x 16"),
        (["crop=[16]"], 2, "expected [height,width]"),
        (["world_model=wold"], 2, "unknown world model"),
        (["data=nowhere"], 2, "no episode files"),
    ],
)
def test_bad_requests_are_refused_in_one_line(parts, capsys, argv, code, words):
    if any("lpips.pt" in each for each in argv):
        script(Gap(), parts / "lpips.pt")
    Path("bad.yaml").write_text("path: x.pt\nbatsh: 3\n")
    assert evaluate(*argv) == code
    assert words in capsys.readouterr().err.splitlines()[-1]  # a progress line may stand before it


def test_a_missing_value_of_a_protocol_is_named(parts):
    Path("half.yaml").write_text("given: 2\nclips: 3\n")
    with pytest.raises((InvalidInput, UnknownName), match="predicted"):
        load_preset("protocol", "half.yaml", Protocol)
