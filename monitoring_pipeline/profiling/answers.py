"""What predictions, scores and targets say, whatever their Arrow types: numbers, yes or no, or texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.profiling.performance import MAX_LABELS
from monitoring_pipeline.profiling.values import doubles, plain

Texts = Sequence[str | None]


@dataclass(frozen=True, eq=False)
class Answers:
    """The values of one column: numbers (n,) float64, NaN where missing, or codes (n,) into texts, -1 where missing."""

    kind: Literal["number", "boolean", "text"]
    present: NDArray[np.bool_]
    numbers: NDArray[np.float64]
    codes: NDArray[np.int64]
    texts: Texts

    @property
    def known(self) -> NDArray[np.float64]:
        """The numbers that are there."""
        return self.numbers[self.present]

    @property
    def whole(self) -> bool:
        """Whether there is nothing after the decimal point of any number."""
        return self.kind != "number" or bool((self.known == np.floor(self.known)).all())

    @property
    def binary(self) -> bool:
        """Whether it holds nothing but yes and no, or 1 and 0."""
        if self.kind != "number":
            return self.kind == "boolean"
        return bool(((self.known == 0) | (self.known == 1)).all())

    @property
    def is_share(self) -> bool:
        """Whether every number is between 0 and 1."""
        return bool(((self.known >= 0) & (self.known <= 1)).all())

    def labels(self, *, as_numbers: bool) -> tuple[NDArray[np.int64], Texts] | None:
        """The values as labels: codes (n,), -1 where missing, and their texts. None when there are too many numbers."""
        if self.kind == "text":
            return self.codes, self.texts
        if self.kind == "boolean":
            codes = np.where(self.present, self.numbers, -1).astype(np.int64)
            return codes, ("0", "1") if as_numbers else ("False", "True")
        distinct, places = np.unique(self.known, return_inverse=True)
        if len(distinct) > MAX_LABELS:
            return None
        codes = np.full(len(self.numbers), -1, np.int64)
        codes[self.present] = places
        return codes, [f"{number + 0.0:.0f}" for number in distinct]


def read_answers(array: pa.Array) -> Answers | None:
    """The values of a column; None of a type that is neither a number nor a label."""
    array = plain(array)
    kind = array.type
    if pa.types.is_boolean(kind):
        return _of_numbers("boolean", array.cast(pa.int8()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _of_numbers("number", array)
    if not (pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return None
    encoded = array if pa.types.is_dictionary(kind) else array.dictionary_encode()
    texts = [_text(value) for value in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    present = np.array([*(text is not None for text in texts), False], np.bool_)[codes]
    return Answers("text", present, np.zeros(0), np.where(present, codes, -1), texts)


def _of_numbers(kind: Literal["number", "boolean"], array: pa.Array) -> Answers:
    array = doubles(array) if pa.types.is_decimal(array.type) else array
    found = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    numbers = found.astype(np.float64, copy=False)
    return Answers(kind, np.isfinite(numbers), numbers, np.zeros(0, np.int64), ())


def _text(value: object) -> str | None:
    return (
        value.decode(errors="replace") if isinstance(value, bytes) else None if value is None else str(value)
    )
