"""Profiles at hand, for notebooks and scripts: no workspace, no store, no documents.

`profiles` makes, shows and keeps a profile, `comparison` holds two of them against each other, `drawing` is what
both look like in a notebook. All of it is reached from the top: `import monitoring_pipeline as mp`.
"""

from __future__ import annotations

from monitoring_pipeline.notebook.comparison import Comparison, compare
from monitoring_pipeline.notebook.profiles import Profile, from_file, profile

__all__ = ["Comparison", "Profile", "compare", "from_file", "profile"]
