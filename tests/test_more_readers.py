"""CS:GO and RECON: actions and pictures come through exactly, a pickle is never run, and what is wrong is named."""

import json
import os
import pickle
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_recordings import JPEG_OFF, as_jpeg, drive, some_actions, some_pictures, write_csgo, write_recon_folder, write_recon_hdf5

from worldsim.data import csgo_actions
from worldsim.data.csgo import read_csgo
from worldsim.data.csgo_actions import MOUSE_X, MOUSE_Y, NAMES, Press, check_actions, decode, encode, mouse_ways
from worldsim.data.importing import import_recordings
from worldsim.data.plain_pickle import LARGEST, read_plain_pickle
from worldsim.data.recon import actions_between, read_recon
from worldsim.data.recording import RECORDING_FORMATS
from worldsim.data.splits import hash_split
from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.models.vid2world.domains import domain_action
from worldsim.types import ActionSpec

rng = np.random.default_rng


def only(recordings):
    (recording,) = recordings
    return recording.read()


# the 51 numbers of CS:GO


def test_names_say_which_number_is_what():
    assert len(NAMES) == 51
    assert NAMES[:4] == ("key_w", "key_a", "key_s", "key_d")
    assert NAMES[10:14] == ("key_r", "click_left", "click_right", "mouse_x_-1000")
    assert (NAMES[13 + 11], NAMES[36 + 7], NAMES[-1]) == ("mouse_x_0", "mouse_y_0", "mouse_y_200")
    assert (len(MOUSE_X), len(MOUSE_Y)) == (23, 15)
    assert sorted(MOUSE_X) == list(MOUSE_X)


presses = st.builds(
    lambda keys, clicks, x, y: Press(
        tuple(k for k in csgo_actions.KEYS if k in keys), tuple(c for c in csgo_actions.CLICKS if c in clicks), x, y
    ),
    st.sets(st.sampled_from(csgo_actions.KEYS)),
    st.sets(st.sampled_from(csgo_actions.CLICKS)),
    st.sampled_from(MOUSE_X).map(float),
    st.sampled_from(MOUSE_Y).map(float),
)


@given(presses)
def test_decode_inverts_encode(press):
    assert decode(encode(press)) == press
    assert check_actions(encode(press)[None]).sum() == len(press.keys) + len(press.clicks) + 2


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_the_mouse_is_clipped_then_snapped(x, y):
    found = mouse_ways(encode(Press(mouse_x=x, mouse_y=y))[None])[0]
    clipped = np.clip([x, y], [-1000, -200], [1000, 200])
    for way, wanted, steps in zip(found, clipped, (MOUSE_X, MOUSE_Y), strict=True):
        assert abs(way - wanted) == pytest.approx(min(abs(step - wanted) for step in steps))


def test_what_is_no_action_is_refused():
    good = np.stack([encode(Press())] * 3)
    for row, column, value, words in (
        (1, 0, 0.5, "neither 0 nor 1"),
        (2, 20, 1, "not one step"),
        (0, 24, 0, "not one step"),
        (1, 3, np.nan, "neither"),
    ):
        bad = good.copy()
        bad[row, column] = value
        with pytest.raises(InvalidInput, match=f"frame {row} .*{words}"):
            check_actions(bad)
    with pytest.raises(UnknownName, match='did you mean "space"'):
        encode(Press(keys=("spce",)))
    with pytest.raises(InvalidInput, match="number of pixels"):
        encode(Press(mouse_x=float("inf")))
    with pytest.raises(InvalidInput, match="51"):
        check_actions(np.zeros((2, 50)))


# CS:GO files


def test_csgo_is_read_exactly(tmp_path):
    pictures, actions = some_pictures(6, seed=1), some_actions(6, seed=2)
    events = rng(3).integers(0, 2, (6, 2))
    write_csgo(tmp_path / "1-200/hdf5_dm_july2021_3.hdf5", pictures, actions, events)
    trajectory = only(read_csgo(tmp_path, frames=6))
    np.testing.assert_array_equal(trajectory.frames, pictures, strict=True)
    np.testing.assert_array_equal(trajectory.actions, actions[:-1], strict=True)
    np.testing.assert_array_equal(trajectory.states["kill"], events[:, 0])
    np.testing.assert_array_equal(trajectory.states["death"], events[:, 1])
    assert trajectory.metadata["split"] == "validation"
    assert trajectory.metadata["fps"] == 16


