"""Looks for planted secrets in everything that the pipeline has written: databases, folders, logs.

Sealed containers of profiles are opened first, whatever they lie in. A number is looked for as text, and as a double and
as a whole number of eight bytes.
"""

from __future__ import annotations

import random
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import wire

Secret = str | int

_HEADER = 20
_LIMIT = 1 << 28


_ALIKE = re.compile(rb"(?=(zq[0-9a-f]{20}|[0-9]{16}|[0-9](?:,[0-9]{3}){5}))")
"""What tokens and numbers look like, the latter with and without commas."""


def token(chance: random.Random) -> str:
    """A text that occurs nowhere else."""
    return f"zq{chance.getrandbits(80):020x}"


def number(chance: random.Random) -> int:
    """A number of sixteen digits, so that no other is it by chance; a double holds it exactly."""
    return chance.randrange(10**15, 9 * 10**15)


def found_in(secrets: Iterable[Secret], places: Iterable[tuple[str, bytes]]) -> dict[Secret, set[str]]:
    """Which of the secrets occur, and where; `places` are names and bytes.

    Of `token` and `number` there may be thousands; any other text is looked for by itself.
    """
    texts: dict[bytes, Secret] = {}
    images: dict[int, Secret] = {}
    others: list[str] = []
    for secret in secrets:
        if isinstance(secret, int):
            texts |= {str(secret).encode(): secret, f"{secret:,}".encode(): secret}
            for image in (struct.pack("<d", secret), struct.pack("<q", secret)):
                images[int.from_bytes(image, "little")] = secret
        elif _ALIKE.match(secret.encode()):
            texts[secret.encode()] = secret
        else:
            others.append(secret)
    words = np.array(sorted(images), np.uint64)
    found: dict[Secret, set[str]] = defaultdict(set)
    for place, content in places:
        for match in _ALIKE.finditer(content):
            if (secret := texts.get(match[1])) is not None:
                found[secret].add(place)
        for secret in others:
            if secret.encode() in content:
                found[secret].add(place)
        for start in range(min(8, len(content) - 7) if len(words) else 0):
            there = np.frombuffer(content, "<u8", count=(len(content) - start) // 8, offset=start)
            at = np.minimum(np.searchsorted(words, there), len(words) - 1)
            for word in there[words[at] == there].tolist():
                found[images[word]].add(place)
    return dict(found)


def in_database(url: str) -> Iterator[tuple[str, bytes]]:
    """Every value of every table, containers opened."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        assert {"profile", "profile_sketch", "analyzer_result"} <= set(tables.tables)
        for table in tables.sorted_tables:
            for row in connection.execute(sa.select(table)):
                for column, value in zip(table.columns, row, strict=True):
                    place = f"{table.name}.{column.name}"
                    if isinstance(value, float):
                        yield place, struct.pack("<d", value)
                    elif isinstance(value, (bytes, memoryview)):
                        yield from ((place, part) for part in opened(bytes(value)))
                    elif value is not None:
                        yield place, str(value).encode()
    engine.dispose()


def in_files(folder: Path, *, skip: Iterable[Path] = ()) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder as it is."""
    left_out = set(skip)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not left_out.intersection((path, *path.parents)):
            yield str(path.relative_to(folder)), path.read_bytes()


def opened(content: bytes) -> Iterator[bytes]:
    """The bytes, and those of every container of profiles that they are."""
    yield content
    if len(content) < _HEADER or content[:2] != b"MP":
        return
    magic = content[:4]
    try:
        yield from wire.unseal_parts(magic, content, what="planted", limit=_LIMIT).values()
    except ProfileError:
        yield wire.unseal(magic, content, what="planted", limit=_LIMIT)
