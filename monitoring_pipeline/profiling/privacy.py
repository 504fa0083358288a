"""What is taken out of a finished profile, because the dataset's `privacy` says that it must not be remembered.

It is done once, when a profile is finished, on what the sketches hold by then: both engines make the same sketches, so
they have the same answer, and columns without a rule cost one look-up. What stays of a private column:

- counts of values, nulls and types, and how many distinct values there are (a HyperLogLog sketch of unkeyed hashes:
  nobody can read values from it, though who already suspects a value may test whether it could be among them);
- frequent items: none (`off`), those that the batch holds k times (`at_least`), or keyed hashes (`hashed`);
- masked numbers: mean, standard deviation and a quantile sketch whose items have three significant digits and lie
  between the 1 % and the 99 % quantile, at least five values away from either end; minimum and maximum are its ends.
  Times are cut to whole days. Of fewer than ten numbers nothing is kept, as their mean alone would tell too much.

Profiles of several batches are made of these profiles, so they hold no more. Segments are named by their values, and
`config.dataset` refuses segments by private columns.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.config.dataset import ColumnRoles
from monitoring_pipeline.config.privacy import PrivacySpec, Rule
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.profiling.data_warnings import DataWarning, unknown_private
from monitoring_pipeline.profiling.performance import OTHER, Performance, canonical
from monitoring_pipeline.profiling.profile import PRIVACY, ColumnProfile
from monitoring_pipeline.profiling.sketches import FrequentItems, Kll

KEY_VARIABLE: Final = "MONITORING_PRIVACY_KEY"
SHORTEST_KEY: Final = 16
"""Characters; a shorter key could be found by trying."""

FEWEST: Final = 10
"""Numbers of a masked column below which none are kept."""

_BEYOND = 5  # values that lie at a masked end or beyond it, at the least
_SHARE = 100  # and one in so many
_DIGITS = 3
_LARGEST = 1.79e308  # that fits into a double with so many digits
_DAY = 86_400_000_000  # microseconds
_HASHED = re.compile(r"#[0-9a-f]{16}")


@dataclass(frozen=True)
class Privacy:
    """The rules of one dataset, with the key of its hashes. `roles` say whose labels performance is told by."""

    spec: PrivacySpec
    key: bytes | None = None
    roles: ColumnRoles | None = None

    def __repr__(self) -> str:
        return f"Privacy({self.spec!r})"  # never the key

    @classmethod
    def of(cls, spec: PrivacySpec, *, key: str | None, roles: ColumnRoles | None = None) -> Privacy | None:
        """The rules, None where there are none. Raises UsageError when values are to be hashed without a fit key."""
        if not spec.used:
            return None
        if spec.hashes and len(key or "") < SHORTEST_KEY:
            found = "it is not set" if not key else f"it has fewer than {SHORTEST_KEY} characters"
            raise UsageError(
                f"privacy asks for hashed values, which need the key {KEY_VARIABLE}: {found}; make one with "
                f"`openssl rand -hex 32` and keep it, as values hashed with another key cannot be compared"
            )
        return cls(spec, key.encode() if key else None, roles)

    def column(self, name: str, profile: ColumnProfile) -> ColumnProfile:
        """What may be kept of a column's profile."""
        rule = self.spec.rule(name)
        if rule.open:
            return profile
        items = profile.frequent_items
        if items is not None and rule.items.kind != "on":
            items = self._items(rule, FrequentItems.from_image(items))
        kept = replace(
            profile,
            frequent_items=items,
            extra={**profile.extra, PRIVACY: spelled(rule).encode()},
        )
        kept = _masked(kept) if rule.masked else kept
        # The number of distinct values may be known exactly, which the sketch alone does not tell.
        vars(kept)["derived"] = (*profile.derived[:3], *kept.derived[3:])
        return kept

    def performance(self, found: Performance) -> Performance:
        """What may be kept of how predictions met outcomes: the labels under the rules of both columns.

        Labels that are not kept count as "(other)", save the one that the description itself calls positive, so that
        precision and recall of it stay what they are. Accuracy always does.
        """
        roles = self.roles
        if roles is None or not found.labels:
            return found
        rules = [self.spec.rule(name).items for name in (roles.prediction, roles.target) if name]
        kinds = {rule.kind for rule in rules}
        if kinds <= {"on"}:
            return found
        texts = list(found.labels)
        kept = {*texts}
        if "off" in kinds or ("at_least" in kinds and roles.weight is not None):
            kept = set()  # where rows are weighted, nobody knows how many have a label
        elif "at_least" in kinds:
            least = max(rule.least for rule in rules)
            kept = {text for text, rows in zip(texts, _rows_by_label(found), strict=True) if rows >= least}
        positive = _positive(found)
        if "hashed" in kinds and kept:
            texts = [
                OTHER if text == OTHER else self._hash(text) if text in kept else OTHER for text in texts
            ]
            positive = self._hash(positive) if positive else ""
        else:
            texts = [text if text in kept or text == positive else OTHER for text in texts]
            positive = found.positive
        return _relabelled(found, texts, positive)

    def unknown(self, columns: Collection[str]) -> set[DataWarning]:
        """Warnings of columns that the rules name and the data does not have, as misspelled names protect nobody."""
        return {unknown_private(name) for name in self.spec.names if name not in columns}

    def _items(self, rule: Rule, found: FrequentItems) -> bytes | None:
        kept = found.counts
        match rule.items.kind:
            case "off":
                return None
            case "hashed":
                kept = tuple(sorted(((self._hash(text), count) for text, count in kept), key=_rank))
            case "at_least":
                kept = tuple((text, count) for text, count in kept if count >= rule.items.least)
            case _:
                pass
        return FrequentItems(kept, found.total, found.offset).to_image()

    def _hash(self, text: str) -> str:
        if self.key is None:
            raise UsageError(f"values cannot be hashed without the key {KEY_VARIABLE}")
        return f"#{hmac.digest(self.key, text.encode('utf-8', 'surrogatepass'), 'sha256')[:8].hex()}"


