"""What is asked of the native `datasketches` library, which has no type information, in one place."""

# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from datasketches import hll_sketch, kll_doubles_sketch


def hll_estimate(image: bytes) -> tuple[float, float, float]:
    """Estimate, and bounds at two standard errors, of a sound HLL image."""
    sketch = hll_sketch.deserialize(image)
    return sketch.get_estimate(), sketch.get_lower_bound(2), sketch.get_upper_bound(2)


def kll_rank_error(k: int) -> float:
    """How far one rank may be off with 99 % confidence, as a share of all values."""
    normalised_for_histograms = False
    return float(kll_doubles_sketch.get_normalized_rank_error(k, normalised_for_histograms))
