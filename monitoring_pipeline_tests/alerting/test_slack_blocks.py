"""Digests as Slack blocks: within Slack's limits, and no data that becomes markup."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings

from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.alerting.formats.slack_blocks import blocks_of, fallback_text, render_slack
from monitoring_pipeline.alerting.messages import Item, Items, Message
from monitoring_pipeline_tests.alerting.builders import NOW, RUN, document, result
from monitoring_pipeline_tests.alerting.hostile import DIGESTS, NASTY, digest_of


def texts(blocks: Any) -> Iterator[dict[str, Any]]:
    """Every text object, wherever it is."""
    if isinstance(blocks, dict):
        if blocks.get("type") in ("mrkdwn", "plain_text"):
            yield blocks
        for value in blocks.values():
            yield from texts(value)
    elif isinstance(blocks, list):
        for value in blocks:
            yield from texts(value)


def check_limits(blocks: list[dict[str, Any]]) -> None:
    assert 1 <= len(blocks) <= 50
    for block in blocks:
        limit = 150 if block["type"] == "header" else 3000
        assert all(1 <= len(text["text"]) <= limit for text in texts(block))
        assert len(block.get("elements", [])) <= 10


def test_blocks_begin_with_what_it_is_about_and_then_the_worst() -> None:
    (digest,) = build_digests(
        document(), [result("income"), result("age", metric_value=0.05)], now=NOW, run_id=RUN
    )
    blocks = json.loads(json.dumps(render_slack(digest)))
    assert [block["type"] for block in blocks] == ["header", "context", "section", "section", "section"]
    assert blocks[0]["text"]["text"] == "🟠 lead-scoring: 2 medium severity issues"
    assert blocks[1]["elements"][0]["text"] == "*monitor* Missing values in inputs"
    assert blocks[2]["text"]["text"] == (
        "`income` *nulls up*\n`income` nulls 14.1 %, expected 0–1.2 % (last 14 days)\n2026-01-31, open, 1 anomaly"
    )


def test_the_fallback_is_one_line_that_stands_alone() -> None:
    (digest,) = build_digests(document(), [result()], now=NOW, run_id=RUN)
    assert fallback_text(digest) == (
        "lead-scoring: a medium severity issue, 2026-01-31 — `income` nulls 14.1 %, expected 0–1.2 % (last 14 days)"
    )


def test_a_link_is_the_only_markup() -> None:
    link = "http://localhost:3000/assets?a=1&b=<x>|y"
    (digest,) = build_digests(document(), [result()], now=NOW, run_id=RUN, link=link)
    last = render_slack(digest)[-1]
    assert [text["text"] for text in texts(last)] == [
        "<http://localhost:3000/assets?a=1&amp;b=&lt;x&gt;%7Cy|Open>"
    ]


def test_data_mentions_nobody() -> None:
    digest = digest_of([NASTY], [NASTY])
    for text in texts(render_slack(digest)):
        if text["type"] == "mrkdwn":
            assert "<" not in text["text"]
            assert text["verbatim"] is True
    assert "&lt;!channel&gt;" in fallback_text(digest)


def test_long_messages_are_cut_between_blocks_and_never_inside_an_entity() -> None:
    items = tuple(Item("a & b " * 800, ("<" * 4000,)) for _ in range(80))
    blocks = blocks_of(
        Message(digest_of(["a"], [""]).level, "t" * 500, "", (Items("all", items),), "http://x")
    )
    check_limits(blocks)
    for text in texts(blocks):
        if text["type"] == "mrkdwn" and "Open" not in text["text"]:
            plain = html.unescape(text["text"])
            assert "&lt" not in plain
            assert "&am" not in plain


@given(DIGESTS)
@settings(deadline=None, max_examples=40)
def test_any_digest_is_within_slacks_limits(digest: Digest) -> None:
    blocks = json.loads(json.dumps(render_slack(digest)))
    check_limits(blocks)
    assert 1 <= len(fallback_text(digest)) <= 3000
    for text in texts(blocks):
        if text["type"] == "mrkdwn":
            assert "<" not in text["text"]
            assert ">" not in text["text"]
            assert text["text"].count("`") % 2 == 0