def test_csgo_actions_are_those_of_the_official_models():
    action = only_action("csgo")
    assert domain_action("csgo").differences(action) == ()
    assert domain_action("recon").differences(only_action("recon")) == ("low", "high")


def only_action(name: str) -> ActionSpec:
    """What a reader says of its actions, with bounds of one."""
    module = __import__(f"worldsim.data.{name}", fromlist=["ACTION"])
    size = len(module.ACTION["names"])
    return ActionSpec(**module.ACTION, low=(-1.0,) * size, high=(1.0,) * size)


def test_csgo_files_come_by_name_and_number_and_by_the_published_split(tmp_path):
    for number in (19, 4, 3, 100):
        write_csgo(tmp_path / f"{number % 2}/hdf5_dm_july2021_{number}.hdf5", some_pictures(2), some_actions(2))
    write_csgo(tmp_path / "hdf5_aim_july2021_expert_3.hdf5", some_pictures(2), some_actions(2))
    found = [(each.split, each.name.removeprefix("hdf5_")) for each in read_csgo(tmp_path)]
    assert found == [
        ("train", "aim_july2021_expert_3"),
        ("validation", "dm_july2021_3"),
        ("train", "dm_july2021_4"),
        ("validation", "dm_july2021_19"),
        ("train", "dm_july2021_100"),
    ]
    assert len(list(read_csgo(tmp_path, limit=2))) == 2


def change(path: Path, edit) -> None:
    with h5py.File(path, "r+") as file:
        edit(file)


def replaced(name: str, value):
    def edit(file):
        del file[name]
        if value is not None:
            file[name] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (replaced("frame_2_x", None), "holds 3 frames, expected 4"),
        (replaced("frame_2_y", None), '"frame_2_y" is missing'),
        (replaced("frame_2_y", np.zeros(51)), "action of frame 2"),
        (replaced("frame_2_y", np.zeros(50)), r"\[50\], expected \[51\]"),
        (replaced("frame_2_y", np.array([b"x"] * 51)), "frame_2_y"),
        (replaced("frame_2_x", np.zeros((3, 4, 3), np.uint8)), "frame_2_x"),
        (replaced("frame_2_x", np.zeros((8, 12, 3), np.float32)), "frame_2_x"),
        (replaced("frame_0_x", np.zeros((8, 12, 3), np.uint16)), "expected uint8"),
        (replaced("frame_3_x", np.zeros((8, 12, 3), np.uint16)), "frame 3 is uint16"),
        (replaced("frame_1_helperarr", np.array([0, 2])), "helperarr"),
        (replaced("frame_1_helperarr", None), "helperarr"),
    ],
)
def test_csgo_says_what_is_wrong_with_a_file(tmp_path, edit, words):
    write_csgo(tmp_path / "a_1.hdf5", some_pictures(4), some_actions(4))
    change(tmp_path / "a_1.hdf5", edit)
    with pytest.raises((DamagedFile, InvalidInput), match=words):
        only(read_csgo(tmp_path, frames=4))


def test_csgo_folders_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidInput, match="holds no"):
        read_csgo(tmp_path)
    for folder in "ab":
        write_csgo(tmp_path / folder / "a_1.hdf5", some_pictures(2), some_actions(2))
    with pytest.raises(InvalidInput, match="one name"):
        read_csgo(tmp_path)
    with pytest.raises(InvalidInput, match="at least 2"):
        read_csgo(tmp_path, frames=1)
    with pytest.raises(UnknownName, match='"screen"'):
        RECORDING_FORMATS.config("csgo", {"path": str(tmp_path), "camera": "front"}).build()


