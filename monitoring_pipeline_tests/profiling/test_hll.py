"""The HLL sketch against exact counts and against the native library."""

from __future__ import annotations

import datasketches
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.sketches import Hll


def coupons(values: NDArray[np.int64]) -> NDArray[np.uint32]:
    return kernels.coupons(kernels.murmur_words(values.view(np.uint64)))


def own(values: range, *, lg_k: int = 12) -> Hll:
    return Hll.of(coupons(np.array(values, np.int64)), lg_k=lg_k)


def native(values: range, *, lg_k: int = 12, kind: object = datasketches.HLL_8) -> datasketches.hll_sketch:
    sketch = datasketches.hll_sketch(lg_k, kind)
    for value in values:
        sketch.update(value)
    return sketch


def united(*sketches: datasketches.hll_sketch, lg_k: int = 12) -> datasketches.hll_sketch:
    union = datasketches.hll_union(lg_k)
    for sketch in sketches:
        union.update(sketch)
    return union.get_result(datasketches.HLL_8)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 50, 384])
def test_few_values_are_counted_exactly(count: int) -> None:
    assert own(range(count)).distinct() == (count, count, count)


@pytest.mark.parametrize("count", [385, 1000, 4096, 30_000, 300_000])
def test_many_values_are_counted_within_the_documented_error(count: int) -> None:
    estimate, lower, upper = own(range(count)).distinct()
    assert abs(estimate / count - 1) < 3 * 1.04 / 64
    assert lower < estimate < upper
    assert lower * 0.98 < count < upper * 1.02


@pytest.mark.parametrize("count", [5000, 40_000])
@pytest.mark.parametrize("lg_k", [4, 10, 12])
def test_an_image_is_byte_for_byte_that_of_a_native_union(count: int, lg_k: int) -> None:
    halves = native(range(count // 2), lg_k=lg_k), native(range(count // 2, count), lg_k=lg_k)
    assert own(range(count), lg_k=lg_k).to_image() == united(*halves, lg_k=lg_k).serialize_compact()


@pytest.mark.parametrize("count", [385, 5000])
def test_registers_are_those_of_a_native_sketch(count: int) -> None:
    # Bytes 8 to 16 are the estimator of a sketch that saw its items in order, which ours does not claim.
    assert own(range(count)).to_image()[16:] == native(range(count)).serialize_compact()[16:]


@pytest.mark.parametrize(
    ("count", "lg_k"), [(0, 12), (1, 4), (7, 7), (8, 8), (100, 12), (384, 12), (5000, 21)]
)
def test_the_native_library_reads_few_values(count: int, lg_k: int) -> None:
    read = datasketches.hll_sketch.deserialize(own(range(count), lg_k=lg_k).to_image())
    assert round(read.get_estimate()) == count
    more = united(read, native(range(count, count + 5), lg_k=lg_k), lg_k=lg_k)
    assert more.get_estimate() == pytest.approx(count + 5, rel=0.2 if lg_k < 12 else 0.02)


@pytest.mark.parametrize("kind", [datasketches.HLL_4, datasketches.HLL_6, datasketches.HLL_8])
@pytest.mark.parametrize("count", [0, 3, 100, 5000])
@pytest.mark.parametrize("compact", [True, False])
def test_native_images_of_every_type_are_read(kind: object, count: int, compact: bool) -> None:
    sketch = native(range(count), kind=kind)
    image = sketch.serialize_compact() if compact else sketch.serialize_updatable()
    assert Hll.from_image(image).to_image() == own(range(count)).to_image()


@pytest.mark.parametrize(
    ("ours", "theirs"), [(range(10), range(5, 20)), (range(10), range(5000)), (range(9000), range(50))]
)
def test_a_merge_equals_the_native_union(ours: range, theirs: range) -> None:
    merged = Hll.merge_all([own(ours), Hll.from_image(native(theirs).serialize_compact())])
    assert merged is not None
    assert merged.to_image() == own(range(max(ours.stop, theirs.stop))).to_image()


def test_a_merge_of_sizes_takes_the_smaller() -> None:
    merged = Hll.merge_all(
        [own(range(20_000), lg_k=12), own(range(10_000, 30_000), lg_k=10), own(range(5), lg_k=12)]
    )
    assert merged is not None
    assert merged.to_image() == own(range(30_000), lg_k=10).to_image()


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50), min_size=1, max_size=5))
def test_chunks_and_order_leave_no_trace(chunks: list[list[int]]) -> None:
    arrays = [np.array(chunk, np.int64) for chunk in chunks]
    together = Hll.of(coupons(np.concatenate(arrays)), lg_k=4)
    in_pieces = Hll.of(np.zeros(0, np.uint32), lg_k=4)
    for array in arrays[::-1]:
        in_pieces = in_pieces.absorb(coupons(array))
    merged = Hll.merge_all([Hll.of(coupons(array), lg_k=4) for array in arrays])
    assert merged is not None
    assert together.to_image() == in_pieces.to_image() == merged.to_image()


@pytest.mark.parametrize(
    "image", [b"", bytes(8), b"\xff" * 50, b"\x0a\x01\x07\x0c\x00\x18\x00\x0a" + bytes(40)]
)
def test_what_is_no_sketch_is_refused(image: bytes) -> None:
    with pytest.raises(ProfileError, match="HLL"):
        Hll.from_image(image)


@given(st.data(), st.sampled_from([3, 100, 5000]))
def test_a_mutated_image_is_refused_or_read_but_never_worse(data: st.DataObject, count: int) -> None:
    image = bytearray(own(range(count), lg_k=10).to_image())
    for _ in range(data.draw(st.integers(1, 3))):
        image[data.draw(st.integers(0, min(len(image) - 1, 60)))] = data.draw(st.integers(0, 255))
    image = image[: data.draw(st.integers(0, len(image)))] if data.draw(st.booleans()) else image
    try:
        sketch = Hll.from_image(bytes(image))
    except ProfileError:
        return
    sketch.distinct()
    Hll.merge_all([sketch, own(range(10))])


def test_a_four_bit_image_without_its_exceptions_is_refused_and_kills_nobody() -> None:
    native = datasketches.hll_sketch(12, datasketches.HLL_4)
    for number in range(100_000):
        native.update(number)
    image = native.serialize_compact()

    with pytest.raises(ProfileError):
        Hll.from_image(image[: 40 + 2048])
