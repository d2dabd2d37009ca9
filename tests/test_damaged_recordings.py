"""Damaged recordings end in named drops or one line; what comes through is what the whole recordings gave. Seeded."""

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import KINDS, cases, check, damaged, imported
from rlds_writer import bridge_like

from worldsim.data.tfrecords import count_records
from worldsim.data.video import write_video

SHARED = Path(__file__).parents[1] / "../shared/data"
BRIDGE, DROID = SHARED / "bridge_rlds", SHARED / "droid"
needs_bridge = pytest.mark.skipif(not BRIDGE.is_dir(), reason="the real BridgeData sample (../shared/data/bridge_rlds) is not here")
needs_droid = pytest.mark.skipif(not DROID.is_dir(), reason="the real DROID sample (../shared/data/droid) is not here")
REAL_EPISODES = ("train/6", "val/199")  # the shortest


def tabled_crc(data: bytes) -> int:
    """CRC-32C as TFRecord masks it, bit by bit: the checksum that an absurd length needs to be believed."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record_places(data: bytes) -> list[int]:
    """Where the records of a sound TFRecord file begin."""
    places, place = [], 0
    while place < len(data):
        places.append(place)
        place += 16 + struct.unpack_from("<Q", data, place)[0]
    return places


def absurd_length(data: bytes, rng: np.random.Generator) -> bytes:
    """A record claims another length, and its checksum agrees."""
    place = int(rng.choice(record_places(data)))
    length = struct.pack("<Q", int(rng.choice([0, 1, 10**6, 2**34, 2**50, 2**62], p=[0.1, 0.1, 0.2, 0.2, 0.2, 0.2])))
    return data[:place] + length + struct.pack("<I", tabled_crc(length)) + data[place + 12 :]


def lost_record(data: bytes, rng: np.random.Generator) -> bytes:
    """The file ends between two records."""
    return data[: int(rng.choice(record_places(data)))]


def swapped(data: bytes, rng: np.random.Generator) -> bytes:
    """Something else altogether."""
    return rng.choice([b"", b"\x89PNG\r\n\x1a\n" + rng.bytes(200), b"{}", rng.bytes(len(data))])


def in_json(change: Callable[[dict, np.random.Generator], object]) -> Callable[[bytes, np.random.Generator], bytes]:
    """A damage of an annotation's content, as a kind."""

    def kind(data: bytes, rng: np.random.Generator) -> bytes:
        content = json.loads(data)
        change(content, rng)
        return json.dumps(content).encode()

    return kind


def row_gone(content: dict, rng: np.random.Generator) -> None:
    content["states"].pop(int(rng.integers(len(content["states"]))))


def number_gone(content: dict, rng: np.random.Generator) -> None:
    row = content["states"][int(rng.integers(len(content["states"])))]
    row[int(rng.integers(7))] = rng.choice([float("nan"), float("inf"), None, "x", 1e300])


def digit(data: bytes, rng: np.random.Generator) -> bytes:
    """One digit of one number becomes another."""
    place = int(rng.choice([found.start() for found in re.finditer(rb"[0-9]", data)]))
    return data[:place] + b"%d" % rng.integers(10) + data[place + 1 :]


def letter(data: bytes, rng: np.random.Generator) -> bytes:
    """One letter becomes another."""
    place = int(rng.choice([found.start() for found in re.finditer(rb"[A-Za-z_]", data)]))
    return data[:place] + bytes([int(rng.choice(list(b"abcdefghijklmnopqrstuvwxyz_")))]) + data[place + 1 :]


JSON_KINDS = {**KINDS, "swapped": swapped, "row": in_json(row_gone), "number": in_json(number_gone), "digit": digit}
RECORD_KINDS = {**KINDS, "swapped": swapped, "length": absurd_length, "record": lost_record}


def small_droid(root: Path, episodes: int = 3) -> Path:
    """Synthetic episodes in the layout of Ctrl-World's DROID, each with its states at the recording's rate as well."""
    rng = np.random.default_rng(0)
    for name in map(str, range(episodes)):
        fast = np.cumsum(rng.normal(0, 0.1, (3 * 6 - 1, 7)), axis=0)
        for camera in "012":
            frames = np.repeat(np.repeat(rng.integers(0, 255, (6, 8, 12, 3), dtype=np.uint8), 4, axis=1), 4, axis=2)
            write_video(root / "videos/train" / name / f"{camera}.mp4", frames, fps=5)
        note = {"texts": [f"do {name}"], "states": fast[::3].tolist()}
        source = {"cartesian_position": fast[:, :6].tolist(), "gripper_position": fast[:, 6].tolist()}
        (root / "annotation/train").mkdir(parents=True, exist_ok=True)
        content = note | {f"observation.state.{key}": value for key, value in source.items()}
        (root / f"annotation/train/{name}.json").write_text(json.dumps(content))
    return root