def test_csgo_is_imported(tmp_path):
    """Files of another length than the published 1000 frames are dropped by name; the command reads the rest."""
    pictures, actions = some_pictures(1000, seed=5), some_actions(1000, seed=6)
    write_csgo(tmp_path / "in/hdf5_dm_july2021_3.hdf5", pictures, actions)
    write_csgo(tmp_path / "in/hdf5_dm_july2021_4.hdf5", pictures[:9], actions[:9])
    summary = import_recordings("csgo", tmp_path / "in", tmp_path / "out")
    assert (summary.episodes, summary.splits, summary.frames, summary.fps) == (1, {"validation": 1}, 1000, 16)
    assert [each.reason for each in summary.dropped] == ["the file holds 9 frames, expected 1000"]
    written = read_trajectory(tmp_path / "out/validation/hdf5_dm_july2021_3.h5")
    np.testing.assert_array_equal(written.actions, actions[:-1], strict=True)


# RECON's actions, in closed form


def test_driving_straight():
    """Half a metre a step is two waypoints forward, whatever the heading."""
    for heading in (0.0, 1.0, -2.5):
        position = np.arange(5)[:, None] * 0.5 * np.array([np.cos(heading), np.sin(heading)])
        actions = actions_between(position, np.full(5, heading))
        np.testing.assert_allclose(actions, [[2 * (2 + 2.5) / 7.5 - 1, 0, 0]] * 4, atol=1e-6)


def test_standing_still_and_turning_in_place():
    yaw = np.array([3.0, 3.2, 3.0, -3.0, -3.0])
    actions = actions_between(np.ones((5, 2)), yaw)
    np.testing.assert_allclose(actions[:, :2], [[-1 / 3, 0]] * 4, atol=1e-7)
    np.testing.assert_allclose(actions[:, 2], [0.2, -0.2, 2 * np.pi - 6, 0], atol=1e-6)


def test_driving_an_arc_to_the_left():
    """On a circle of radius r each step of angle a leads r sin a forward and r (1 - cos a) to the left."""
    radius, angle = 2.0, 0.3
    yaw = 0.7 + angle * np.arange(6)
    position = radius * np.stack([np.sin(yaw), -np.cos(yaw)], axis=1)
    forward, left = radius * np.sin(angle) / 0.25, radius * (1 - np.cos(angle)) / 0.25
    expected = [2 * (forward + 2.5) / 7.5 - 1, 2 * (left + 4) / 8 - 1, angle]
    np.testing.assert_allclose(actions_between(position, yaw), [expected] * 5, atol=1e-6)


def test_the_bounds_of_waypoints_are_the_ends_and_nothing_is_clipped():
    position = np.array([[0, 0], [5, 4], [2.5, 0], [12.5, 0]]) * 0.25
    np.testing.assert_allclose(actions_between(position, np.zeros(4))[:, :2], [[1, 1], [-1, -1], [1 + 2 * 5 / 7.5, 0]], atol=1e-6)


def test_a_half_turn_is_wrapped_to_minus_pi():
    np.testing.assert_allclose(actions_between(np.zeros((2, 2)), np.array([0, np.pi]))[0, 2], -np.pi, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(-50, 50))
def test_actions_do_not_depend_on_where_the_map_has_its_origin(seed, turned, moved):
    position, yaw = drive(seed)
    cos, sin = np.cos(turned), np.sin(turned)
    elsewhere = position @ np.array([[cos, sin], [-sin, cos]]) + moved
    np.testing.assert_allclose(actions_between(elsewhere, yaw + turned), actions_between(position, yaw), atol=1e-5)


# RECON's files


@pytest.mark.parametrize("write", [write_recon_hdf5, write_recon_folder])
def test_recon_is_read_in_both_layouts(tmp_path, write):
    position, yaw = drive(1)
    pictures = some_pictures(len(yaw), seed=2, side=16)
    write(tmp_path / "jackal_1", pictures, position, yaw)
    trajectory = only(read_recon(tmp_path))
    np.testing.assert_array_equal(trajectory.actions, actions_between(position, yaw), strict=True)
    assert np.abs(trajectory.frames.astype(int) - pictures).max() <= JPEG_OFF
    np.testing.assert_array_equal(trajectory.states["position"], position)
    np.testing.assert_array_equal(trajectory.states["yaw"], yaw)
    assert trajectory.metadata["episode"] == "jackal_1"