def is_hashed(text: str) -> bool:
    """Whether a text looks like a keyed hash: "#" and 16 hexadecimal digits."""
    return _HASHED.fullmatch(text) is not None


def spelled(rule: Rule) -> str:
    """A rule as the component of a profile: `frequent_items extremes`, such as "hashed masked"."""
    items = rule.items
    kept = f"at_least={items.least}" if items.kind == "at_least" else items.kind
    return f"{kept} {'masked' if rule.masked else 'exact'}"


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _masked(profile: ColumnProfile) -> ColumnProfile:
    nothing = replace(profile, m_n=0, mean=0.0, m2=0.0, min=None, max=None, kll=None)
    if profile.kll is None:
        return nothing
    kll = Kll.from_image(profile.kll)
    if kll.n < FEWEST:
        return nothing
    times = not profile.m_n  # only times have quantiles and no moments
    beyond = max(kll.n // _SHARE, _BEYOND - 1)
    # Half a place further, so that rounding cannot lead to the one before.
    ends = kll.quantiles([(beyond + 0.5) / kll.n, (kll.n - 1 - beyond + 0.5) / kll.n])
    levels = tuple(_coarse(np.clip(level, *ends), times=times) for level in kll.levels)
    least, most = _coarse(ends, times=times).tolist()
    masked = Kll(kll.k, kll.min_k, kll.n, least, most, levels)
    return replace(profile, min=least, max=most, kll=masked.to_image())


def _coarse(numbers: NDArray[np.float64], *, times: bool) -> NDArray[np.float64]:
    """The nearest numbers with three significant digits, or the start of the day of times; keeps the order."""
    if times:
        return np.floor(numbers / _DAY) * _DAY
    # Through decimal text, so that no trace of the digits behind is left and every machine has the same answer.
    texts = (f"{number:.{_DIGITS - 1}e}" for number in numbers.tolist())
    return np.clip(np.array([*map(float, texts)], np.float64), -_LARGEST, _LARGEST)


def _positive(found: Performance) -> str:
    """The label that is judged against all others as far as that is known before labels are hashed."""
    said, other = found.positive, _OTHER_NAMES.get(found.positive, "")
    if not said:
        return next((text for text in ("1", "True") if text in found.labels), "")
    return other if said not in found.labels and other in found.labels else said


_OTHER_NAMES = {"True": "1", "1": "True", "False": "0", "0": "False"}
"""Yes and no are 1 and 0 beside numbers."""


def _rows_by_label(found: Performance) -> list[float]:
    rows = np.zeros(len(found.labels))
    for side in (0, 1):
        there = found.pairs[:, side] >= 0
        counted = np.zeros(len(found.labels))
        np.add.at(counted, found.pairs[there, side], found.sums[there, 0])
        rows = np.maximum(rows, counted)
    return rows.tolist()


def _relabelled(found: Performance, texts: list[str], positive: str) -> Performance:
    distinct = list(dict.fromkeys(texts))
    places = np.array([*map(distinct.index, texts), -1], np.int64)
    made = canonical(distinct, places[found.pairs], found.sums, found.cells, found.mass, found.totals)
    return replace(made, positive=positive)
