"""Scores of predicted clips, gathered batch by batch: only numbers and features are kept. Knows nothing of files and of printing.

Every metric is measured twice: on the model's clips, and on clips that repeat the last given frame.
"""

from collections import defaultdict
from typing import Any

import numpy as np

from worldsim.experiments.video_protocol import Protocol
from worldsim.metrics import FeatureNetwork, frechet_distance, mean_interval, network_facts, psnr, scored_view, ssim

WAYS = ("model", "copy")
UNITS = {"psnr": "dB"}
SETS = {"fvd": "video", "fid": "images"}


class VideoScores:
    """What a protocol wants to know of all clips seen so far."""

    def __init__(self, protocol: Protocol, networks: dict[str, FeatureNetwork], device: str = "cpu") -> None:
        self.protocol, self.networks, self.device = protocol, networks, device
        self.clips = 0
        self._rows: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)  # (metric, way) -> [B, frames]
        self._features: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)  # (metric, way or truth) -> [B (frames), D]

    def add(self, truth: np.ndarray, made: np.ndarray) -> None:
        """Score recorded clips uint8 `[B, T, H, W, 3]` and the model's, whose given frames are the recorded ones."""
        videos = {"model": self._view(made), "copy": self._view(last_given_held(truth, self.protocol.given))}
        truth = self._view(truth)
        for metric in self.measured:
            if metric in SETS:
                for way, video in ({"truth": truth} | videos).items():
                    self._features[metric, way].append(self._read(metric, video))
            else:
                for way, video in videos.items():
                    self._rows[metric, way].append(self._compare(metric, video, truth))
        self.clips += len(truth)

    @property
    def measured(self) -> list[str]:
        """The protocol's metrics but for those whose network is not there."""
        return [metric for metric in self.protocol.metrics if metric in ("psnr", "ssim") or metric in self.networks]

    def summary(self, seed: int) -> dict[str, dict[str, Any]]:
        """Each metric's value, what it was measured on, and the same of copying. `seed` is the bootstrap's.

        Metrics of single frames come with an interval over clips and their curve over the frames of a clip, counted from 1.
        """
        return {metric: self._distance(metric) if metric in SETS else self._mean(metric, seed) for metric in self.measured}

    def _view(self, frames: np.ndarray) -> np.ndarray:
        return scored_view(frames, tuple(self.protocol.crop) or None, tuple(self.protocol.size) or None)

    def _places(self, metric: str) -> tuple[int, ...]:
        """Frames that a metric is measured on, from 0: PSNR and SSIM all, for their curve; the others those they are scored on."""
        if metric in ("psnr", "ssim"):
            return tuple(range(self.protocol.length))
        return self.protocol.video_frames if metric == "fvd" else self.protocol.scored_frames

    def _compare(self, metric: str, video: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """One number per clip and frame, `[B, frames]`."""
        places = list(self._places(metric))
        ours, theirs = (each[:, places].reshape(-1, *each.shape[2:]) for each in (video, truth))  # [B frames, H, W, 3]
        if metric == "psnr":
            found = psnr(ours, theirs)
        elif metric == "ssim":
            found = ssim(ours, theirs, border=self.protocol.ssim_border, device=self.device)
        else:
            found = self.networks[metric].distances(ours, theirs)
        return found.reshape(len(video), len(places))

    def _read(self, metric: str, video: np.ndarray) -> np.ndarray:
        """Features `[B, D]` of clips, or `[B frames, D]` of their frames, clip by clip."""
        chosen = video[:, list(self._places(metric))]
        return self.networks[metric].features(chosen if SETS[metric] == "video" else chosen.reshape(-1, *chosen.shape[2:]))

    def _mean(self, metric: str, seed: int) -> dict[str, Any]:
        places = self._places(metric)
        curves = {way: np.concatenate(self._rows[metric, way]) for way in WAYS}  # [N, frames]
        scored = [places.index(place) for place in self.protocol.scored_frames]
        behind = [row for row, place in enumerate(places) if place >= self.protocol.given]
        by_clip = curves["model"][:, scored].mean(axis=1)
        low, high = mean_interval(by_clip, seed)
        return {
            "value": float(by_clip.mean()),
            "low": low,
            "high": high,
            "copy": float(curves["copy"][:, scored].mean()),
            "predicted_only": float(curves["model"][:, behind].mean()) if behind else None,
            "unit": UNITS.get(metric, ""),
            **self._scope(self.protocol.scored_frames),
            "by_frame": {"frames": [place + 1 for place in places], **{way: curves[way].mean(axis=0).tolist() for way in WAYS}},
            **self._network(metric),
        }

    def _distance(self, metric: str) -> dict[str, Any]:
        features = {way: np.concatenate(self._features[metric, way]) for way in (*WAYS, "truth")}
        places = self._places(metric)
        found = {
            "value": frechet_distance(features["model"], features["truth"]),
            "copy": frechet_distance(features["copy"], features["truth"]),
            "unit": "",
            **self._scope(places),
            "vectors": len(features["truth"]),
            "features": features["truth"].shape[1],
            **self._network(metric),
        }
        if metric == "fid" and isinstance(self.protocol.scored, list):
            found["by_frame"] = {"frames": [place + 1 for place in places], **{way: self._of_each_frame(features, way) for way in WAYS}}
        return found

    def _of_each_frame(self, features: dict[str, np.ndarray], way: str) -> list[float]:
        count = len(self.protocol.scored_frames)
        return [frechet_distance(features[way][i::count], features["truth"][i::count]) for i in range(count)]

    def _scope(self, places: tuple[int, ...]) -> dict[str, Any]:
        return {"clips": self.clips, "frames": [place + 1 for place in places]}

    def _network(self, metric: str) -> dict[str, Any]:
        if metric not in self.networks:
            return {}
        named = {"compare_with": f"LPIPS-{self.protocol.lpips_net}"} if metric == "lpips" else {}
        return {"network": network_facts(self.networks[metric])} | named


def last_given_held(truth: np.ndarray, given: int) -> np.ndarray:
    """Clips `[B, T, H, W, 3]` that repeat the last of their given frames to the end."""
    return np.take(truth, np.minimum(np.arange(truth.shape[1]), given - 1), axis=1)
