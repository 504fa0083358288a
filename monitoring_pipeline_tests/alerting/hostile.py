"""Digests as bad as data can make them."""

from __future__ import annotations

from hypothesis import strategies as st

from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.segments import segment_key
from monitoring_pipeline_tests.alerting.builders import NOW, RUN, day, document, monitor, result

NASTY = "<!channel> & <@U1> <http://x|y> `code` *b* \x1b[31m\n# 火"


def digest_of(columns: list[str], segments: list[str], *, severity: int = 2, days: int = 3) -> Digest:
    """A digest of anomalies in all these columns and segment values."""
    results = [
        result(column, day(-(3 * number) % days), segment=segment_key({"region": segment}) if segment else "")
        for number, column in enumerate(columns)
        for segment in segments
    ]
    (digest,) = build_digests(document(monitor(severity=severity)), results, now=NOW, run_id=RUN)
    return digest


TEXTS = st.one_of(st.just(NASTY), st.just("x" * 500), st.text(max_size=30))
DIGESTS = st.builds(
    digest_of,
    st.lists(TEXTS, min_size=1, max_size=30, unique=True),
    st.lists(TEXTS, min_size=1, max_size=4, unique=True),
    severity=st.integers(1, 4),
)
