"""JSON text whose content changes while its layout stays: what nobody touched stands as a person wrote it.

`rewritten` takes the old text and the new content. Every value that is the same in both keeps its text, letter for
letter, and keys keep their order; what differs is written in the manner of its surroundings (indentation, one line or
several, line ends).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from monitoring_pipeline.errors import DocumentError, Problem

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)


def rewritten(text: str, data: object) -> str:
    """The text of `data`, laid out as `text` is, which holds an earlier state of it.

    `text` must be JSON; bare NaN and Infinity count as text, as `load_document` reads them. Of a key that occurs more
    than once in a changed object the last one stays.

    >>> print(rewritten('{"a": [1,  2], "b": 1}', {"a": [1, 2], "b": 2, "c": {}}))
    {"a": [1,  2], "b": 2, "c": {}}
    """
    root = _parse(text)
    return text[: root.start] + _Writer.of(text, root).written(data, root, depth=0) + text[root.end :]


def laid_out(data: object) -> str:
    """The text of a new file: indented by two spaces, with a line end."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, line ends and byte order mark as they are."""
    return path.read_bytes().decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step, keeping its permissions; a link goes on pointing where it did.

    A file that says the same already is not touched. Raises DocumentError when it cannot be written.
    """
    target, data = path.resolve(), text.encode("utf-8")
    try:
        if target.exists() and target.read_bytes() == data:
            return
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        made = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, made)
            else:
                made.chmod(0o644)
            made.replace(target)
        except BaseException:
            with suppress(OSError):
                made.unlink()
            raise
    except OSError as error:
        found = f"a file that cannot be written ({error.strerror or error})"
        raise DocumentError(str(target), [Problem("$", found, "a file and a folder that can be")]) from None


@dataclass(frozen=True)
class _Node:
    """A value in the text: where it stands, and its parts."""

    start: int
    end: int
    value: object
    members: Mapping[str, _Node] = field(default_factory=dict)
    items: Sequence[_Node] = ()
    entry: int = -1
    """Where its key begins, in an object; otherwise `start`."""
    repeats: bool = False
    """Whether a key occurs more than once, so that what stands between the parts is not only space."""

    @property
    def parts(self) -> Sequence[_Node]:
        return tuple(self.members.values()) or self.items

    @property
    def bracket(self) -> str:
        """With which bracket it begins; "" where it has no parts, or no order in them."""
        return "" if self.repeats else "[" if self.items else "{" if self.members else ""


@dataclass(frozen=True)
class _Writer:
    text: str
    newline: str
    indent: str
    """What each level is indented by; nothing is broken into lines where `lines` is false."""
    lines: bool
    colon: str
    comma: str
    plain: bool
    """Whether letters outside ASCII are escaped."""

    @classmethod
    def of(cls, text: str, root: _Node) -> _Writer:
        indented = re.search(r"[\[{]\s*?(\r?\n)([ \t]+)\S", text)
        named = next(iter(root.members.values()), None)
        key = text[named.entry : named.start] if named is not None else '"": '
        colon = key[key.rindex('"') + 1 :]
        return cls(
            text=text,
            newline="\r\n" if "\r\n" in text else "\n",
            indent=indented[2] if indented else "  ",
            lines="\n" in text.strip(),
            colon=colon,
            comma="," if colon == ":" else ", ",
            plain=text.isascii() and "\\u" in text,
        )

    def written(self, value: object, old: _Node | None, *, depth: int) -> str:
        """The text of a value; `old` is what stood in its place, or a sibling whose manner it takes."""
        if old is not None and _same(value, old.value):
            return self.text[old.start : old.end]
        if isinstance(value, Mapping) and value:
            known = old.members if old is not None else {}
            order = [*(key for key in known if key in value), *(key for key in value if key not in known)]
            parts = [
                (
                    known.get(key),
                    self._key(key, known.get(key)),
                    self.written(value[key], known.get(key), depth=depth + 1),
                )
                for key in order
            ]
            return self._joined("{}", parts, old, depth=depth)
        if isinstance(value, (list, tuple)) and value:
            matched = _matched(value, old.items if old is not None else ())
            parts = [
                (node if mine else None, "", self.written(part, node, depth=depth + 1))
                for part, (node, mine) in zip(value, matched, strict=True)
            ]
            return self._joined("[]", parts, old, depth=depth)
        return json.dumps(value, ensure_ascii=self.plain)

    def _key(self, key: str, old: _Node | None) -> str:
        if old is not None:
            return self.text[old.entry : old.start]
        return json.dumps(key, ensure_ascii=self.plain) + self.colon

    def _joined(
        self, brackets: str, parts: Sequence[tuple[_Node | None, str, str]], old: _Node | None, *, depth: int
    ) -> str:
        """An object or a list of its parts: of each what it was, its key, and its text."""
        before, between, after = self._gaps(brackets[0], old, depth=depth)
        kept = old.parts if old is not None and old.bracket == brackets[0] else ()
        order = {id(node): place for place, node in enumerate(kept)}
        pieces: list[str] = []
        last = None
        for node, key, written in parts:
            gap = between if pieces else before
            if (
                last is not None
                and node is not None
                and order.get(id(node), 0) == order.get(id(last), -2) + 1
            ):
                gap = self.text[last.end : node.entry]
            pieces += [gap, key, written]
            last = node
        return "".join([brackets[0], *pieces, after, brackets[1]])

    def _gaps(self, bracket: str, old: _Node | None, *, depth: int) -> tuple[str, str, str]:
        """What stands before the first part, between two, and after the last: as it was, or as the rest of the text."""
        if old is None or old.bracket != bracket:
            if not self.lines:
                return "", self.comma, ""
            inner = self.newline + self.indent * (depth + 1)
            return inner, f",{inner}", self.newline + self.indent * depth
        first, *_ = parts = old.parts
        before = self.text[old.start + 1 : first.entry]
        after = self.text[parts[-1].end : old.end - 1]
        if len(parts) > 1:
            return before, self.text[parts[-2].end : parts[-1].entry], after
        return before, f",{before}" if "\n" in before else self.comma, after


def _matched(values: Sequence[object], items: Sequence[_Node]) -> Iterator[tuple[_Node | None, bool]]:
    """For each value the item that it was, the same one or that of the same id; else the last, for its manner, and False."""
    left = list(items)
    for value in values:
        found = next((node for node in left if _same(node.value, value)), None)
        name = _id_of(value)
        if found is None and name is not None:
            found = next((node for node in left if _id_of(node.value) == name), None)
        if found is not None:
            left.remove(found)
        yield found or (items[-1] if items else None), found is not None


def _id_of(value: object) -> object:
    return value.get("id") if isinstance(value, Mapping) else None


def _same(left: object, right: object) -> bool:
    """Whether two values say the same, in whatever order of keys; 1 and 1.0 do, 1 and true do not."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _parse(text: str) -> _Node:
    tokens = _TOKEN.finditer(text, 1 if text.startswith("\ufeff") else 0)
    return _value(tokens, next(tokens))


