"""Damaged anywhere, in any of seven ways, a LeRobot data set gives named drops or one line of refusal, and never a wrong number."""

import shutil
from pathlib import Path

import damage
import numpy as np
import pytest
from lerobot_data import H264, WRITERS, Content

from worldsim.data.lerobot import read_lerobot
from worldsim.errors import DamagedFile
from worldsim.types import Trajectory

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.slow
CONTENT = Content(cameras={"observation.images.top": "video", "observation.images.wrist": "image"})
# info.json has no checksum: a changed letter of a name is a name. Here it is torn, its entries are spoilt in test_lerobot_metadata.py.
TORN = {kind: damage.KINDS[kind] for kind in ("truncate", "zero", "double")}
PER_KIND_OF_FILE = {".parquet": (40, damage.KINDS), ".jsonl": (20, damage.KINDS), ".json": (6, TORN), ".mp4": (24, damage.KINDS)}


def same_pictures(outcome: damage.Outcome, whole: damage.Outcome) -> bool:
    """Whether all pictures that came through are the whole recordings'; views may be missing."""
    pairs = [(each, whole.episodes[name]) for name, each in outcome.episodes.items()]
    return all(
        np.array_equal(each.frames, true.frames) and all(np.array_equal(view, true.views[name]) for name, view in each.views.items())
        for each, true in pairs
    )


@pytest.mark.parametrize("version", list(WRITERS))
def test_damaged_files(version, tmp_path):
    root = WRITERS[version](tmp_path / "data set", CONTENT)
    whole = damage.imported("lerobot", root, tmp_path / "whole", resize="none")
    assert len(whole.episodes) == 5
    count, changed, unharmed = 0, [], 0
    for kind_of_file, (number, kinds) in PER_KIND_OF_FILE.items():
        files = sorted(root.rglob(f"*{kind_of_file}"))
        for case in damage.cases(root, files, number if files else 0, seed=len(kind_of_file), kinds=kinds):
            with damage.damaged(root, case):
                outcome = damage.imported("lerobot", root, tmp_path / str(case), resize="none")
            shutil.rmtree(tmp_path / str(case), ignore_errors=True)
            damage.check(outcome, whole, frames=case.file.suffix != ".mp4")
            changed += [] if same_pictures(outcome, whole) else [case]
            unharmed += not outcome.refusal and not outcome.dropped
            count += 1
    assert count >= 60
    assert unharmed < count // 3  # most damage is noticed
    assert all(case.file.suffix == ".mp4" and case.kind != "truncate" for case in changed)  # a picture in an mp4 has no checksum
    assert len(changed) < 8


def read_all(root: Path) -> list[Trajectory | None]:
    """The episodes; None for those that cannot be read."""
    read = []
    for recording in read_lerobot(root):
        try:
            read.append(recording.read())
        except DamagedFile:
            read.append(None)
    return read


def test_changed_bits_of_a_video_are_noticed_where_the_decoder_stumbles(tmp_path):
    """An mp4 has no checksum; what only changes a picture is not noticed. Of these 40, a decoder that conceals errors shows 34."""
    root = WRITERS["v2.1"](tmp_path, Content(lengths=(30,), cameras={"top": "video"}, codec=H264))
    video = next(root.rglob("*.mp4"))
    whole, unnoticed = video.read_bytes(), 0
    payload = whole.index(b"mdat") + 4
    for seed in range(40):
        video.write_bytes(whole[:payload] + damage.flip(whole[payload:], np.random.default_rng(seed)))
        unnoticed += read_all(root) != [None]
    assert unnoticed <= 20


def test_damage_before_an_episode_that_its_frames_are_built_on(tmp_path):
    """One keyframe for three episodes: what the decoder guessed in the first must not pass in the last."""
    encoder, pixels, options = H264
    codec = (encoder, pixels, {**options, "g": "250"})
    together = ((0, 1, 2),)
    content = Content(lengths=(20, 20, 20), data_files=together, video_files=together, cameras={"top": "video"}, codec=codec)
    root = WRITERS["v3.0"](tmp_path, content)
    whole = read_all(root)
    video = next(root.rglob("*.mp4"))
    data = video.read_bytes()
    payload = data.index(b"mdat") + 4
    noticed = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        end = payload + (len(data) - payload) // 4
        video.write_bytes(data[:payload] + damage.flips(data[payload:end], rng) + data[end:])
        for found, true in zip(read_all(root), whole, strict=True):
            noticed += found is None
            assert found is None or np.abs(found.frames.astype(int) - true.frames).max() < 100
    assert noticed > 50
