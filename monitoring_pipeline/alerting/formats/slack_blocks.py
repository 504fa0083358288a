"""A digest as Slack's Block Kit, within its limits and with nothing in it that data could turn into markup.

Limits: https://docs.slack.dev/reference/block-kit/blocks (50 blocks, 150 characters in a header, 3,000 in a section,
10 elements in a context). Escaping: https://docs.slack.dev/messaging/formatting-message-text#escaping. `&`, `<` and `>`
are escaped everywhere, so that `<!channel>` in a segment's value mentions nobody, and text is `verbatim`, so that
nothing in it becomes a link.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitoring_pipeline.alerting.digests import Digest, Escalation
from monitoring_pipeline.alerting.formats.sparkline import sparkline
from monitoring_pipeline.alerting.messages import Chart, Facts, Item, Items, Message, Table, message_of

MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_TEXT = 3000
MAX_FALLBACK = 3000
MAX_URL = 3000

SlackBlock = dict[str, object]

_SIGNS = {Escalation.CRITICAL: "🔴", Escalation.WARNING: "🟠", Escalation.INFO: "🔵"}


def render_slack(digest: Digest) -> list[SlackBlock]:
    """The digest as Block Kit blocks."""
    return blocks_of(message_of(digest))


def fallback_text(digest: Digest) -> str:
    """The digest in one line: for notifications, screen readers and clients without blocks."""
    return fallback_of(message_of(digest))


def fallback_of(message: Message) -> str:
    """Any message in one line."""
    return _fit([message.summary], MAX_FALLBACK)


def blocks_of(message: Message) -> list[SlackBlock]:
    """Any message as Block Kit blocks."""
    blocks: list[SlackBlock] = [_header(f"{_SIGNS[message.level]} {message.title}")]
    for block in message.blocks:
        match block:
            case Facts():
                blocks.append(
                    _context([f"*{_escape(label)}* {_escape(value)}" for label, value in block.facts])
                )
            case Items():
                blocks += _items(block)
            case Table():
                blocks.append(_table(block))
            case Chart():
                lines = [
                    f"*{_escape(block.title)}*",
                    f"`{sparkline(block.values)}`  {_escape(block.caption)}",
                ]
                blocks.append(_section(lines))
    footer = [_link(message.link)] if message.link and len(_escape(message.link)) < MAX_URL else []
    room = MAX_BLOCKS - len(footer)
    if len(blocks) > room:
        blocks = [*blocks[: room - 1], _context(["… and more"])]
    return [*blocks, *footer]


def _items(block: Items) -> Iterator[SlackBlock]:
    """One section for each item with details; items without share sections."""
    if any(item.details for item in block.items):
        for item in block.items:
            details = [_escape(detail) for detail in item.details]
            yield _section([_bold(item), *details])
        if block.more:
            yield _context([f"… and {_escape(block.more)}"])
        return
    lines = [f"*{_escape(block.title)}*", *(f"• {_escape(item.text)}" for item in block.items)]
    if block.more:
        lines.append(f"… and {_escape(block.more)}")
    yield from (_section(part) for part in _parts(lines))


def _bold(item: Item) -> str:
    """The item's text in bold. Bold does not reach into code, so each part between names is set by itself."""
    parts = item.text.split("`")
    drawn = (
        f"`{_escape(part)}`" if code else _bold_words(part)
        for part, code in zip(parts, _alternating(), strict=False)
    )
    return "".join(drawn)


def _alternating() -> Iterator[bool]:
    code = False
    while True:
        yield code
        code = not code


def _bold_words(text: str) -> str:
    words = text.strip(" ")
    if not words.strip(":, "):
        return _escape(text)
    lead, tail = text[: len(text) - len(text.lstrip(" "))], text[len(text.rstrip(" ")) :]
    return f"{lead}*{_escape(words).replace('*', '∗')}*{tail}"


def _table(block: Table) -> SlackBlock:
    lines = [f"*{_escape(block.title)}*"]
    for label, count, first, last in block.rows:
        when = first if first == last else f"{first} to {last}"
        lines.append(f"• {_escape(label)}: {_escape(count)} ({_escape(when)})")
    if block.more:
        lines.append(f"… and {_escape(block.more)}")
    return _section(lines)


def _header(text: str) -> SlackBlock:
    cut = text if len(text) <= MAX_HEADER else text[: MAX_HEADER - 1] + "…"
    return {"type": "header", "text": {"type": "plain_text", "text": cut, "emoji": True}}


def _section(lines: Sequence[str]) -> SlackBlock:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _fit_escaped(lines), "verbatim": True}}


def _context(texts: Sequence[str]) -> SlackBlock:
    elements = [{"type": "mrkdwn", "text": _fit_escaped([text]), "verbatim": True} for text in texts[:10]]
    return {"type": "context", "elements": elements}


def _link(url: str) -> SlackBlock:
    """The link that we made ourselves; the only markup beside bold and code."""
    return {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": f"<{_escape(url).replace('|', '%7C')}|Open>"}],
    }


def _parts(lines: Sequence[str]) -> Iterator[list[str]]:
    """Lines in portions that fit into a section."""
    part: list[str] = []
    length = 0
    for line in lines:
        if part and length + len(line) + 1 > MAX_TEXT:
            yield part
            part, length = [], 0
        part.append(line)
        length += len(line) + 1
    yield part


def _fit(texts: Sequence[str], limit: int) -> str:
    """Escaped text, cut so that no entity is cut in two."""
    return _cut("\n".join(_escape(text) for text in texts), limit)


def _fit_escaped(lines: Sequence[str]) -> str:
    return _cut("\n".join(lines), MAX_TEXT)


def _cut(escaped: str, limit: int) -> str:
    if len(escaped) <= limit:
        return escaped
    kept = escaped[: limit - 1]
    entity = kept.rfind("&")
    if entity >= 0 and ";" not in kept[entity:]:
        kept = kept[:entity]
    return kept + "…"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
