"""Damaged CS:GO, RECON, mp4 + npz and CSV recordings: each ends in named drops or one error, and no wrong number comes through.

Of these files only npz has a checksum. Where a bit of a stored number itself was changed no reader can know; such cases are told by
looking for the numbers' own bytes in the damaged file, and need only end without a crash.
"""

import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import Case, Outcome, cases, check, damaged
from made_recordings import commands, drive, some_actions, some_pictures, write_csgo, write_recon_folder, write_recon_hdf5

from worldsim.data.recording import RECORDING_FORMATS
from worldsim.data.video import write_video
from worldsim.errors import WorldsimError

FRAMES = 8
NAMES = ("x", "y", "grip")


def outcome(source: str, path: Path, **options: object) -> Outcome:
    """All recordings read, as an import reads them. Anything but a WorldsimError of one line passes through and fails the test."""
    episodes, reasons = {}, []
    try:
        for recording in RECORDING_FORMATS.config(source, {"path": str(path), **options}).build():
            try:
                episodes[f"{recording.split}/{recording.name}"] = recording.read()
            except WorldsimError as error:
                reasons.append(str(error))
    except WorldsimError as error:
        reasons.append(str(error))
        episodes = {}
    assert all(reason and "\n" not in reason for reason in reasons), reasons
    assert all(np.isfinite(episode.actions).all() for episode in episodes.values())
    return Outcome(episodes, len(reasons))


def numbers(seed: int, rows: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 3))


def run(source: str, root: Path, files: list[Path], count: int, known: Callable[[Path], bool], **options: object) -> Counter:
    """`count` cases; `known(file)` says of a damaged file whether all that it stores can still be checked. How often what happened."""
    whole = outcome(source, root, **options)
    assert whole.dropped == 0
    seen = Counter()
    for case in cases(root, files, count, seed=5):
        with damaged(root, case):
            found = outcome(source, root, **options)
            checkable = known(root / case.file)
        assert len(found.episodes) + found.dropped >= 1, str(case)
        judge(case, found, whole, checkable)
        seen["dropped" if found.dropped else "came through"] += 1
        seen["not checkable"] += not checkable
    return seen


def judge(case: Case, found: Outcome, whole: Outcome, checkable: bool) -> None:
    """Hold what came through against the whole recordings; of a file that is not checkable only the other episodes."""
    name = case.file.parent.name if case.file.name in ("traj_data.pkl",) or case.file.suffix == ".jpg" else case.file.stem
    kept = {key: value for key, value in found.episodes.items() if checkable or not key.endswith(f"/{name}")}
    try:
        check(Outcome(kept, found.dropped + len(found.episodes) - len(kept)), whole, frames=False)
    except AssertionError as error:
        raise AssertionError(f"{case}: {error}") from error


def holds(*arrays: np.ndarray) -> Callable[[Path], bool]:
    """Whether a file still holds the bytes of all these numbers."""
    return lambda path: all(array.tobytes() in path.read_bytes() for array in arrays)


def test_damaged_csgo(tmp_path):
    stored = {}
    for number in (3, 4, 5):
        actions = some_actions(FRAMES, seed=number)
        write_csgo(tmp_path / f"hdf5_dm_july2021_{number}.hdf5", some_pictures(FRAMES, seed=number), actions)
        stored[f"hdf5_dm_july2021_{number}"] = [*actions.astype(np.float64), np.zeros(2)]
    seen = run("csgo", tmp_path, sorted(tmp_path.iterdir()), 60, lambda path: holds(*stored[path.stem])(path), frames=FRAMES)
    assert seen["dropped"] >= 20


def recon(tmp_path: Path, write) -> dict[str, list[np.ndarray]]:
    stored = {}
    for number in (1, 2, 3):
        position, yaw = drive(number)
        write(tmp_path / f"jackal_{number}", some_pictures(len(yaw), seed=number, side=16), position, yaw)
        stored[f"jackal_{number}"] = [position, yaw]
    return stored


def test_damaged_recon_files(tmp_path):
    stored = {name: [np.pad(position, ((0, 0), (0, 1))), yaw] for name, (position, yaw) in recon(tmp_path, write_recon_hdf5).items()}
    told = list(commands(6).values())
    seen = run("recon", tmp_path, sorted(tmp_path.iterdir()), 60, lambda path: holds(*stored[path.stem], *told)(path))
    assert seen["dropped"] >= 20


