from __future__ import annotations

from datetime import timedelta

import pytest

from monitoring_pipeline.analysis.advice import Advice, advise
from monitoring_pipeline.timegrid import Duration


@pytest.mark.parametrize(
    ("duration", "advice"),
    [
        ("PT89M", Advice.SHORT),
        ("PT90M", Advice.FINE),
        ("PT150M", Advice.FINE),
        ("PT151M", Advice.LONG),
        ("P1M", Advice.LONG),
    ],
)
def test_a_gate_is_held_against_a_lag_of_ninety_minutes(duration: str, advice: Advice) -> None:
    assert advise(Duration.parse(duration), timedelta(minutes=90)) is advice
