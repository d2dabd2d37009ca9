"""Damaged anywhere, in any of seven ways, a LeRobot data set gives named drops or one line of refusal, and never a wrong number."""

import shutil

import damage
import numpy as np
import pytest
from lerobot_data import H264, WRITERS, Content

from worldsim.data.lerobot import read_lerobot
from worldsim.errors import DamagedFile

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


def test_most_changed_bits_of_a_video_are_noticed(tmp_path):
    """An mp4 has no checksum, but the decoder that is asked to be strict stumbles over most of them; left alone, it conceals them."""
    root = WRITERS["v2.1"](tmp_path, Content(lengths=(30,), cameras={"top": "video"}, codec=H264))
    video = next(root.rglob("*.mp4"))
    whole, unnoticed = video.read_bytes(), 0
    payload = whole.index(b"mdat") + 4
    for seed in range(40):
        video.write_bytes(whole[:payload] + damage.flips(whole[payload:], np.random.default_rng(seed)))
        try:
            next(read_lerobot(root)).read()
        except DamagedFile:
            continue
        unnoticed += 1
    assert unnoticed <= 4
