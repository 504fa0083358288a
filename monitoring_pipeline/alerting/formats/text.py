"""A digest as plain text for consoles and e-mail: aligned, at most 100 columns wide, readable without colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, chop_cells, set_cell_size

from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.sparkline import sparkline
from monitoring_pipeline.alerting.messages import Block, Chart, Facts, Items, Message, Table, message_of

WIDTH = 100

_INDENT = "  "
_GAP = "  "


def render_text(digest: Digest) -> str:
    """The digest as text, lines at most 100 terminal cells wide, ending in a line break."""
    return text_of(message_of(digest))


def text_of(message: Message) -> str:
    """Any message as text."""
    level = message.level.value.upper()
    lines = [*_wrap(f"{level}  {message.title}", hanging=" " * (len(level) + 2)), "─" * WIDTH]
    for number, block in enumerate(message.blocks):
        lines += ([""] if number else []) + _draw(block)
    if message.link:
        lines += ["", message.link]  # never broken, so that it can be clicked
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _draw(block: Block) -> list[str]:
    match block:
        case Facts():
            return _facts(block)
        case Items():
            return _items(block)
        case Table():
            return _table(block)
        case Chart():
            drawn = sparkline(block.values)
            return [
                *_wrap(block.title, hanging=_INDENT),
                *_wrap(f"{_INDENT}{drawn}  {block.caption}", hanging=_INDENT),
            ]


def _facts(block: Facts) -> list[str]:
    width = max(cell_len(label) for label, _ in block.facts)
    lines: list[str] = []
    for label, value in block.facts:
        lead = f"{set_cell_size(label, width)}{_GAP}"
        lines += _wrap(lead + value, hanging=" " * cell_len(lead))
    return lines


def _items(block: Items) -> list[str]:
    lines = [block.title]
    spacious = any(item.details for item in block.items)
    for number, item in enumerate(block.items):
        if spacious and number:
            lines.append("")
        lines += _wrap(f"{_INDENT}• {item.text}", hanging=_INDENT * 2)
        for detail in item.details:
            lines += _wrap(f"{_INDENT * 2}{detail}", hanging=_INDENT * 3)
    return [*lines, *_more(block.more)]


def _table(block: Table) -> list[str]:
    widths = [
        max(cell_len(row[column]) for row in (block.header, *block.rows))
        for column in range(len(block.header))
    ]
    room = WIDTH - len(_INDENT) - len(_GAP) * (len(widths) - 1)
    widths[0] = min(widths[0], room - sum(widths[1:]))
    lines = [block.title]
    for row in (block.header, *block.rows):
        cells = (_cell(text, widths[at], right=at in block.numeric) for at, text in enumerate(row))
        lines.append(_INDENT + _GAP.join(cells))
    return [*lines, *_more(block.more)]


def _cell(text: str, width: int, *, right: bool) -> str:
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1) + "…"
    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding


def _more(text: str | None) -> list[str]:
    return [f"{_INDENT}… and {text}"] if text else []


def _wrap(text: str, *, hanging: str) -> list[str]:
    """Break at spaces; the following lines hang under `hanging`. Words longer than a line are cut."""
    lines: list[str] = []
    line = ""
    for word in _words(text, WIDTH - cell_len(hanging)):
        if line and cell_len(line) + cell_len(word) > WIDTH:
            lines.append(line)
            line = hanging + word.lstrip()
        else:
            line += word
    return [*lines, line]


def _words(text: str, longest: int) -> Iterable[str]:
    """Words with the spaces before them, none longer than a line."""
    word = ""
    for letter in text:
        if letter == " " and word.strip():
            yield from _pieces(word, longest)
            word = ""
        word += letter
    yield from _pieces(word, longest)


def _pieces(word: str, longest: int) -> Sequence[str]:
    return [word] if cell_len(word) <= longest else chop_cells(word, longest)
