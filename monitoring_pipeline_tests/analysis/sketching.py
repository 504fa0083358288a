"""Sketches as the reference's vectors and the tests describe them."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from monitoring_pipeline.profiling.sketches import FrequentItems, Kll


def kll_image(sketch: Mapping[str, Any]) -> bytes:
    """The image of a KLL sketch of a vector, given as bytes or as the values it was fed."""
    if "kll_b64" in sketch:
        return base64.b64decode(sketch["kll_b64"])
    return quantiles_image(sketch["updates"], k=sketch.get("k", 200))


def quantiles_image(values: Iterable[float], *, k: int = 512) -> bytes:
    """The image of a KLL sketch of these values."""
    return Kll.of(np.array(list(values), dtype=np.float64), k=k).to_image()


def items_image(values: Iterable[str]) -> bytes:
    """The image of a frequent-items sketch of these values."""
    counts = Counter(values)
    return FrequentItems.of(counts.items(), total=sum(counts.values())).to_image()
