"""Splits stay what they are: by a seed, by the hash of a name, by a published list."""

import json
from collections import Counter
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldsim.data.published_splits import published_split
from worldsim.data.rlds_splits import split_rule
from worldsim.data.splits import hash_split
from worldsim.data.tfds_order import reading_order
from worldsim.errors import InvalidInput, UnknownName

NAMES = [f"episode_{i}" for i in range(4000)]


# by the hash of a name


def test_the_split_of_a_name_is_the_same_on_every_machine():
    """Recorded once: whoever changes the rule moves everybody's episodes."""
    assert [i for i in range(60) if hash_split(str(i)) == "validation"] == [2, 3, 7, 25, 33, 37, 46, 49, 53]


@given(st.text(), st.text(max_size=5), st.floats(0, 1))
def test_the_rule_in_closed_form(name, salt, share):
    digest = sha256(f"{salt}\0{name}".encode()).hexdigest()
    place = int(digest[:16], 16) / 16**16
    assert hash_split(name, {"a": share, "b": 1 - share}, salt) == ("a" if place < share else "b")


def test_shares_are_kept_and_a_salt_draws_anew():
    counts = Counter(hash_split(name, {"train": 0.7, "validation": 0.2, "evaluation": 0.1}) for name in NAMES)
    for split, share in {"train": 0.7, "validation": 0.2, "evaluation": 0.1}.items():
        assert abs(counts[split] - share * len(NAMES)) < 4 * (share * (1 - share) * len(NAMES)) ** 0.5
    both = sum(hash_split(name) == hash_split(name, salt="other") == "validation" for name in NAMES)
    assert abs(both - 0.01 * len(NAMES)) < 4 * (0.01 * 0.99 * len(NAMES)) ** 0.5


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_part_for_training_takes_from_validation_only(name, one, other):
    small, large = sorted((one, other))
    if hash_split(name, {"train": small, "validation": 1 - small}) == "train":
        assert hash_split(name, {"train": large, "validation": 1 - large}) == "train"


def test_nothing_falls_beside_the_shares():
    thirds = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3, "none": 0.0}
    assert {hash_split(name, thirds) for name in NAMES} == {"a", "b", "c"}
    assert {hash_split(name, {"only": 1.0}) for name in NAMES[:50]} == {"only"}


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan"), "b": 1.0}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(InvalidInput, match="add up to 1"):
        hash_split("x", shares)


# published lists


def test_rt1_holds_out_what_was_published(shared_data):
    split = published_split("rt1")
    names = json.loads((shared_data / "splits" / "rt1_holdout.json").read_text())
    assert [f"train_eps_{number:08d}.npz" for number in split.held_out] == names
    assert (len(split.held_out), split.train, len(split.held_out) + split.train) == (4361, 82851, 87212)
    assert {split.split_of(name) for name in names} == {"validation"}
    assert max(split.held_out) < 87212


def test_csgo_holds_out_what_was_published(shared_data):
    split = published_split("csgo")
    names = (shared_data / "splits" / "csgo_test.txt").read_text().split()
    assert [f"hdf5_dm_july2021_{number}.hdf5" for number in split.held_out] == names
    begins = np.load(shared_data / "splits" / "csgo_test_starts.npy").tolist()
    paths = sorted(f"{(n - 1) // 200 * 200 + 1}-{(n - 1) // 200 * 200 + 200}/hdf5_dm_july2021_{n}.hdf5" for n in split.held_out)
    assert [split.begins[split.number_of(path.split("/")[1])] for path in paths] == begins


def test_csgo_begins_follow_the_published_seed():
    split = published_split("csgo")
    assert list(split.begins.values()) == np.random.RandomState(42).randint(0, 1000 - 16, 500).tolist()
    assert sorted(split.begins) == sorted(split.held_out)


def test_names_of_another_kind_are_trained_on():
    split = published_split("csgo")
    assert split.split_of("hdf5_dm_july2021_3") == split.split_of("hdf5_dm_july2021_3.hdf5") == "validation"
    for name in ("hdf5_dm_july2021_4", "hdf5_dm_july2021_03", "hdf5_dm_july2021_expert_3", "3", "", "x_hdf5_dm_july2021_3"):
        assert split.split_of(name) == "train"
    assert published_split("rt1").number_of("train_eps_87145") is None
    assert published_split("rt1").number_of("train_eps_00087145.npz") == 87145


def test_no_list_is_invented():
    with pytest.raises(UnknownName, match="no published split is at hand"):
        published_split("recon")


# the order that tensorflow-datasets counts in


@given(st.lists(st.integers(0, 12), max_size=9), st.integers(1, 5), st.integers(1, 5))
def test_every_record_is_read_once_and_each_file_in_order(records, cycle, block):
    order = list(reading_order(records, cycle, block))
    assert sorted(order) == [(file, record) for file, count in enumerate(records) for record in range(count)]
    for file in range(len(records)):
        assert [record for each, record in order if each == file] == list(range(records[file]))


def test_one_file_at_a_time_is_the_order_of_the_files():
    assert list(reading_order([2, 0, 3], 1, 4)) == [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2)]


def test_files_take_turns():
    assert list(reading_order([3, 2, 1], 2, 2)) == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]


# what becomes of RLDS data sets


def test_rt1_is_split_as_published_wherever_its_records_lie():
    records = [85] * 1023 + [87212 - 85 * 1023]
    rule = split_rule("fractal20220817_data", {"train": records})
    places = list(reading_order(records))
    split = [rule("train", file, record, "") for file, record in places]
    assert {number for number, each in enumerate(split) if each == "validation"} == set(published_split("rt1").held_out)
    assert set(split) == {"train", "validation"}
    assert places[16 * 16] == (0, 16)  # not the order of the files


def test_other_rlds_data_sets_keep_their_splits_or_are_split_by_a_hash():
    two = split_rule("bridge_dataset", {"train": [3], "val": [2]})
    assert [two(split, 0, 0, "x") for split in ("train", "val")] == ["train", "val"]
    for one in (split_rule("my_robot", {"train": [9]}), split_rule("fractal20220817_data", {"train": [87211]})):
        assert [one("train", 0, 0, name) for name in NAMES[:99]] == [hash_split(name) for name in NAMES[:99]]


@pytest.mark.tensorflow
def test_the_order_is_tensorflows():
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    for _ in range(12):
        records = rng.integers(0, 30, int(rng.integers(1, 30)))
        cycle, block = (int(side) for side in rng.integers(1, 17, 2))
        files = tf.data.Dataset.from_tensor_slices((np.arange(len(records)), records))
        read = files.interleave(
            lambda file, count: tf.data.Dataset.zip((tf.data.Dataset.from_tensors(file).repeat(), tf.data.Dataset.range(count))),
            cycle_length=cycle,
            block_length=block,
            num_parallel_calls=2,
            deterministic=True,
        )
        assert [(int(file), int(record)) for file, record in read.as_numpy_iterator()] == list(reading_order(records, cycle, block))
