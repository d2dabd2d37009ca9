"""Measures of predicted video against what is known about them in closed form, and networks from files called as they ask to be."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from worldsim.data.files import sha256_of
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.metrics import (
    FeatureNetwork,
    NetworkFile,
    frechet_distance,
    gaussian_distance,
    mean_interval,
    network_facts,
    psnr,
    scored_view,
    ssim,
    well_known,
)
from worldsim.metrics.features import prepared
from worldsim.metrics.frechet import Moments


class Averages(torch.nn.Module):
    """Features `[N, 3]`: the mean of each colour."""

    def forward(self, frames: torch.Tensor, gain: float = 1.0):
        return gain * frames.float().flatten(2).mean(dim=2)


class Gap(torch.nn.Module):
    """The mean absolute difference of two frames, `[N, 1, 1, 1]` as LPIPS shapes it."""

    def forward(self, ours: torch.Tensor, theirs: torch.Tensor):
        return (ours - theirs).abs().mean(dim=(1, 2, 3), keepdim=True)


class Listed(torch.nn.Module):
    """Features in a list of maps, as pytorch-fid's Inception gives them."""

    def forward(self, frames: torch.Tensor):
        return [frames.float().mean(dim=(2, 3), keepdim=True)]


def script(module: torch.nn.Module, path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(str(path))
    return str(path)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_psnr_of_a_constant_offset_is_twenty_log_of_peak_over_offset():
    grey = np.full((3, 12, 12, 3), 100, np.uint8)
    assert psnr(grey + np.uint8(10), grey) == pytest.approx([20 * np.log10(255 / 10)] * 3, abs=1e-5)
    assert psnr(grey, grey[:1]).tolist() == [60.0] * 3


def test_ssim_of_identical_frames_is_one_and_of_flat_ones_the_luminance_term():
    frames = noise(0, 2, 16, 20)
    assert ssim(frames, frames) == pytest.approx([1.0, 1.0], abs=1e-6)
    light, dark = np.full((1, 16, 16, 3), 200, np.uint8), np.full((1, 16, 16, 3), 100, np.uint8)
    c = (0.01 * 255) ** 2
    for border in (False, True):
        assert ssim(light, dark, border=border) == pytest.approx([(2 * 200 * 100 + c) / (200**2 + 100**2 + c)], abs=1e-4)


def test_ssim_is_the_mean_over_whole_gaussian_windows():
    ours, theirs = noise(1, 1, 13, 12), noise(2, 1, 13, 12)
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = (np.outer(line, line) / line.sum() ** 2)[..., None]
    values = []
    for top, left in np.ndindex(3, 2):
        a, b = (each[0, top : top + 11, left : left + 11].astype(float) for each in (ours, theirs))
        ma, mb = (window * a).sum((0, 1)), (window * b).sum((0, 1))
        va, vb, vab = ((window * x * y).sum((0, 1)) - m for x, y, m in ((a, a, ma * ma), (b, b, mb * mb), (a, b, ma * mb)))
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    assert ssim(ours, theirs) == pytest.approx([np.mean(values)], abs=1e-5)
    assert abs(ssim(ours, theirs, border=True)[0] - np.mean(values)) > 1e-3


def test_ssim_refuses_frames_smaller_than_its_window():
    with pytest.raises(InvalidInput, match="at least 11 x 11"):
        ssim(noise(0, 1, 10, 30), noise(1, 1, 10, 30))


def test_the_view_cuts_the_centre_and_resizes_it():
    frames = noise(0, 2, 3, 32, 52)
    cut = scored_view(frames, (27, 52), None)
    assert np.array_equal(cut, frames[..., 2:29, :, :])
    flat = np.full((2, 10, 20, 3), 77, np.uint8)
    assert np.array_equal(scored_view(flat, None, (5, 7)), np.full((2, 5, 7, 3), 77, np.uint8))
    halves = scored_view(np.arange(8, dtype=np.uint8).reshape(1, 1, 8, 1).repeat(2, 1).repeat(3, -1) * 10, None, (1, 4))
    assert halves[0, 0, :, 0].tolist() == [5, 25, 45, 65]  # the mean of two neighbours
    with pytest.raises(InvalidInput, match="cannot cut 33 x 52"):
        scored_view(frames, (33, 52), None)


def test_frechet_distance_of_known_gaussians():
    def gaussian(mean, *variances):
        return Moments(np.array(mean, float), np.diag(variances).astype(float))

    assert gaussian_distance(gaussian([1, 2], 4, 9), gaussian([4, 6], 1, 16)) == pytest.approx(25 + (2 - 1) ** 2 + (3 - 4) ** 2)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    turned = [Moments(turn @ each.mean, turn @ each.covariance @ turn.T) for each in (gaussian([0, 0], 4, 0), gaussian([0, 0], 0, 9))]
    assert gaussian_distance(*turned) == pytest.approx(4 + 9)  # singular, and apart
    with pytest.raises(InvalidInput, match="one network for both"):
        gaussian_distance(gaussian([0], 1), gaussian([0, 0], 1, 1))


def test_frechet_distance_of_sets():
    features = np.random.default_rng(0).normal(size=(6, 20))  # fewer vectors than features
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features + 2) == pytest.approx(20 * 4, rel=1e-6)
    with pytest.raises(InvalidInput, match="at least 2"):
        frechet_distance(features[:1], features)
    with pytest.raises(InvalidInput, match="not finite"):
        frechet_distance(features * np.nan, features)


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = mean_interval(values, seed=1)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert mean_interval(values, seed=1) == (low, high)
    assert mean_interval(values[:1]) == (values[0], values[0])


