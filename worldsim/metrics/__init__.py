"""How good predicted video is: PSNR, SSIM, Fréchet distances, distances by a network from a file. Frames in, numbers out."""

from worldsim.metrics.features import FeatureNetwork, NetworkFile
from worldsim.metrics.frechet import frechet_distance, gaussian_distance, moments
from worldsim.metrics.images import psnr, scored_view, ssim
from worldsim.metrics.perceptual import CALLS, network_facts, well_known
from worldsim.metrics.summary import mean_interval

__all__ = [
    "CALLS",
    "FeatureNetwork",
    "NetworkFile",
    "frechet_distance",
    "gaussian_distance",
    "mean_interval",
    "moments",
    "network_facts",
    "psnr",
    "scored_view",
    "ssim",
    "well_known",
]
