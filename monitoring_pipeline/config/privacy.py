"""What profiles must not remember of a column: the block `privacy` of `dataset.yaml`.

Column by column it says which values may be kept as text, and whether numbers may be kept as they are. What a profile
then holds is decided in `profiling.privacy`; this module only says what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)

from monitoring_pipeline.config.fields import refuse

FEWEST_K = 2
"""The smallest k of `at_least`: that of 1 would keep everything."""

_ACCEPTED = "on, off, hashed, or {at_least: k} with a whole number k of 2 or more"


@dataclass(frozen=True)
class ItemsRule:
    """Which values of a column are kept as its commonest: all, none, their keyed hashes, or those seen `least` times."""

    kind: Literal["on", "off", "hashed", "at_least"] = "on"
    least: int = 0

    def __str__(self) -> str:
        return f"at_least {self.least}" if self.kind == "at_least" else self.kind


def _items_rule(value: object) -> ItemsRule:
    if isinstance(value, ItemsRule):
        return value
    if isinstance(value, bool):  # YAML reads on and off as yes and no
        return ItemsRule("on" if value else "off")
    if isinstance(value, str):
        for kind in ("on", "off", "hashed"):
            if value.strip().lower() == kind:
                return ItemsRule(kind)
    if isinstance(value, Mapping) and set(value) == {"at_least"}:
        least = value["at_least"]
        if isinstance(least, int) and not isinstance(least, bool) and least >= FEWEST_K:
            return ItemsRule("at_least", least)
    raise refuse(_ACCEPTED)


def _written(rule: ItemsRule | None) -> object:
    if rule is None:
        return None
    return {"at_least": rule.least} if rule.kind == "at_least" else rule.kind


KeptItems = Annotated[
    ItemsRule,
    PlainValidator(_items_rule),
    PlainSerializer(_written),
    WithJsonSchema(
        {
            "oneOf": [
                {"enum": ["on", "off", "hashed"]},
                {
                    "type": "object",
                    "properties": {"at_least": {"type": "integer", "minimum": FEWEST_K}},
                    "required": ["at_least"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


def _extremes(value: object) -> object:
    name = value.strip().lower() if isinstance(value, str) else value
    if name not in ("exact", "masked"):
        raise refuse("exact or masked")
    return name


class ColumnPrivacy(BaseModel):
    """What is kept of a column; what is not said here is looked up elsewhere (`PrivacySpec.rule`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frequent_items: KeptItems | None = Field(
        default=None,
        description="Which values are kept as text: on (the commonest), off (none), hashed (keyed hashes of the "
        "commonest), {at_least: k} (those that a batch holds at least k times).",
    )
    extremes: Annotated[Literal["exact", "masked"], BeforeValidator(_extremes)] | None = Field(
        default=None,
        description="exact keeps minimum, maximum and quantiles as they are; masked keeps no number exactly and "
        "nothing beyond the 1 % and 99 % quantiles. Default: masked where frequent_items is not on.",
    )


@dataclass(frozen=True)
class Rule:
    """What is kept of one column."""

    items: ItemsRule = ItemsRule()
    masked: bool = False

    @property
    def open(self) -> bool:
        """Whether everything is kept."""
        return self.items.kind == "on" and not self.masked

    def __str__(self) -> str:
        return f"frequent_items {self.items}, extremes {'masked' if self.masked else 'exact'}"


class PrivacySpec(BaseModel):
    """What profiles must not remember."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: ColumnPrivacy = Field(
        default=ColumnPrivacy(), description="For all columns, as far as `columns` does not say otherwise."
    )
    columns: dict[Annotated[str, Field(min_length=1)], ColumnPrivacy] = Field(
        default_factory=dict,
        description="By name of the column, or a pattern in which * stands for any characters and ? for one. The "
        "exact name comes first, then patterns in their order, then `default`; each setting by itself.",
    )

    @property
    def used(self) -> bool:
        """Whether anything is kept back."""
        return any(not self._resolved([one]).open for one in (self.default, *self.columns.values()))

    @property
    def hashes(self) -> bool:
        """Whether a key is needed."""
        return any(
            one.frequent_items is not None and one.frequent_items.kind == "hashed"
            for one in (self.default, *self.columns.values())
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are named, not by a pattern."""
        return tuple(name for name in self.columns if not _is_pattern(name))

    def rule(self, column: str) -> Rule:
        """What is kept of a column."""
        exact = [self.columns[column]] if column in self.columns else []
        patterns = [one for name, one in self.columns.items() if _is_pattern(name) and _fits(name, column)]
        return self._resolved([*exact, *patterns, self.default])

    @staticmethod
    def _resolved(given: list[ColumnPrivacy]) -> Rule:
        items = next((one.frequent_items for one in given if one.frequent_items is not None), ItemsRule())
        extremes = next((one.extremes for one in given if one.extremes is not None), None)
        return Rule(items, items.kind != "on" if extremes is None else extremes == "masked")


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def _fits(pattern: str, column: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, column, re.DOTALL) is not None
