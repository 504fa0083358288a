"""The compiled kernels have the types of `fallback` and `many_at_once`, which say what they do."""

from monitoring_pipeline.profiling.fallback import Cells as Cells
from monitoring_pipeline.profiling.many_at_once import find_components as find_components
from monitoring_pipeline.profiling.many_at_once import gather as gather
from monitoring_pipeline.profiling.many_at_once import masses as masses
from monitoring_pipeline.profiling.many_at_once import text_places as text_places

REVISION: int