def test_both_layouts_give_the_same_episode(tmp_path):
    position, yaw = drive(3)
    pictures = some_pictures(len(yaw), side=16)
    write_recon_hdf5(tmp_path / "a/x", pictures, position, yaw)
    write_recon_folder(tmp_path / "b/x", pictures, position, yaw)
    one, other = only(read_recon(tmp_path / "a")), only(read_recon(tmp_path / "b"))
    np.testing.assert_array_equal(one.frames, other.frames, strict=True)
    np.testing.assert_array_equal(one.actions, other.actions, strict=True)
    assert one.metadata == other.metadata
    assert set(one.states) == {"position", "yaw", "linear_velocity", "angular_velocity", "latlong"}
    with pytest.raises(InvalidInput, match="one name"):
        read_recon(tmp_path)


@pytest.mark.parametrize("kind", ["S", "vlen", "opaque"])
def test_pictures_in_hdf5_may_be_stored_as_any_kind_of_bytes(tmp_path, kind):
    position, yaw = drive(4)
    write_recon_hdf5(tmp_path / "x", some_pictures(len(yaw), side=16), position, yaw[:, None], kind=kind)
    assert len(only(read_recon(tmp_path)).frames) == len(yaw)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda folder: (folder / "2.jpg").unlink(), "3 pictures for 4 positions"),
        (lambda folder: (folder / "4.jpg").write_bytes(b""), "5 pictures for 4 positions"),
        (lambda folder: (folder / "2.jpg").write_bytes(b"torn"), "picture 2 is no readable JPEG"),
        (lambda folder: (folder / "2.jpg").write_bytes(as_jpeg(np.zeros((9, 9, 3), np.uint8))), "picture 2 has size"),
        (lambda folder: (folder / "traj_data.pkl").unlink(), "cannot be read"),
        (lambda folder: (folder / "traj_data.pkl").write_bytes(pickle.dumps([1, 2])), 'no "position"'),
        (lambda folder: table(folder, position=np.zeros((4, 2)), yaw=np.zeros(3)), "3 angles"),
        (lambda folder: table(folder, position=np.zeros((4, 2)), yaw=np.array([0, 0, np.nan, 0])), "not a number within"),
        (lambda folder: table(folder, position=np.zeros(4), yaw=np.zeros(4)), "shape"),
        (lambda folder: table(folder, position=[[0, 0]] * 4, yaw=np.zeros(4)), "is list"),
    ],
)
def test_recon_says_what_is_wrong_with_a_folder(tmp_path, edit, words):
    write_recon_folder(tmp_path / "x", some_pictures(4, side=16), np.zeros((4, 2)), np.zeros(4))
    edit(tmp_path / "x")
    with pytest.raises((DamagedFile, InvalidInput), match=words):
        only(read_recon(tmp_path))


def table(folder: Path, **values) -> None:
    (folder / "traj_data.pkl").write_bytes(pickle.dumps(values))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (replaced("jackal/yaw", None), "jackal/yaw"),
        (replaced("jackal/position", np.zeros((3, 3))), r"\[4\], expected \[3\]"),
        (replaced("images/rgb_left", np.zeros(4)), "rgb_left"),
        (replaced("gps/latlong", np.zeros((2, 2))), "latlong"),
        (replaced("jackal/position", np.full((4, 3), 1e9)), "not a number within"),
    ],
)
def test_recon_says_what_is_wrong_with_a_file(tmp_path, edit, words):
    write_recon_hdf5(tmp_path / "x", some_pictures(4, side=16), np.zeros((4, 2)), np.zeros(4))
    change(tmp_path / "x.hdf5", edit)
    with pytest.raises((DamagedFile, InvalidInput), match=words):
        only(read_recon(tmp_path))


