"""Messages with arrays: the bytes of the official wires, round trips, and that nothing but a sound message gets through."""

import base64
import io
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from worldsim.policies.remote import json_arrays
from worldsim.policies.remote.arrays import Limits, MalformedMessage, array_of
from worldsim.policies.remote.codec import GR00T, HARNESS, OPENPI, pack, unpack
from worldsim.policies.remote.measure import measure

msgpack = pytest.importorskip("msgpack")
DIALECTS = (OPENPI, HARNESS, GR00T)
ACTIONS = np.array([[1.5, -2.0]], dtype="<f4")
NUMBERS = bytes.fromhex("0000c03f 000000c0")  # 1.5 and -2.0 as little-endian IEEE 754
SMALL = Limits(size=4096, elements=512, values=64, depth=4, text=32)


def text(word: str) -> bytes:
    """msgpack's fixstr."""
    return bytes([0xA0 | len(word)]) + word.encode()


def blob(data: bytes) -> bytes:
    """msgpack's bin 8."""
    return b"\xc4" + bytes([len(data)]) + data


# The official bytes, written down from the msgpack specification: fixmap 0x80 | n, fixarray 0x90 | n, true 0xc3, float 64 0xcb.
OPENPI_REPLY = (
    b"\x81" + text("actions") + b"\x84" + blob(b"__ndarray__") + b"\xc3" + blob(b"data") + blob(NUMBERS)
    + blob(b"dtype") + text("<f4") + blob(b"shape") + b"\x92\x01\x02"
)  # fmt: skip
OPENPI_SCALAR = (
    b"\x83" + blob(b"__npgeneric__") + b"\xc3" + blob(b"data") + bytes.fromhex("cb3ff8000000000000") + blob(b"dtype") + text("<f4")
)
HARNESS_REPLY = (
    b"\x81" + text("actions") + b"\x84" + text("__ndarray__") + b"\xc3" + text("data") + blob(NUMBERS)
    + text("dtype") + text("<f4") + text("shape") + b"\x92\x01\x02"
)  # fmt: skip
LATER_GR00T_REPLY = (
    b"\x81" + text("x") + b"\x85" + blob(b"nd") + b"\xc3" + blob(b"type") + text("<f4") + blob(b"kind") + blob(b"")
    + blob(b"shape") + b"\x92\x01\x02" + blob(b"data") + blob(NUMBERS)
)  # fmt: skip


@pytest.mark.parametrize(("dialect", "official"), [(OPENPI, OPENPI_REPLY), (HARNESS, HARNESS_REPLY)])
def test_the_official_bytes_round_trip(dialect, official):
    assert pack({"actions": ACTIONS}, dialect) == official
    read = unpack(official, dialect)["actions"]
    assert read.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(read, ACTIONS)
    assert not read.flags.writeable


def test_a_scalar_keeps_its_dtype_on_openpis_wire():
    assert pack(np.float32(1.5), OPENPI) == OPENPI_SCALAR
    read = unpack(OPENPI_SCALAR, OPENPI)
    assert (type(read), read) == (np.float32, 1.5)


def test_gr00t_sends_npy_files_and_reads_both_forms():
    file = io.BytesIO()
    np.save(file, ACTIONS)
    npy = file.getvalue()
    official = b"\x81" + text("x") + b"\x82" + text("__ndarray_class__") + b"\xc3" + text("as_npy") + blob(npy)
    assert pack({"x": ACTIONS}, GR00T) == official
    for wire in (official, LATER_GR00T_REPLY):
        np.testing.assert_array_equal(unpack(wire, GR00T)["x"], ACTIONS)


def test_a_column_major_npy_file_is_read_right():
    wide = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(unpack(pack({"x": wide}, GR00T), GR00T)["x"], wide)


@pytest.mark.parametrize("shape", [(0, 4, 3), (5, 0, 4)])
def test_the_harness_sends_empty_pictures_as_arrays(shape):
    found = unpack(pack(np.zeros(shape, np.uint8), HARNESS), HARNESS)
    assert (found.shape, found.dtype) == (shape, np.uint8)


def test_the_harness_compresses_pictures_without_loss():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    wire = pack({"image": image}, HARNESS)
    assert b"\x89PNG" in wire
    np.testing.assert_array_equal(unpack(wire, HARNESS)["image"], image)


