"""Sketches as the tests describe them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from monitoring_pipeline.profiling.sketches import FrequentItems, Kll


def quantiles_image(values: Iterable[float], *, k: int = 512) -> bytes:
    """The image of a KLL sketch of these values."""
    return Kll.of(np.array(list(values), dtype=np.float64), k=k).to_image()


def items_image(values: Iterable[str]) -> bytes:
    """The image of a frequent-items sketch of these values."""
    counts = Counter(values)
    return FrequentItems.of(counts.items(), total=sum(counts.values())).to_image()
