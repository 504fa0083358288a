"""Random numbers that depend on nothing but a name, so that every replay on every machine draws the same ones."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_BITS = 53
"""Bits of a double's fraction."""


def uniforms(*name: str, count: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), (count,), read off a hash of the name (SHAKE-128).

    >>> uniforms("analyzer", "region=EU", "score", count=2).tolist()
    [0.1797923607255264, 0.5231515967195869]
    """
    digest = hashlib.shake_128("\x1f".join(name).encode()).digest(8 * count)
    whole = np.frombuffer(digest, "<u8") >> np.uint64(64 - _BITS)
    return whole.astype(np.float64) * 2.0**-_BITS