def test_json_numpy_is_written_as_the_package_does():
    expected = {"__numpy__": base64.b64encode(NUMBERS).decode(), "dtype": "<f4", "shape": [1, 2]}
    assert json.loads(json_arrays.dumps({"a": ACTIONS})) == {"a": expected}
    np.testing.assert_array_equal(json_arrays.loads(json.dumps(expected).encode()), ACTIONS)
    assert json_arrays.loads(json_arrays.dumps(np.float32(1.5))) == np.float32(1.5)


# round trips

dtypes = st.sampled_from(["|b1", "|i1", "|u1", "<i2", ">i2", "<u4", "<i8", "<u8", "<f2", "<f4", ">f4", "<f8"]).map(np.dtype)
arrays = st_numpy.arrays(dtypes, st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
leaves = arrays | st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary(max_size=9)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=9
)


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray | np.generic) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(tree=trees)
def test_what_was_packed_is_unpacked(dialect, tree):
    assert same(tree, unpack(pack(tree, dialect), dialect))


@given(arrays)
def test_json_keeps_every_bit(array):
    read = json_arrays.loads(json_arrays.dumps({"a": array}))["a"]
    assert same(array, np.asarray(read).astype(array.dtype))  # a single number comes back in the machine's byte order


@given(trees)
def test_measuring_agrees_with_msgpack(tree):
    data = pack(tree, OPENPI)
    assert measure(data, Limits()) >= 1
    for wrong in (data[:-1], data + b"\xc0"):
        with pytest.raises(MalformedMessage):
            measure(wrong, Limits())


# what is refused


@pytest.mark.parametrize(
    "dtype", ["|O", "O", "<c8", "<c16", "|V4", "<U3", "|S3", "<M8[s]", "<m8[s]", "<f16", "float32", "i4,f4", "", 7, None, [["a", "<f4"]]]
)
def test_other_dtypes_are_refused(dtype):
    for dialect, key in ((OPENPI, str.encode), (HARNESS, str)):
        wire = msgpack.packb({key("__ndarray__"): True, key("data"): NUMBERS, key("dtype"): dtype, key("shape"): [2]})
        with pytest.raises(MalformedMessage, match="dtype"):
            unpack(wire, dialect)


@pytest.mark.parametrize("array", [np.array([None]), np.zeros(2, complex), np.zeros(2, "i4,f4"), np.array(["a"]), np.zeros(2, "M8[s]")])
def test_other_dtypes_are_not_sent(array):
    for dialect in DIALECTS:
        with pytest.raises(MalformedMessage, match="dtype"):
            pack({"a": array}, dialect)
    with pytest.raises(MalformedMessage, match="dtype"):
        json_arrays.dumps(array)


@pytest.mark.parametrize("shape", [[3], [2, 2], [], [-1, -2], [2.0], [True, 2], "2", None, 2, [2, [1]], [1] * 9, [2**62, 2**62], [0]])
def test_a_shape_must_fit_the_bytes(shape):
    with pytest.raises(MalformedMessage):
        array_of(NUMBERS, "<f4", shape)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff" * 3,
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\x00\x00\x10\x00" + b"a" * 4096,
        b"\xd4\x05\x00",
        b"\xc7\x01\x05\x00",
        b"\xa2\xff\xfe",
        b"\x81\x01\x02",
        b"\x91" * 40 + b"\xc0",
        b"\xdc\x00\x80" + b"\xc0" * 128,
        b"\x81" + blob(b"__ndarray__") + b"\xc3",
        b"\x83" + blob(b"__npgeneric__") + b"\xc3" + blob(b"data") + text("x") + blob(b"dtype") + text("<f4"),
        b"\x83" + blob(b"__npgeneric__") + b"\xc3" + blob(b"data") + b"\xcd\x01\x00" + blob(b"dtype") + text("|u1"),
    ],
    ids=lambda wire: wire[:6].hex(),
)
def test_what_is_no_message_is_refused(wire):
    with pytest.raises(MalformedMessage):
        unpack(wire, OPENPI, SMALL)