@pytest.mark.slow
def test_damaged_annotations_give_no_wrong_number(tmp_path):
    root = small_droid(tmp_path / "in")
    whole, through = imported("mp4-json", root, tmp_path / "whole", resize="none"), 0
    for case in cases(root, sorted(root.rglob("*.json")), 80, seed=1, kinds=JSON_KINDS):
        with damaged(root, case):
            outcome = imported("mp4-json", root, tmp_path / str(case), resize="none")
        check(outcome, whole)
        assert len(outcome.episodes) >= 2  # the other files are whole
        through += len(outcome.episodes) == 3
    assert through < 25  # damage to text and spaces, or to columns that are not read


@pytest.mark.slow
def test_damaged_videos_give_no_wrong_action_and_no_wrong_count(tmp_path):
    root = small_droid(tmp_path / "in")
    whole, complete = imported("mp4-json", root, tmp_path / "whole", resize="none"), 0
    for case in cases(root, sorted(root.rglob("*.mp4")), 80, seed=2, kinds={**KINDS, "swapped": swapped}):
        with damaged(root, case):
            outcome = imported("mp4-json", root, tmp_path / str(case), resize="none")
        check(outcome, whole, frames=False)
        assert len(outcome.episodes) >= 2
        missing = sum(len(trajectory.views) < 2 for trajectory in outcome.episodes.values())
        assert missing + outcome.dropped <= 1
        complete += missing + outcome.dropped == 0
    print(f"{complete} of 80 damaged videos were not noticed")
    assert complete < 30


@needs_droid
@pytest.mark.slow
def test_damaged_real_droid(tmp_path):
    for name in REAL_EPISODES:
        for part in (f"videos/{name}", f"annotation/{name}.json"):
            (tmp_path / "in" / part).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (DROID / part).is_dir() else shutil.copyfile
            copy(DROID / part, tmp_path / "in" / part)
    for file in (tmp_path / "in").rglob("*"):
        file.chmod(0o755)
    whole = imported("droid", tmp_path / "in", tmp_path / "whole", resize=16)
    assert len(whole.episodes) == 2
    files = sorted((tmp_path / "in").rglob("*.mp4")) + sorted((tmp_path / "in").rglob("*.json"))
    for case in cases(tmp_path / "in", files, 24, seed=3):
        with damaged(tmp_path / "in", case):
            check(imported("droid", tmp_path / "in", tmp_path / str(case), resize=16), whole, frames=case.file.suffix == ".json")


@pytest.mark.tensorflow
@pytest.mark.slow
def test_damaged_records_give_no_wrong_number(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    root = tmp_path / "in/bridge_dataset/1.0.0"
    bridge_like(root, {"train": [3, 3]})
    whole, through = imported("rlds", root, tmp_path / "whole", resize="none"), 0
    assert len(whole.episodes) == 6
    for case in cases(root, sorted(root.glob("*.tfrecord*")), 60, seed=4, kinds=RECORD_KINDS):
        with damaged(root, case):
            outcome = imported("rlds", root, tmp_path / str(case), resize="none")
        check(outcome, whole)
        assert not outcome.refusal
        assert len(outcome.episodes) >= 3  # the other file is whole
        assert len(outcome.episodes) + outcome.dropped == 6
        through += len(outcome.episodes) == 6
    assert through == 0  # every byte stands under a checksum


@pytest.mark.tensorflow
@pytest.mark.slow
def test_damaged_descriptions_give_no_wrong_number(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    root = tmp_path / "in/bridge_dataset/1.0.0"
    bridge_like(root, {"train": [2, 1]})
    whole = imported("rlds", root, tmp_path / "whole", resize="none")
    kinds = {**KINDS, "swapped": swapped, "digit": digit, "letter": letter}
    for case in cases(root, sorted(root.glob("*.json")), 72, seed=5, kinds=kinds):
        with damaged(root, case):
            check(imported("rlds", root, tmp_path / str(case), resize="none"), whole)


@needs_bridge
@pytest.mark.tensorflow
@pytest.mark.slow
def test_damaged_real_bridge(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    root = tmp_path / "in"
    shutil.copytree(BRIDGE / "bridge_dataset/1.0.0", root)
    for file in root.iterdir():
        file.chmod(0o644)
    about = json.loads((root / "dataset_info.json").read_text())
    (root / "dataset_info.json").write_text(json.dumps(about | {"splits": about["splits"][:1]}))
    whole = imported("rlds", root, tmp_path / "whole", views="none")
    for case in cases(root, [root / "bridge_dataset-train.tfrecord-00000-of-00001"], 10, seed=6, kinds=RECORD_KINDS):
        with damaged(root, case):
            outcome = imported("rlds", root, tmp_path / str(case), views="none")
        check(outcome, whole)
        assert outcome.refusal or len(outcome.episodes) + outcome.dropped == 25
        assert len(outcome.episodes) < 25


def test_records_are_counted_up_to_where_the_file_is_torn(tmp_path):
    file = tmp_path / "records"
    record = struct.pack("<QI", 5, 0) + b"hello" + bytes(4)
    for content, found in {
        b"": (0, True),
        record: (1, True),
        record * 3: (3, True),
        record * 2 + record[:-1]: (2, False),
        record + record[:11]: (1, False),
        record + struct.pack("<QI", 2**64 - 1, 0): (1, False),
    }.items():
        file.write_bytes(content)
        assert count_records(file) == found
