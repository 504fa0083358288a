"""The hot loops, compiled where a C compiler was at hand when the package was built, else in numpy.

Both give the same profiles, byte for byte.
"""

from __future__ import annotations

try:
    from monitoring_pipeline.profiling._kernels import Cells, hash_texts

    COMPILED = True
except ImportError:
    from monitoring_pipeline.profiling.fallback import Cells, hash_texts

    COMPILED = False

__all__ = ["COMPILED", "Cells", "hash_texts"]
