"""What is asked of the native `datasketches` library, which has no type information, in one place."""

# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from datasketches import HLL_8, hll_sketch, hll_union, kll_doubles_sketch

from monitoring_pipeline.errors import ProfileError


def hll_estimate(image: bytes) -> tuple[float, float, float]:
    """Estimate, and bounds at two standard errors, of a sound HLL image."""
    sketch = hll_sketch.deserialize(image)
    return sketch.get_estimate(), sketch.get_lower_bound(2), sketch.get_upper_bound(2)


def as_hll_8(image: bytes, lg_k: int) -> bytes:
    """An HLL image of any type as a compact one of type HLL_8. Raises ProfileError when it cannot be read."""
    try:
        union = hll_union(lg_k)
        union.update(hll_sketch.deserialize(image))
        return union.get_result(HLL_8).serialize_compact()
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        raise ProfileError("an HLL sketch that is damaged or of another kind") from error


def kll_rank_error(k: int) -> float:
    """How far one rank may be off with 99 % confidence, as a share of all values."""
    normalised_for_histograms = False
    return float(kll_doubles_sketch.get_normalized_rank_error(k, normalised_for_histograms))
