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
}
"""Distances by the name that a drift analyzer's `algorithm` uses."""
