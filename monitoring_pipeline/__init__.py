"""Monitoring of data and models: profiles, baselines, few and true alerts.

`pipeline` is the whole in four functions, `workspace.Workspace` what they work on. For notebooks and scripts, the part
that is useful by itself is here at the top:

>>> import monitoring_pipeline as mp
>>> import pyarrow as pa
>>> mp.profile(pa.table({"score": [0.25, 0.75, None]}))
Profile of 3 rows, 1 column (score)

Importing the package loads nothing else; these names load what they need when they are used first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitoring_pipeline.notebook import Comparison, Profile, compare, from_file, profile

__all__ = ["Comparison", "Profile", "compare", "from_file", "profile"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from monitoring_pipeline import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