def test_a_message_may_not_claim_more_memory_than_it_has():
    """Lists that each claim to be as long as the rest of the message, inside one another: msgpack alone would reserve room for all."""
    size = 2**20
    wire = b"".join(b"\xdd" + (size // 2).to_bytes(4, "big") for _ in range(15)) + b"\xc0" * (size // 2 + 20)
    tracemalloc.start()
    with pytest.raises(MalformedMessage, match="values"):
        unpack(wire, OPENPI)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**16


def test_an_array_is_a_view_of_the_message():
    wire = pack({"a": np.zeros(2**20, np.uint8)}, OPENPI)
    tracemalloc.start()
    read = unpack(wire, OPENPI)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert read["a"].size == 2**20
    assert held < 1.1 * 2**20  # the bytes of the blob, once


@pytest.mark.parametrize("shape", [[5, 7, 4], [7, 5, 3], [5, 7], [5000, 7000, 3], ["a"], None])
def test_a_picture_that_is_not_what_it_says_is_refused(shape):
    sound = msgpack.unpackb(pack(np.zeros((5, 7, 3), np.uint8), HARNESS))
    with pytest.raises(MalformedMessage):
        unpack(msgpack.packb(sound | {"shape": shape}), HARNESS)


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"GIF89a" + bytes(20), "text", None])
def test_a_picture_that_cannot_be_read_is_refused(data):
    with pytest.raises(MalformedMessage):
        unpack(msgpack.packb({"__image__": True, "format": "png", "data": data, "shape": [5, 7, 3]}), HARNESS)


def test_a_picture_that_unfolds_to_too_much_is_refused():
    wire = pack(np.zeros((40, 40, 3), np.uint8), HARNESS)
    with pytest.raises(MalformedMessage, match="picture"):
        unpack(wire, HARNESS, SMALL)


def test_npy_files_with_objects_are_refused():
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    unclosed = b"\x93NUMPY\x01\x00\x04\x00{(L\n"
    for data in (file.getvalue(), b"", b"\x93NUMPY\x03\x00", b"\x93NUMPY\x01\x00\xff\xff{", unclosed, 5):
        with pytest.raises(MalformedMessage):
            unpack(msgpack.packb({"__ndarray_class__": True, "as_npy": data}), GR00T)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 20000,
        b"9" * 9000,
        json.dumps({"__numpy__": "!!", "dtype": "<f4", "shape": [1]}).encode(),
        json.dumps({"__numpy__": "é", "dtype": "<f4", "shape": [1]}).encode(),
        json.dumps({"__numpy__": "AAAA", "dtype": "|O", "shape": [1]}).encode(),
        json.dumps({"__numpy__": "AAAA", "dtype": [["a", "<f4"]], "shape": [1]}).encode(),
        json.dumps({"__numpy__": 5, "dtype": "<f4", "shape": [1]}).encode(),
        json.dumps({"__numpy__": "AAAAAA==", "shape": [1]}).encode(),
        json.dumps({"__numpy__": "AAAAAA==", "dtype": "<f4", "shape": [2]}).encode(),
    ],
    ids=lambda wire: repr(wire[:24]),
)
def test_what_is_no_json_message_is_refused(wire):
    with pytest.raises(MalformedMessage):
        json_arrays.loads(wire)


# fuzz: one error only

sound = trees.map(lambda tree: [pack(tree, dialect) for dialect in DIALECTS] + [OPENPI_REPLY, HARNESS_REPLY, LATER_GR00T_REPLY])
damage = st.tuples(st.integers(0, 5), st.integers(0, 10**6), st.integers(0, 255))


def damaged(wire: bytes, places: list[tuple[int, int, int]]) -> bytes:
    """Bytes flipped, cut, put in or taken out."""
    for what, where, value in places:
        at = where % (len(wire) + 1)
        wire = {0: wire[:at], 1: wire[:at] + wire[at + 1 :], 2: wire[:at] + bytes([value]) + wire[at:]}.get(
            what, wire[:at] + bytes([value]) + wire[at + 1 :]
        )
    return wire


def read_or_refused(wire: bytes) -> None:
    refusals = []
    for read in (lambda: unpack(wire, OPENPI), lambda: unpack(wire, HARNESS), lambda: unpack(wire, GR00T), lambda: json_arrays.loads(wire)):
        try:
            read()
        except MalformedMessage as error:
            refusals.append(str(error))
    assert not [refusal for refusal in refusals if "\n" in refusal]


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_garbage_is_refused_in_one_way_only(wire):
    read_or_refused(wire)


@settings(max_examples=200)
@given(sound, st.lists(damage, min_size=1, max_size=4))
def test_damage_is_refused_in_one_way_only(wires, places):
    for wire in wires:
        read_or_refused(damaged(wire, places))
