"""Distances between two binned distributions, on whole arrays of them.

Every function takes probabilities of shape `(..., n_bins)` float64, `p` the baseline and `q` the target, and returns
`(...)` float64. Bins that are empty on both sides add nothing, so rows may be padded with zeros. NaN anywhere in a
row makes its distance NaN. Probabilities need not sum to 1: an estimate from a sketch may miss rare items.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float64]
Distance = Callable[[Probabilities, Probabilities], NDArray[np.float64]]

CLIP = float(np.float32(1e-7))
"""Smallest probability that `psi` and `kl_divergence` see: 1e-7 as single precision, as in the reference."""


def hellinger(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Hellinger distance √(Σ(√p − √q)² / 2), between 0 and 1.

    >>> float(hellinger(np.array([1.0, 0.0]), np.array([0.0, 1.0])).round(12))
    1.0
    """
    return np.sqrt(_total((np.sqrt(q) - np.sqrt(p)) ** 2) / 2)


def psi(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Population stability index Σ(p − q)·ln(p/q), probabilities clipped to [1e-7, 1]. Symmetric.

    >>> float(psi(np.array([0.5, 0.5]), np.array([0.25, 0.75])).round(6))
    0.274653
    """
    p, q = np.clip(p, CLIP, 1.0), np.clip(q, CLIP, 1.0)
    return _total((p - q) * np.log(p / q))


def kl_divergence(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Kullback–Leibler divergence Σ p·ln(p/q) of the baseline `p` from the target `q`, in nats, clipped like `psi`."""
    p, q = np.clip(p, CLIP, 1.0), np.clip(q, CLIP, 1.0)
    return _total(p * np.log(p / q))


def jensenshannon(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Jensen–Shannon distance with base e, at most √ln 2 ≈ 0.8326: the square root of the divergence.

    >>> float(jensenshannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])).round(6))
    0.832555
    """
    middle = (p + q) / 2
    divergence = _total(_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return np.sqrt(np.maximum(divergence, 0.0))


def variation_distance(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Total variation distance Σ|p − q| / 2, between 0 and 1: the share of the data that would have to move.

    >>> float(variation_distance(np.array([0.5, 0.5]), np.array([0.25, 0.75])))
    0.25
    """
    return _total(np.abs(p - q)) / 2


def chi_square(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Symmetric chi-square distance Σ (p − q)² / (p + q) / 2, between 0 and 1 (Cha 2007, "probabilistic symmetric").

    Not the test: with many rows that finds every small difference significant, and a p-value says nothing of its size.

    >>> float(chi_square(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    1.0
    """
    both = p + q
    return (
        _total(np.divide((p - q) ** 2, both, out=np.where(np.isnan(both), np.nan, 0.0), where=both > 0)) / 2
    )


def ks_test(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Kolmogorov–Smirnov statistic D, the largest difference of the two cumulative distributions, between 0 and 1.

    Compared with the threshold is D, not a p-value. The bins must be in the order of the values.

    >>> float(ks_test(np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])))
    0.5
    """
    if not p.shape[-1]:
        return np.zeros(p.shape[:-1])
    return np.abs(np.cumsum(p, axis=-1) - np.cumsum(q, axis=-1)).max(axis=-1)


def wasserstein(p: Probabilities, q: Probabilities, positions: Probabilities) -> NDArray[np.float64]:
    """Wasserstein distance ∫|F − G| in standard deviations of the baseline `p`: how far the data moved on average.

    `positions` (..., n_bins) says where the bins lie, ascending; padding repeats the last one. A baseline of a single
    value has no deviation; then it is that of both sides together.

    >>> float(wasserstein(np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5]), np.array([0.0, 2.0, 4.0])))
    2.0
    """
    if not p.shape[-1]:
        return np.zeros(p.shape[:-1])
    apart = np.abs(np.cumsum(p, axis=-1) - np.cumsum(q, axis=-1))
    moved = _total(apart[..., :-1] * np.diff(positions, axis=-1))
    alone, together = _deviation(p, positions), _deviation((p + q) / 2, positions)
    deviation = np.where(alone > 0, alone, together)
    return np.divide(moved, deviation, out=np.where(np.isnan(moved), np.nan, 0.0), where=deviation > 0)


def _deviation(p: Probabilities, positions: Probabilities) -> NDArray[np.float64]:
    from_first = positions - positions[..., :1]
    mean = _total(p * from_first)
    return np.sqrt(_total(p * (from_first - mean[..., None]) ** 2))


def _relative_entropy(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """p·ln(p/q) per bin, with 0·ln 0 = 0."""
    positive = p > 0
    ratio = np.divide(p, q, out=np.ones_like(p), where=positive)
    return np.where(np.isnan(p), np.nan, p * np.log(ratio))


def _total(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the bins, one after the other, so that padding does not change a single bit of it."""
    return np.cumsum(terms, axis=-1)[..., -1] if terms.shape[-1] else np.zeros(terms.shape[:-1])


DISTANCES: dict[str, Distance] = {
    "hellinger": hellinger,
    "psi": psi,
    "kl_divergence": kl_divergence,
    "jensenshannon": jensenshannon,
    "variation_distance": variation_distance,
    "chi_square": chi_square,
    "ks_test": ks_test,
}
"""Distances by the name that a drift analyzer's `algorithm` uses; `wasserstein` needs to know positions, too."""

ORDERED = ("ks_test", "wasserstein")
"""Distances between distributions of values that have an order."""
