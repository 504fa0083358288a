"""The compiled kernels have the types of `fallback`, which says what they do."""

from monitoring_pipeline.profiling.fallback import Cells as Cells

REVISION: int