def test_damaged_recon_folders(tmp_path):
    stored = recon(tmp_path, write_recon_folder)
    files = sorted(tmp_path.rglob("traj_data.pkl")) + sorted(tmp_path.rglob("[02].jpg"))

    def known(path: Path) -> bool:
        return path.suffix == ".jpg" or holds(*stored[path.parent.name])(path)

    seen = run("recon", tmp_path, files, 70, known)
    assert seen["dropped"] >= 30


def test_damaged_pickles_that_keep_their_numbers_lose_nothing_else(tmp_path):
    """A table with its numbers intact under other names, or with one more, is not taken for another."""
    write_recon_folder(tmp_path / "x", some_pictures(6, side=16), *drive(1))
    position, yaw = drive(1)
    for table in ({"position": yaw, "yaw": position}, {"Position": position, "yaw": yaw}, {"position": position[:5], "yaw": yaw[:5]}):
        (tmp_path / "x/traj_data.pkl").write_bytes(pickle.dumps(table))
        assert outcome("recon", tmp_path).episodes == {}


def videos(root: Path) -> None:
    for name in "abc":
        write_video(root / f"{name}.mp4", some_pictures(FRAMES, seed=ord(name), side=16), 10)


def test_damaged_mp4_npz(tmp_path):
    videos(tmp_path)
    for name in "abc":
        np.savez_compressed(tmp_path / f"{name}.npz", actions=numbers(ord(name)))
    seen = run("mp4-npz", tmp_path, sorted(tmp_path.iterdir()), 84, lambda path: True)
    assert seen["dropped"] >= 40


def table(seed: int, name: str | None = None) -> str:
    lines = [",".join([*(["video"] if name else []), "frame", *NAMES])]
    lines += [",".join([*([name] if name else []), str(i), *map(repr, map(float, row))]) for i, row in enumerate(numbers(seed))]
    return "\n".join(lines) + "\n"


def well_formed(path: Path) -> bool:
    """Whether a damaged table reads as a table of the same size: then a digit may have changed, and nobody can know."""
    try:
        lines = path.read_bytes().decode("utf-8").splitlines()
        cells = [line.split(",") for line in lines]
        return len({len(row) for row in cells}) == 1 and all(float(cell) == float(cell) for row in cells[1:] for cell in row[-3:])
    except ValueError:
        return False


def test_damaged_tables_for_each_video(tmp_path):
    videos(tmp_path)
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text(table(ord(name)))
    seen = run("video-csv", tmp_path, sorted(tmp_path.glob("*.csv")), 63, lambda path: not well_formed(path), rows="frames")
    assert seen["dropped"] >= 30


def test_a_damaged_table_for_all(tmp_path):
    """Every episode whose rows are as they were comes through as it was; of the others none does, unless only digits changed."""
    videos(tmp_path)
    text = table(97, "a") + "".join(table(ord(name), name).split("\n", 1)[1] for name in "bc")
    (tmp_path / "actions.csv").write_text(text)
    whole = outcome("video-csv", tmp_path, rows="frames")
    assert len(whole.episodes) == 3
    dropped = 0
    for case in cases(tmp_path, [tmp_path / "actions.csv"], 63, seed=6):
        with damaged(tmp_path, case):
            found = outcome("video-csv", tmp_path, rows="frames")
            formed = well_formed(tmp_path / "actions.csv")
            lines = (tmp_path / "actions.csv").read_bytes().decode("latin1")
        dropped += found.dropped > 0
        for key, trajectory in found.episodes.items():
            name = key.split("/")[1]
            same = "".join(table(ord(name), name).split("\n", 1)[1]) in lines and lines.split("\n")[0] == text.split("\n")[0]
            if same or not formed:
                np.testing.assert_array_equal(trajectory.actions, whole.episodes[key].actions, err_msg=str(case))
    assert dropped >= 30


@pytest.mark.parametrize("source", ["mp4-npz", "video-csv"])
def test_damaged_videos_lose_no_frame_in_silence(tmp_path, source):
    videos(tmp_path)
    for name in "abc":
        np.savez(tmp_path / f"{name}.npz", actions=numbers(ord(name)))
        (tmp_path / f"{name}.csv").write_text(table(ord(name)))
    if source == "video-csv":
        for file in tmp_path.glob("*.npz"):
            file.unlink()
    seen = run(source, tmp_path, sorted(tmp_path.glob("*.mp4")), 42, lambda path: True)
    assert seen["dropped"] >= 10
