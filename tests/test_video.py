"""Videos survive the disk, sizes change without distortion, and a damaged file says so."""

import numpy as np
import pytest

from worldsim.data.video import read_video, resize_frames, video_fps, write_video
from worldsim.errors import DamagedFile, InvalidInput


def smooth(frames: int = 6, height: int = 32, width: int = 48) -> np.ndarray:
    """Red grows to the right, green downwards, blue with time: every axis and channel can be told from the others."""
    t, y, x = np.meshgrid(np.linspace(0, 250, frames), np.linspace(0, 200, height), np.linspace(0, 150, width), indexing="ij")
    return np.stack([x, y, t], axis=-1).astype(np.uint8)  # [T, H, W, 3]


def test_video_comes_back_in_order_upright_and_in_colour(tmp_path):
    frames = smooth()
    write_video(tmp_path / "a.mp4", frames, fps=5)
    found = np.stack(list(read_video(tmp_path / "a.mp4")))
    assert found.dtype == np.uint8
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).mean() < 3


def test_odd_sides_are_padded_with_their_edge(tmp_path):
    frames = smooth(height=33, width=47)
    write_video(tmp_path / "a.mp4", frames, fps=5)
    found = np.stack(list(read_video(tmp_path / "a.mp4")))
    assert found.shape == (6, 34, 48, 3)
    expected = np.pad(frames, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    assert np.abs(found.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("fps", [3, 5.0, 12.5, 30000 / 1001])
def test_rate_is_kept(tmp_path, fps):
    write_video(tmp_path / "a.mp4", smooth(), fps=fps)
    assert video_fps(tmp_path / "a.mp4") == pytest.approx(fps)


def test_reading_is_lazy(tmp_path):
    write_video(tmp_path / "a.mp4", smooth(), fps=5)
    assert next(read_video(tmp_path / "a.mp4")).shape == (32, 48, 3)


@pytest.mark.parametrize("content", [b"", b"not a video" * 50, None], ids=["empty", "garbage", "missing"])
def test_unreadable_file_is_damaged(tmp_path, content):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"a\.mp4"):
        list(read_video(path))
    with pytest.raises(DamagedFile, match=r"a\.mp4"):
        video_fps(path)


def test_torn_file_is_damaged(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, smooth(), fps=5)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DamagedFile):
        list(read_video(path))


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, smooth(), fps=5)
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="above 0"):
        write_video(path, smooth(), fps=0)
    with pytest.raises(InvalidInput, match="expected uint8"):
        write_video(path, smooth().astype(np.float32), fps=5)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_halving_is_the_mean_of_four_pixels():
    frames = smooth(height=32, width=32)
    blocks = frames.reshape(6, 16, 2, 16, 2, 3).mean(axis=(2, 4))  # [T, 16, 16, 3]
    assert np.abs(resize_frames(frames, 16, 16) - blocks).max() <= 0.5


def test_crop_is_centred_and_undistorted():
    frames = np.zeros((1, 20, 40, 3), np.uint8)
    frames[:, :, 10:30] = 255
    assert (resize_frames(frames, 10, 10) == 255).all()
    assert (resize_frames(frames.swapaxes(1, 2).copy(), 10, 10) == 255).all()


def test_right_size_is_untouched_and_growing_keeps_a_constant():
    frames = smooth()
    assert resize_frames(frames, 32, 48) is frames
    assert (resize_frames(np.full((2, 5, 5, 3), 77, np.uint8), 64, 64) == 77).all()


def test_impossible_size_is_refused():
    with pytest.raises(InvalidInput, match="at least 1 x 1"):
        resize_frames(smooth(), 0, 8)
