"""Whole pictures inside black borders: closed forms, and the very bytes that tensorflow makes."""

import numpy as np
import pytest

from worldsim.data.resizing import resize_with_pad
from worldsim.errors import InvalidInput, UnknownName


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("sampling", ["area", "point"])
@pytest.mark.parametrize(("given", "wanted", "box"), [((8, 8), (8, 12), (0, 8, 2, 10)), ((10, 20), (8, 8), (2, 6, 0, 8))])
def test_a_plain_picture_stays_plain_and_the_border_is_black(sampling, given, wanted, box):
    padded = resize_with_pad(np.full((2, *given, 3), 200, np.uint8), *wanted, sampling)
    inside = np.zeros(wanted, bool)
    inside[box[0] : box[1], box[2] : box[3]] = True
    np.testing.assert_array_equal(padded, np.where(inside[None, ..., None], 200, 0).repeat(3, -1).repeat(2, 0))


def test_two_pixels_made_four():
    """By hand: centres at -0.25, 0.25, 0.75, 1.25; the outer two stay at the edge's pixel."""
    frames = np.array([0, 101], np.uint8).repeat(3).reshape(1, 1, 2, 3)
    assert resize_with_pad(frames, 1, 4, "point")[0, 0, :, 0].tolist() == [0, 0, 101, 0]  # one row leaves room for two columns
    tall = frames.repeat(2, axis=1)
    assert resize_with_pad(tall, 4, 4, "point")[0, 0, :, 0].tolist() == [0, 25, 75, 101]  # 25.25 and 75.75 are cut
    assert resize_with_pad(tall, 4, 4, "area")[0, 0, :, 0].tolist() == [0, 25, 76, 101]  # and here rounded


def test_half_a_row_left_over_goes_below():
    """20 x 10 in 7 x 7 is 3.5 rows: 3 are kept. openpi centres those 3, tensorflow the 3.5."""
    plain = np.full((1, 10, 20, 3), 9, np.uint8)
    rows = {sampling: np.flatnonzero(resize_with_pad(plain, 7, 7, sampling)[0, :, 0, 0]).tolist() for sampling in ("area", "point")}
    assert rows == {"area": [2, 3, 4], "point": [1, 2, 3]}


def test_right_size_is_the_same_array():
    frames = noise(2, 5, 6)
    assert resize_with_pad(frames, 5, 6, "point") is frames


def test_frames_do_not_mix():
    frames = noise(3, 9, 14)
    for sampling in ("area", "point"):
        alone = [resize_with_pad(frame[None], 12, 12, sampling)[0] for frame in frames]
        np.testing.assert_array_equal(resize_with_pad(frames, 12, 12, sampling), alone)


def test_what_cannot_be_resized_is_refused():
    for frames in (np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(InvalidInput, match="expected uint8"):
            resize_with_pad(frames, 8, 8)
    with pytest.raises(InvalidInput, match="at least 1 x 1"):
        resize_with_pad(noise(1, 4, 4), 0, 8)
    with pytest.raises(UnknownName, match='did you mean "point"'):
        resize_with_pad(noise(1, 4, 4), 8, 8, "points")


@pytest.mark.tensorflow
def test_point_equals_tensorflow():
    tf = pytest.importorskip("tensorflow")
    sizes = np.random.default_rng(0).integers(5, 80, (40, 4)).tolist()
    checked = 0
    for height, width, rows, columns in [(16, 16, 256, 320), (320, 512, 256, 320), (480, 640, 256, 320), *sizes]:
        frames = noise(2, height, width)
        try:
            expected = tf.cast(tf.image.resize_with_pad(frames, target_height=rows, target_width=columns), tf.uint8).numpy()
        except tf.errors.InvalidArgumentError:  # thinner than a pixel
            continue
        np.testing.assert_array_equal(resize_with_pad(frames, rows, columns, "point"), expected)
        checked += 1
    assert checked > 35
