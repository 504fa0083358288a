"""A segment is a set of `key=value` tags; its key is one canonical text.

The overall segment, all data of a dataset, has no tags and the key "". Tags are sorted by name; `%`, `&` and `=`
inside names and values are percent-encoded, so that any value survives the round trip.
"""

from __future__ import annotations

from collections.abc import Mapping

OVERALL = ""

_ESCAPES = (("%", "%25"), ("&", "%26"), ("=", "%3D"), ("\x00", "%00"))


def segment_key(tags: Mapping[str, str]) -> str:
    """Canonical key of a segment.

    >>> segment_key({"region": "EU", "channel": "web"})
    'channel=web&region=EU'
    """
    return "&".join(f"{_escape(name)}={_escape(tags[name])}" for name in sorted(tags))


def segment_tags(key: str) -> dict[str, str]:
    """Tags of a canonical key.

    >>> segment_tags("channel=web&region=EU")
    {'channel': 'web', 'region': 'EU'}

    Raises ValueError for a text that is no key.
    """
    if key == OVERALL:
        return {}
    pairs = [pair.partition("=") for pair in key.split("&")]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError(f"{key!r} is not a segment such as 'channel=web&region=EU'")
    return {_unescape(name): _unescape(value) for name, _, value in pairs}


def segment_label(key: str) -> str:
    """A segment as people read it: `channel=web, region=EU`, or `all data`."""
    tags = segment_tags(key)
    return ", ".join(f"{name}={value}" for name, value in tags.items()) if tags else "all data"


def reference_text(key: str) -> str:
    """A segment as the reference platform writes it: tags sorted, `&` inside names and values replaced by `_`.

    Two segments may share that text; keys are what tells them apart.

    >>> reference_text(segment_key({"city&": "a=b"}))
    'city_=a=b'
    """
    pairs = (f"{name}={value}" for name, value in segment_tags(key).items())
    return "&".join(sorted(pair.replace("&", "_") for pair in pairs))


def _escape(text: str) -> str:
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text


def _unescape(text: str) -> str:
    for plain, escaped in reversed(_ESCAPES):
        text = text.replace(escaped, plain)
    return text