def test_recon_is_imported_with_a_fifth_held_out(tmp_path):
    for i in range(12):
        write_recon_folder(tmp_path / f"in/jackal_{i}", some_pictures(4, seed=i, side=16), *(each[:4] for each in drive(i)))
    summary = import_recordings("recon", tmp_path / "in", tmp_path / "out")
    assert summary.splits == Counter(hash_split(f"jackal_{i}", {"train": 0.8, "validation": 0.2}) for i in range(12))
    assert (summary.episodes, summary.dropped, summary.action.names) == (12, (), ("forward", "left", "yaw"))
    assert json.loads((tmp_path / "out/summary.json").read_text())["action"]["frame"] == "tool"
    with pytest.raises(InvalidInput, match="neither"):
        read_recon(tmp_path / "out")


# pickles


class Runs:
    """Its pickle makes a file when it is read as Python does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Quiet:
    """Any other object."""


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=10,
)


def through(tmp_path_factory, value, protocol):
    path = tmp_path_factory.mktemp("pickle") / "x.pkl"
    path.write_bytes(value if protocol is None else pickle.dumps(value, protocol=protocol))
    return read_plain_pickle(path)


@given(plain, st.integers(0, 5))
def test_plain_values_come_through(tmp_path_factory, value, protocol):
    assert through(tmp_path_factory, value, protocol) == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["f8", ">f4", "i2", "u8", "?", "<c16", "S3"])
def test_arrays_of_numbers_come_through_and_no_others(tmp_path_factory, protocol, kind):
    array = np.arange(6).reshape(2, 3).astype(kind)
    for value in (array, array.T, array[:0], array[0, 0]):
        if array.dtype.kind in "cS":
            with pytest.raises(DamagedFile, match="something else than numbers"):
                through(tmp_path_factory, value, protocol)
        else:
            np.testing.assert_array_equal(through(tmp_path_factory, {"a": value}, protocol)["a"], value, strict=True)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_never_run(tmp_path_factory, protocol):
    mark = tmp_path_factory.mktemp("mark") / "ran"
    for value in (
        Runs(mark),
        {"position": np.array([Runs(mark)], dtype=object)},
        [1, {"yaw": Runs(mark)}],
        Quiet(),
        Quiet,
        os.mkdir,
        {1},
        1j,
    ):
        with pytest.raises(DamagedFile, match="nothing of it was run|no readable pickle"):
            through(tmp_path_factory, value, protocol)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Runs(mark), protocol=protocol))
    assert mark.exists()  # so it would have shown


@pytest.mark.parametrize(
    "program",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"c_codecs\nencode\n(Vx\nVzip\ntR.",
        b"(cos\nsystem\nS'x'\no.",
        b"(ios\nsystem\n.",
        b"P1\n.",
        b"\x82\x01.",
        b"Nr\xff\xff\xff\x7f.",
        b"p4294967295\n.",
        b"cnumpy\ndtype\nN(dVx\nI1\nstb.",
        b"(dp0\ng0\n",
    ],
)
def test_programs_by_hand_are_refused(tmp_path_factory, program):
    with pytest.raises(DamagedFile):
        through(tmp_path_factory, program, None)


@given(st.binary(max_size=80), st.integers(0, 5), st.data())
def test_noise_ends_in_one_way(tmp_path_factory, noise, protocol, data):
    whole = pickle.dumps({"position": np.zeros((2, 2)), "yaw": np.zeros(2)}, protocol=protocol)
    place = data.draw(st.integers(0, len(whole)))
    for program in (
        noise,
        whole[:place] + noise + whole[place:],
        whole[:place] + noise,
        whole[:place] + noise + whole[place + len(noise) :],
    ):
        assert "\n" not in refusal(tmp_path_factory, program)


def refusal(tmp_path_factory, program: bytes) -> str:
    try:
        through(tmp_path_factory, program, None)
    except DamagedFile as error:
        return str(error)
    return ""


def test_a_large_pickle_is_not_looked_at(tmp_path_factory):
    with pytest.raises(DamagedFile, match="larger than 16 MB"):
        through(tmp_path_factory, b"\0" * (LARGEST + 1), None)
