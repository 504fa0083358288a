"""Contract tests for plug-ins: what every analyzer must hold to, ready to call from a test of one's own.

from monitoring_pipeline.testing import check_analyzer

def test_my_analyzer_keeps_the_contract():
    check_analyzer(doubled, doubled.Config.model_validate({"type": "doubled", "metric": "mean"}))
"""

from __future__ import annotations

from monitoring_pipeline.testing.analyzers import check_analyzer

__all__ = ["check_analyzer"]
