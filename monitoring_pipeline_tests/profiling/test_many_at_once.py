"""Many sketches at once: compiled or in numpy the same bytes, and what is damaged is refused in the same words."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import engine, many_at_once, wire
from monitoring_pipeline.profiling.extracting import Blobs, extract
from monitoring_pipeline.profiling.profile import (
    COMPONENTS_LIMIT,
    COMPONENTS_MAGIC,
    component_from_bytes,
    components_from_bytes,
    components_to_bytes,
)

compiled = pytest.importorskip("monitoring_pipeline.profiling._kernels", reason="no C compiler was at hand")

BOTH = pytest.mark.parametrize("kernels", [compiled, many_at_once])

_PARTS = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=9), st.integers(1, 3_000)),
    st.integers(0, 9_000).map(lambda size: np.random.default_rng(size).bytes(size)),
)
_COMPONENTS = st.dictionaries(st.sampled_from(["a.v1", "b.v1", "kll.v1", "ü", ""]), _PARTS, max_size=4)


def as_a_whole(components: dict[str, bytes]) -> bytes:
    """As earlier releases wrote them."""
    return wire.seal(COMPONENTS_MAGIC, wire.pack_components(components))


@given(st.lists(st.tuples(_COMPONENTS, st.sampled_from([components_to_bytes, as_a_whole])), max_size=6))
@settings(max_examples=100, deadline=None)
def test_a_component_is_found_in_new_and_in_old_containers(
    written: list[tuple[dict[str, bytes], Callable[[dict[str, bytes]], bytes]]],
) -> None:
    sealed = [seal(components) for components, seal in written]
    assert [components_from_bytes(one) for one in sealed] == [components for components, _ in written]
    for kernels in (compiled, many_at_once):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "find_components", kernels.find_components)
            places, images = extract(sealed, "kll.v1")
        found = dict(zip(places.tolist(), [images[at] for at in range(len(images))], strict=True))
        expected = {at: one["kll.v1"] for at, (one, _) in enumerate(written) if "kll.v1" in one}
        assert found == expected
        assert places.tolist() == sorted(found)


def test_usual_containers_need_no_python() -> None:
    compressible, small, noise = b"ab" * 1_000, b"x", np.random.default_rng(0).bytes(5_000)
    sealed = [components_to_bytes({"kll.v1": part, "other": noise}) for part in (compressible, small, noise)]
    joined, _, odd = compiled.find_components(sealed, COMPONENTS_MAGIC, b"kll.v1", COMPONENTS_LIMIT)
    assert not odd
    assert joined == compressible + small + noise


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damage_is_refused_in_the_same_words(data: st.DataObject) -> None:
    seal = data.draw(st.sampled_from([components_to_bytes, as_a_whole]))
    image = bytearray(seal({"kll.v1": b"abc" * data.draw(st.integers(0, 400)), "other": b"0123456789"}))
    for _ in range(data.draw(st.integers(1, 3))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    image = image[: data.draw(st.integers(0, len(image)))] if data.draw(st.booleans()) else image
    if len(image) >= 20 and data.draw(st.booleans()):  # damage that the checksum does not show
        image[8:12] = bytes(4)
        image[8:12] = zlib.crc32(bytes(image)).to_bytes(4, "little")
    sealed = bytes(image)
    expected: bytes | str | None
    try:
        expected = component_from_bytes(sealed, "kll.v1")
    except ProfileError as error:
        expected = str(error)
    try:
        _, images = extract([sealed], "kll.v1")
        found = images[0] if len(images) else None
    except ProfileError as error:
        found = str(error)
    assert type(found) is type(expected)
    assert hash(found) == hash(expected)  # of large parts pytest would draw every difference


def test_a_block_that_fills_less_than_it_claims_is_refused() -> None:
    image = components_to_bytes({"kll.v1": b"abc" * 400})
    short = components_to_bytes({"kll.v1": b"abc" * 401})
    claimed = bytearray(image)
    at = image.index((1_200).to_bytes(4, "little"))
    claimed[at : at + 4] = (1_203).to_bytes(4, "little")
    claimed[12:20] = short[12:20]  # the length of the plain body, in the header
    claimed[8:12] = bytes(4)
    claimed[8:12] = zlib.crc32(bytes(claimed)).to_bytes(4, "little")
    for opened in (
        lambda: components_from_bytes(bytes(claimed)),
        lambda: component_from_bytes(bytes(claimed), "kll.v1"),
        lambda: extract([bytes(claimed)], "kll.v1"),
    ):
        with pytest.raises(ProfileError, match="cannot be decompressed"):
            opened()


@given(
    st.lists(st.lists(st.text(max_size=9), max_size=5), max_size=5), st.integers(-3, 3), st.integers(0, 60)
)
@settings(max_examples=100, deadline=None)
def test_both_engines_walk_the_same_texts(images: list[list[str]], wrong: int, place: int) -> None:
    parts = [b"".join(wire.chunk(text.encode()) for text in texts) for texts in images]
    data = bytearray(b"".join(parts))
    if wrong and place < len(data):
        data[place] = (data[place] + wrong) % 256
    sizes = np.array([len(part) for part in parts], np.int64)
    ends, counts = np.cumsum(sizes), np.array([len(texts) for texts in images], np.int64)
    arguments = (np.frombuffer(bytes(data), np.uint8), ends - sizes, ends, counts)
    found = compiled.text_places(*arguments)
    assert found == many_at_once.text_places(*arguments)
    if not wrong and found is not None:
        starts, stops = (np.frombuffer(one, np.int64).tolist() for one in found)
        texts = [bytes(data[start:stop]).decode() for start, stop in zip(starts, stops, strict=True)]
        assert texts == [text for one in images for text in one]


_NUMBERS = st.one_of(
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, 0.1, 0.3, 1 / 3, 1e300, -1e300, 5e-324]),
    st.integers(0, 30).map(lambda edge: 0.1 * edge),
)


@given(
    st.lists(
        st.tuples(st.lists(_NUMBERS, max_size=9), st.integers(0, 2), _NUMBERS, st.floats(1e-300, 1e300)),
        max_size=5,
    )
)
@settings(max_examples=200, deadline=None)
def test_both_engines_put_values_into_the_same_bins(
    sketches: list[tuple[list[float], int, float, float]],
) -> None:
    values = np.array([value for one in sketches for value in one[0]], np.float64)
    weights = np.exp2(np.arange(len(values)) % 5)
    sizes = np.array([len(one[0]) for one in sketches], np.int64)
    rows = np.array([one[1] for one in sketches], np.int64)
    low, width = (np.array([one[place] for one in sketches], np.float64) for place in (2, 3))
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.maximum(np.abs(low), np.abs(low + 30 * width))
        regular = np.isfinite(scale) & (width > 2.0**-40 * scale)
    with np.errstate(over="ignore", invalid="ignore"):
        found = [
            np.frombuffer(kernels.masses(values, weights, sizes, rows, low, width, regular, 3, 30))
            for kernels in (compiled, many_at_once)
        ]
    np.testing.assert_array_equal(found[0], found[1])
    expected = np.zeros((3, 31))
    at = 0
    for given_values, row, start, step in sketches:
        for value in given_values:
            with np.errstate(over="ignore"):
                expected[row, sum(start + edge * np.float64(step) <= value for edge in range(30))] += weights[
                    at
                ]
            at += 1
    np.testing.assert_array_equal(found[0].reshape(3, 31), expected)


@BOTH
def test_parts_come_one_after_the_other(kernels: ModuleType) -> None:
    data = np.frombuffer(b"abcdef", np.uint8)
    found = kernels.gather(data, np.array([3, 0, 6, 2], np.int64), np.array([2, 1, 0, 4], np.int64))
    assert found == b"de" + b"a" + b"cdef"


@BOTH
@pytest.mark.parametrize(("start", "size"), [(-1, 1), (0, -1), (0, 4), (3, 1), (4, 0), (2**62, 2**62)])
def test_a_part_outside_of_the_data_is_refused(kernels: ModuleType, start: int, size: int) -> None:
    with pytest.raises(ValueError, match="not within the data"):
        kernels.gather(np.zeros(3, np.uint8), np.array([start], np.int64), np.array([size], np.int64))


@BOTH
@pytest.mark.parametrize(("size", "row"), [(1, 0), (3, 0), (-1, 0), (2, 1), (2, -1)])
def test_sizes_and_rows_that_do_not_fit_are_refused(kernels: ModuleType, size: int, row: int) -> None:
    two, one = np.array([1.0, 2.0]), np.array([0.0])
    sizes, rows = np.array([size], np.int64), np.array([row], np.int64)
    with pytest.raises(ValueError, match="not those of the values"):
        kernels.masses(two, two, sizes, rows, one, one + 1, np.array([True]), 1, 30)


def test_byte_strings_keep_their_order_when_they_are_chosen_and_joined() -> None:
    some = Blobs.of([b"ab", b"", b"cde"])
    chosen = some.take(np.array([2, 0], np.int64))
    both = Blobs.joined([chosen, Blobs.of([b"f"])])
    assert [both[at] for at in range(len(both))] == [b"cde", b"ab", b"f"]
