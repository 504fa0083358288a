"""The hot loops, compiled where a C compiler was at hand when the package was built, else in numpy.

Both give the same profiles and the same numbers, byte for byte.
"""

from __future__ import annotations

from monitoring_pipeline.profiling import fallback, many_at_once

Cells: type[fallback.Cells] = fallback.Cells
find_components = many_at_once.find_components
gather = many_at_once.gather
text_places = many_at_once.text_places
masses = many_at_once.masses
COMPILED = False

try:
    from monitoring_pipeline.profiling import _kernels
except ImportError:
    pass
else:
    if _kernels.REVISION == fallback.REVISION:  # otherwise updated, but not built again
        Cells, COMPILED = _kernels.Cells, True
        find_components, gather = _kernels.find_components, _kernels.gather
        text_places, masses = _kernels.text_places, _kernels.masses
