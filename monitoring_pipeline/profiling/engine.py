"""The hot loops, compiled where a C compiler was at hand when the package was built, else in numpy.

Both give the same profiles, byte for byte.
"""

from __future__ import annotations

from monitoring_pipeline.profiling import fallback

Cells: type[fallback.Cells] = fallback.Cells
COMPILED = False

try:
    from monitoring_pipeline.profiling import _kernels
except ImportError:
    pass
else:
    if _kernels.REVISION == fallback.REVISION:  # otherwise updated, but not built again
        Cells, COMPILED = _kernels.Cells, True
