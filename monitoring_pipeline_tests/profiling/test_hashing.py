"""The vectorised hash against the one inside the native sketches."""

from __future__ import annotations

import datasketches
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.profiling import kernels, profile


def native_coupon(value: str | float) -> int:
    sketch = datasketches.hll_sketch(12)
    sketch.update(value)
    return int.from_bytes(sketch.serialize_compact()[8:12], "little")


def counted(array: pa.Array) -> set[int]:
    """The coupons of a few values, as they lie in the image of the sketch."""
    image = profile(pa.table({"x": array})).columns[""]["x"].hll
    assert image is not None
    return set(np.frombuffer(image, "<u4", offset=4 * image[0]).tolist())  # the size of the head, in words


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_hash_as_the_native_sketch_hashes_them(value: int) -> None:
    words = np.array([value], np.int64).view(np.uint64)
    assert kernels.coupons(kernels.murmur_words(words)).tolist() == [native_coupon(value)]


@given(st.floats(width=64))
def test_doubles_hash_as_the_native_sketch_hashes_them(value: float) -> None:
    words = kernels.canonical_bits(np.array([value]))
    assert kernels.coupons(kernels.murmur_words(words)).tolist() == [native_coupon(value)]


@given(st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=20))
def test_texts_of_any_lengths_hash_as_the_native_sketch_hashes_them(texts: list[str]) -> None:
    assert counted(pa.array(texts)) == {native_coupon(text) for text in texts}


@pytest.mark.parametrize("length", [*range(1, 70), 127, 128, 129, 1023, 1024, 1025, 5000])
def test_each_tail_length_hashes_as_the_native_sketch_hashes_it(length: int) -> None:
    text = "".join(chr(97 + i % 26) for i in range(length))
    assert counted(pa.array([text])) == {native_coupon(text)}


def test_unsigned_and_narrow_integers_hash_like_wide_ones() -> None:
    for kind in (
        pa.int8(),
        pa.uint8(),
        pa.int16(),
        pa.uint16(),
        pa.int32(),
        pa.uint32(),
        pa.int64(),
        pa.uint64(),
    ):
        found = counted(pa.array([0, 1, 100], kind))
        assert found == {native_coupon(0), native_coupon(1), native_coupon(100)}


def test_narrow_floats_hash_as_doubles() -> None:
    for kind in (pa.float16(), pa.float32(), pa.float64()):
        found = counted(pa.array([np.float16(0.5), np.float16(-0.0)], kind))
        assert found == {native_coupon(0.5), native_coupon(0.0)}


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_coupon_counts_leading_zeros_exactly(first: int, second: int) -> None:
    found = int(kernels.coupons((np.array([first], np.uint64), np.array([second], np.uint64)))[0])
    assert found >> 26 == min(64 - second.bit_length(), 62) + 1
    assert found & (2**26 - 1) == first & (2**26 - 1)


def test_hashing_in_blocks_equals_hashing_one_by_one() -> None:
    words = np.arange(40_000, dtype=np.uint64)
    together = kernels.murmur_words(words)
    alone = kernels.murmur_words(words[39_999:])
    assert together[0][39_999] == alone[0][0]
    assert together[1][39_999] == alone[1][0]
