"""The three sketches of a column: KLL for quantiles, HLL for distinct values, frequent items for the commonest.

Each is a frozen value with one small interface: `of`, `merge_all`, `to_image`, `from_image` and its questions. An
image is the Apache DataSketches serialisation, so any Apache library reads what is written here (whylogs too, which
only puts another preamble on KLL), and what those write can be merged here. The native `datasketches` library does
not build them: HLL and frequent items take it one Python object per value, and its KLL is not reproducible.
"""

from __future__ import annotations

from monitoring_pipeline.profiling.sketches.frequent_items import FrequentItems
from monitoring_pipeline.profiling.sketches.hll import Hll
from monitoring_pipeline.profiling.sketches.kll import Kll

__all__ = ["FrequentItems", "Hll", "Kll"]
