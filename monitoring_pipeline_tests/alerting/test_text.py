"""Digests as plain text."""

from __future__ import annotations

from hypothesis import given, settings
from rich.cells import cell_len

from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.alerting.formats.text import WIDTH, render_text
from monitoring_pipeline.segments import segment_key
from monitoring_pipeline_tests.alerting.builders import NOW, RUN, day, document, monitor, result, row_count
from monitoring_pipeline_tests.alerting.hostile import DIGESTS, digest_of

EU = segment_key({"region": "EU"})


def test_a_digest_reads_from_what_happened_to_the_worst_anomalies() -> None:
    results = [
        *(result("income", day(number), segment=EU) for number in (-2, -1, 0)),
        result("age", day(0), metric_value=0.05),
        row_count(day(-6), analyzer="null-ratio-analyzer"),
    ]
    link = "http://localhost:3000/assets/lead-scoring"
    (digest,) = build_digests(document(), results, now=NOW, run_id=RUN, link=link)
    assert render_text(digest) == (
        """\
WARNING  lead-scoring: 5 medium severity issues
────────────────────────────────────────────────────────────────────────────────────────────────────
monitor    Missing values in inputs
period     2026-01-25 to 2026-01-31 UTC
anomalies  5 in 2 columns, 2 segments
level      warning, medium severity

What happened
  • `income` nulls up, segment region=EU only
    `income` nulls 14.1 %, expected 0–1.2 % (last 14 days), segment region=EU
    2026-01-29 to 2026-01-31, open, 3 anomalies

  • `age` nulls up
    `age` nulls 5 %, expected 0–1.2 % (last 14 days)
    2026-01-31, open, 1 anomaly

  • Rows down
    rows 120, expected at least 1,000 (last 14 days)
    2026-01-25, open, 1 anomaly

Columns
  column     anomalies  first       last
  `income`           3  2026-01-29  2026-01-31
  (dataset)          1  2026-01-25  2026-01-25
  `age`              1  2026-01-31  2026-01-31

Segments
  segment    anomalies  first       last
  region=EU          3  2026-01-29  2026-01-31
  all data           2  2026-01-25  2026-01-31

Worst anomalies
  • 2026-01-31  `income` nulls 14.1 %, expected 0–1.2 % (last 14 days), segment region=EU
  • 2026-01-30  `income` nulls 14.1 %, expected 0–1.2 % (last 14 days), segment region=EU
  • 2026-01-29  `income` nulls 14.1 %, expected 0–1.2 % (last 14 days), segment region=EU
  • 2026-01-31  `age` nulls 5 %, expected 0–1.2 % (last 14 days)
  • 2026-01-25  rows 120, expected at least 1,000 (last 14 days)

http://localhost:3000/assets/lead-scoring
"""
    )


def test_a_single_anomaly_is_said_in_one_sentence_and_no_tables() -> None:
    (digest,) = build_digests(document(), [result()], now=NOW, run_id=RUN)
    assert "Columns" not in render_text(digest)
    assert "• `income` nulls 14.1 %, expected 0–1.2 % (last 14 days)\n" in render_text(digest)


def test_what_is_left_out_is_counted() -> None:
    text = render_text(digest_of([f"c{number}" for number in range(30)], [""], days=100))
    assert "… and 22 more incidents" in text
    assert "… and 22 more columns" in text


def test_anomalies_are_ordered_by_what_the_monitor_asks_for() -> None:
    made = document(monitor(mode={"type": "DIGEST", "groupBy": ["byColumn"]}))
    results = [result(column, day(number)) for column in ("b", "a") for number in (-1, 0)]
    (digest,) = build_digests(made, results, now=NOW, run_id=RUN)
    listed = [line.split()[1:3] for line in render_text(digest).splitlines() if line.startswith("  • 2026")]
    assert listed == [
        ["2026-01-31", "`a`"],
        ["2026-01-30", "`a`"],
        ["2026-01-31", "`b`"],
        ["2026-01-30", "`b`"],
    ]


@given(DIGESTS)
@settings(deadline=None, max_examples=40)
def test_no_line_is_wider_than_the_page_and_nothing_controls_the_terminal(digest: Digest) -> None:
    text = render_text(digest)
    assert all(cell_len(line) <= WIDTH for line in text.splitlines())
    assert text.replace("\n", "").isprintable()
