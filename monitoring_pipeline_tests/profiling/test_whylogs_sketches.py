"""Sketches as other libraries write them, decoded without those libraries."""

# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import struct
from contextlib import suppress

import datasketches
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.sketches import Hll, Kll
from monitoring_pipeline.profiling.whylogs.sketches import (
    kll_from_whylogs,
    kll_to_whylogs,
    without_infinities,
)

HLL_TYPES = [datasketches.HLL_4, datasketches.HLL_6, datasketches.HLL_8]


def native_hll(values: range, *, lg_k: int, kind: object) -> datasketches.hll_sketch:
    sketch = datasketches.hll_sketch(lg_k, kind)
    for value in values:
        sketch.update(value)
    return sketch


def registers_of(sketch: Hll) -> list[int]:
    assert sketch.registers is not None
    return sketch.registers.tolist()


@pytest.mark.parametrize("kind", HLL_TYPES)
@pytest.mark.parametrize("count", [1_000, 30_000, 200_000])
@pytest.mark.parametrize("lg_k", [4, 5, 10, 12])
def test_an_hll_of_any_type_has_the_registers_that_the_native_library_gives_it(
    kind: object, count: int, lg_k: int
) -> None:
    sketch = native_hll(range(count), lg_k=lg_k, kind=kind)
    union = datasketches.hll_union(lg_k)
    union.update(sketch)
    expected = Hll.from_image(union.get_result(datasketches.HLL_8).serialize_compact())
    for image in (sketch.serialize_compact(), sketch.serialize_updatable()):
        assert registers_of(Hll.from_image(image)) == registers_of(expected)


@pytest.mark.parametrize("kind", HLL_TYPES)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 300])
def test_an_hll_of_few_values_is_exact(kind: object, count: int) -> None:
    sketch = native_hll(range(count), lg_k=12, kind=kind)
    assert Hll.from_image(sketch.serialize_compact()).distinct() == (count, count, count)


def test_an_hll_whose_exceptions_are_missing_is_refused() -> None:
    image = bytearray(native_hll(range(30_000), lg_k=10, kind=datasketches.HLL_4).serialize_compact())
    image[36:40] = bytes(4)  # the native library believes this count, and crashes on the first exception
    image[40:60] = b"\xff" * 20
    with pytest.raises(ProfileError, match="HLL sketch that is damaged"):
        Hll.from_image(bytes(image[: 40 + 512]))


@given(
    size=st.integers(0, 200),
    lg_k=st.integers(0, 255),
    mode=st.integers(0, 255),
    flags=st.integers(0, 255),
    rest=st.binary(max_size=80),
)
def test_an_hll_that_claims_anything_is_read_or_refused(
    size: int, lg_k: int, mode: int, flags: int, rest: bytes
) -> None:
    for preamble in (2, 3, 10):
        with suppress(ProfileError):
            Hll.from_image(bytes([preamble, 1, 7, lg_k, 4, flags, size, mode]) + rest)


@pytest.mark.parametrize("count", [0, 1, 2, 500, 20_000])
def test_a_kll_of_doubles_keeps_its_values_through_the_preamble_of_whylogs(count: int) -> None:
    sketch = datasketches.kll_doubles_sketch(200)
    values = np.random.default_rng(3).normal(size=count)
    sketch.update(values)
    image = sketch.serialize()
    found = kll_from_whylogs(kll_to_whylogs(image))
    assert found.n == count
    if count:
        assert (found.minimum, found.maximum) == (values.min(), values.max())
    for level, expected in zip(found.levels, Kll.from_image(image).levels, strict=True):
        assert level.tolist() == expected.tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 500, 20_000])
def test_a_kll_of_floats_is_read_as_doubles(count: int) -> None:
    sketch = datasketches.kll_floats_sketch(200)
    values = np.random.default_rng(3).normal(size=count).astype(np.float32)
    sketch.update(values)
    found = kll_from_whylogs(sketch.serialize())
    assert found.n == count
    if count:
        assert (found.minimum, found.maximum) == (float(values.min()), float(values.max()))
        assert found.quantiles([0.5])[0] == pytest.approx(float(sketch.get_quantile(0.5)), abs=0.05)


def test_infinities_are_counted_and_left_out_while_every_value_is_kept() -> None:
    sketch = datasketches.kll_doubles_sketch(200)
    sketch.update(np.array([3.0, np.inf, 1.0, -np.inf, np.inf, 2.0]))
    finite, negative, positive = without_infinities(kll_from_whylogs(sketch.serialize()))
    assert (finite.n, finite.minimum, finite.maximum, negative, positive) == (3, 1.0, 3.0, 1, 2)
    assert Kll.from_image(finite.to_image()).quantiles([0, 0.5, 1]).tolist() == [1.0, 2.0, 3.0]


def test_a_sketch_of_nothing_but_infinities_is_empty() -> None:
    sketch = datasketches.kll_doubles_sketch(200)
    sketch.update(np.array([np.inf, np.inf]))
    finite, negative, positive = without_infinities(kll_from_whylogs(sketch.serialize()))
    assert (finite.n, negative, positive) == (0, 0, 2)


def test_values_beyond_the_extremes_of_their_own_sketch_are_refused() -> None:
    sketch = datasketches.kll_doubles_sketch(200)
    sketch.update(np.array([1.0, 2.0, 3.0]))
    image = bytearray(sketch.serialize())
    image[24:32] = struct.pack("<d", 2.5)  # the minimum, behind the place of the only level
    with pytest.raises(ProfileError, match="beyond its own extremes"):
        kll_from_whylogs(bytes(image))
