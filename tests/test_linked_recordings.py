"""Recordings that are linked from elsewhere are read, and a link to nothing is named, by every reader of a folder."""

import numpy as np
import pytest
from made_recordings import drive, some_actions, some_pictures, write_csgo, write_recon_folder, write_recon_hdf5

from worldsim.data.csgo import read_csgo
from worldsim.data.file_tree import files_below
from worldsim.data.mp4_npz import read_mp4_npz
from worldsim.data.recon import read_recon
from worldsim.data.video import write_video
from worldsim.data.video_csv import read_video_csv
from worldsim.errors import DamagedFile, InvalidInput


def add_pair(stem):
    write_video(stem.with_suffix(".mp4"), some_pictures(5, side=16), 10)
    np.savez(stem.with_suffix(".npz"), some_actions(5))
    stem.with_suffix(".csv").write_text("x\n" + "1\n" * 5)


def add_csgo(stem):
    write_csgo(stem.with_suffix(".hdf5"), some_pictures(5), some_actions(5))


def add_drive(stem):
    write_recon_hdf5(stem.with_suffix(".hdf5"), some_pictures(6), *drive(5))


READERS = {
    "mp4-npz": (read_mp4_npz, add_pair, (".mp4", ".npz")),
    "video-csv": (read_video_csv, add_pair, (".mp4", ".csv")),
    "csgo": (lambda path: read_csgo(path, frames=5), add_csgo, (".hdf5",)),
    "recon": (read_recon, add_drive, (".hdf5",)),
}


def read(recordings):
    """(names that can be read, reasons of the others by name)."""
    good, bad = [], {}
    for each in recordings:
        try:
            each.read()
            good.append(each.name)
        except (DamagedFile, InvalidInput) as error:
            bad[each.name] = str(error)
    return good, bad


@pytest.mark.parametrize("source", READERS)
def test_links_are_followed_and_broken_ones_named(tmp_path, source):
    reader, add, endings = READERS[source]
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "in"
    elsewhere.mkdir()
    (root / "own").mkdir(parents=True)
    add(elsewhere / "far")
    add(root / "own/near")
    (root / "linked").symlink_to(elsewhere)
    (root / "own/round").symlink_to(root)
    (root / "session").symlink_to(tmp_path / "gone")
    for ending in endings:
        (root / f"lost{ending}").symlink_to(tmp_path / f"gone{ending}")
    good, bad = read(reader(root))
    assert sorted(name.split("/")[-1] for name in good) == ["far", "near"]
    assert sorted(name.removesuffix(" (link)") for name in bad) == ["lost", "session"]
    assert all("gone" in reason or "cannot be read" in reason for reason in bad.values())
    assert "is a link to" in next(reason for name, reason in bad.items() if name.startswith("session"))


def test_a_linked_folder_of_pictures_is_a_drive_and_one_without_positions_is_named(tmp_path):
    write_recon_folder(tmp_path / "elsewhere/a", some_pictures(6), *drive(5))
    write_recon_folder(tmp_path / "elsewhere/b", some_pictures(6), *drive(5))
    (tmp_path / "elsewhere/b/traj_data.pkl").unlink()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/drives").symlink_to(tmp_path / "elsewhere")
    good, bad = read(read_recon(tmp_path / "in"))
    assert (good, list(bad)) == (["a"], ["b"])


def test_a_table_for_all_that_is_a_broken_link_is_not_passed_over(tmp_path):
    add_pair(tmp_path / "a")
    (tmp_path / "a.csv").unlink()
    (tmp_path / "actions.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(DamagedFile, match=r"actions\.csv is no readable table"):
        list(read_video_csv(tmp_path))


def test_a_folder_linked_twice_is_read_twice_and_circles_end(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)] == ["a/file", "b/file", "circle"]
    assert files_below(tmp_path / "nowhere") == []