def test_a_network_sees_frames_in_the_range_and_layout_it_asks_for():
    frames = np.broadcast_to(np.array([0, 255, 51], np.uint8), (2, 4, 6, 3))
    for kind, expected in (("byte", [0, 255, 51]), ("unit", [0, 1, 0.2]), ("signed", [-1, 1, -0.6])):
        tensor = prepared(frames, NetworkFile("x", range=kind, size=5))
        assert tensor.shape == (2, 3, 5, 5)
        assert tensor.dtype == (torch.uint8 if kind == "byte" else torch.float32)
        assert tensor[0, :, 0, 0].tolist() == pytest.approx(expected)
    clips = noise(0, 2, 7, 4, 6)
    whole = {
        layout: prepared(clips, NetworkFile("x", range="byte", layout=layout))
        for layout in ("channels_first", "time_first", "channels_last")
    }
    assert whole["channels_first"].shape == (2, 3, 7, 4, 6)
    assert whole["time_first"].shape == (2, 7, 3, 4, 6)
    assert np.array_equal(whole["channels_last"], clips)
    assert np.array_equal(whole["channels_first"].permute(0, 2, 3, 4, 1), clips)
    assert np.array_equal(whole["time_first"].permute(0, 1, 3, 4, 2), clips)


def test_features_and_distances_of_scripts(tmp_path):
    frames, others = noise(0, 5, 8, 8), noise(1, 5, 8, 8)
    path = script(Averages(), tmp_path / "averages.pt")
    network = FeatureNetwork(NetworkFile(path, range="byte", batch=2, kwargs={"gain": 2.0}))
    means = frames.mean(axis=(1, 2))
    assert network.features(frames) == pytest.approx(2 * means, rel=1e-5)
    assert network_facts(network)["sha256"] == network.sha256 == sha256_of(path)
    squares = FeatureNetwork(NetworkFile(path, range="byte", batch=2, reading="squared_difference")).distances(frames, others)
    assert squares == pytest.approx(np.square(means - others.mean(axis=(1, 2))).sum(axis=1), rel=1e-3)
    listed = FeatureNetwork(NetworkFile(script(Listed(), tmp_path / "listed.pt"), range="byte"))
    assert listed.features(frames) == pytest.approx(means, rel=1e-5)
    gap = FeatureNetwork(well_known("lpips", script(Gap(), tmp_path / "gap.pt")))  # in [-1, 1]
    assert gap.distances(frames, others) == pytest.approx(np.abs(frames.astype(float) - others).mean(axis=(1, 2, 3)) / 127.5, rel=1e-5)


def test_networks_that_are_not_the_ones_asked_for_are_refused(tmp_path):
    path = script(Averages(), tmp_path / "averages.pt")
    assert FeatureNetwork(NetworkFile(path, sha256=sha256_of(path).upper())).sha256 == sha256_of(path)
    with pytest.raises(InvalidInput, match="expected 00ff"):
        FeatureNetwork(NetworkFile(path, sha256="00ff"))
    with pytest.raises(InvalidInput, match="no network file"):
        FeatureNetwork(NetworkFile(str(tmp_path / "none.pt")))
    (tmp_path / "text.pt").write_text("not a network")
    with pytest.raises(DamagedFile, match="not a TorchScript file"):
        FeatureNetwork(NetworkFile(str(tmp_path / "text.pt")))
    with pytest.raises(InvalidInput, match="cannot be called with") as caught:
        FeatureNetwork(NetworkFile(path, kwargs={"rescale": False})).features(noise(0, 1, 8, 8))
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidInput, match="3 numbers for a pair"):
        FeatureNetwork(NetworkFile(script(Gap3(), tmp_path / "gap3.pt"))).distances(noise(0, 2, 8, 8), noise(1, 2, 8, 8))
    with pytest.raises(UnknownName, match='unknown range "bytes"'):
        NetworkFile(path, range="bytes")


class Gap3(torch.nn.Module):
    """Three numbers for each pair, which is no distance."""

    def forward(self, ours: torch.Tensor, theirs: torch.Tensor):
        return (ours - theirs).abs().mean(dim=(2, 3))