def _value(tokens: Iterator[re.Match[str]], first: re.Match[str], *, entry: int | None = None) -> _Node:
    entry = first.start() if entry is None else entry
    if first[0] == "{":
        return _object(tokens, first, entry)
    if first[0] == "[":
        return _array(tokens, first, entry)
    return _Node(first.start(), first.end(), json.loads(first[0], parse_constant=str), entry=entry)


def _object(tokens: Iterator[re.Match[str]], first: re.Match[str], entry: int) -> _Node:
    members: dict[str, _Node] = {}
    repeats = False
    for token in tokens:
        if token[0] == "}":
            value = {key: node.value for key, node in members.items()}
            return _Node(first.start(), token.end(), value, members=members, entry=entry, repeats=repeats)
        if token[0] == ",":
            continue
        next(tokens)  # the colon
        name = json.loads(token[0])
        repeats = repeats or name in members
        members[name] = _value(tokens, next(tokens), entry=token.start())
    raise ValueError("the text is no JSON")


def _array(tokens: Iterator[re.Match[str]], first: re.Match[str], entry: int) -> _Node:
    items: list[_Node] = []
    for token in tokens:
        if token[0] == "]":
            return _Node(first.start(), token.end(), [node.value for node in items], items=items, entry=entry)
        if token[0] != ",":
            items.append(_value(tokens, token))
    raise ValueError("the text is no JSON")
