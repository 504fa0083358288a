"""A chart of one line of text, for consoles, Slack and the text part of an e-mail."""

from __future__ import annotations

import math
from collections.abc import Sequence

_LEVELS = "▁▂▃▄▅▆▇█"
LONGEST = 60


def sparkline(values: Sequence[float | None]) -> str:
    """Values over time, the newest `LONGEST` of them; `·` where there is none.

    >>> sparkline([0, 1, None, 7, 3.5])
    '▁▂·█▅'
    """
    shown = [one if one is not None and math.isfinite(one) else None for one in values[-LONGEST:]]
    known = [one for one in shown if one is not None]
    if not known:
        return "·" * len(shown)
    low, high = min(known), max(known)

    def level(value: float) -> str:
        # Halves first: the difference of the largest and the smallest float is no float.
        span = high / 2 - low / 2
        share = (value / 2 - low / 2) / span if span > 0 else 0.5
        return _LEVELS[min(int(share * len(_LEVELS)), len(_LEVELS) - 1)]

    return "".join("·" if one is None else level(one) for one in shown)
