"""How far two sets of feature vectors are apart as Gaussians: the distance behind FID and FVD. Knows nothing of networks."""

from typing import NamedTuple

import numpy as np

from worldsim.errors import InvalidInput


class Moments(NamedTuple):
    """Mean `[D]` and covariance `[D, D]` of a set of feature vectors, float64."""

    mean: np.ndarray
    covariance: np.ndarray


def moments(features: np.ndarray) -> Moments:
    """Mean and unbiased covariance of features `[N, D]`.

    Raises:
        InvalidInput: fewer than two vectors, or a feature that is not finite.
    """
    features = np.asarray(features, dtype=np.float64)
    if len(features) < 2:
        raise InvalidInput(f"a covariance needs at least 2 feature vectors, got {len(features)}; score more clips")
    if not np.isfinite(features).all():
        raise InvalidInput("the feature network made numbers that are not finite; check its range and size options")
    return Moments(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features `[N, D]` and `[M, D]` (Heusel et al. 2017).

    `|m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2))`. It is biased upwards for few vectors, so compare equal counts only.

    Raises:
        InvalidInput: see `moments`, or features of different sizes.
    """
    return gaussian_distance(moments(ours), moments(theirs))


def gaussian_distance(ours: Moments, theirs: Moments) -> float:
    """Squared Fréchet distance of two Gaussians, in float64.

    The trace of the root is the sum of the roots of the eigenvalues of `C1^(1/2) C2 C1^(1/2)`, which is symmetric, so that singular
    covariances (fewer vectors than features) need no special care.

    Raises:
        InvalidInput: features of different sizes.
    """
    if ours.mean.shape != theirs.mean.shape:
        raise InvalidInput(f"{len(ours.mean)} features cannot be compared with {len(theirs.mean)}; use one network for both")
    values, vectors = np.linalg.eigh(ours.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ theirs.covariance @ root)
    spread = np.trace(ours.covariance) + np.trace(theirs.covariance) - 2 * np.sqrt(inner.clip(min=0)).sum()
    return float(max(np.square(ours.mean - theirs.mean).sum() + spread, 0.0))
