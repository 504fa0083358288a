"""The arithmetic of profiling, as pure functions on arrays: hashes, moments, compaction, counting.

Everything here is plain vectorised numpy: no Arrow, no sketches, no state. `_kernels.c` has the same arithmetic, to the
last bit, so that the choice of engine never changes a profile.

Hashes are MurmurHash3 x64 128 with Apache DataSketches' seed, over the same canonical bytes that DataSketches
hashes (https://github.com/apache/datasketches-cpp, `MurmurHash3.h` and `HllUtil.hpp`), so that cardinalities
counted here and by any Apache sketch can be merged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32] | NDArray[np.int64]
Hashes = tuple[NDArray[np.uint64], NDArray[np.uint64]]
_Scalar = TypeVar("_Scalar", bound=np.generic)

HASH_SEED = 9001
COUPON_SLOT_BITS = 26
_MOST_SAMPLED = 6  # quantiles take at least one of each 2**6 numbers

_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_F1, _F2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_NAN_BITS = np.uint64(0x7FF8000000000000)
_BLOCK = 16_384  # rows hashed at a time, so that the scratch arrays stay in the cache
_MASK64 = (1 << 64) - 1


# --- hashing ---------------------------------------------------------------------------------------------------


def canonical_bits(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """The 64 bits of each double as DataSketches hashes them: −0.0 is 0.0 and every NaN is the same NaN.

    `values`: (n,) float64. Returns (n,) uint64.
    """
    bits = (values + 0.0).view(np.uint64)
    missing = np.isnan(values)
    if missing.any():
        bits[missing] = _NAN_BITS
    return bits


def murmur_words(words: NDArray[np.uint64]) -> Hashes:
    """Hash each 8-byte word.

    `words`: (n,) uint64, the two's complement of integers or the canonical bits of doubles. Returns the two halves
    of the 128-bit hash, each (n,) uint64.
    """
    n = len(words)
    first, second = np.empty(n, np.uint64), np.empty(n, np.uint64)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        mixed = _mix_first(words[start:stop])
        h1 = mixed ^ np.uint64(HASH_SEED)
        h2 = np.full(stop - start, HASH_SEED, np.uint64)
        first[start:stop], second[start:stop] = _finish(h1, h2, np.uint64(8))
    return first, second


def murmur_bytes(starts: NDArray[np.int64], lengths: NDArray[np.int64], data: NDArray[np.uint8]) -> Hashes:
    """Hash byte strings that lie in one buffer.

    `starts`, `lengths`: (n,) int64, places in `data`; `data`: (m,) uint8. Returns the two halves of the 128-bit
    hash, each (n,) uint64. All strings advance together, 16 bytes a step, so the cost in steps is that of the
    longest string.
    """
    n = len(starts)
    h1, h2 = np.full(n, HASH_SEED, np.uint64), np.full(n, HASH_SEED, np.uint64)
    if n == 0:
        return h1, h2
    order = np.argsort(-lengths, kind="stable")
    at, sizes = starts[order], lengths[order]
    padded = np.concatenate([data, np.zeros(16, np.uint8)])
    words = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))
    blocks = sizes >> 4
    # `sizes` descends, so the strings that still have a whole block are always a prefix.
    live = np.searchsorted(-blocks, -np.arange(1, int(blocks[0]) + 1), side="right")
    for block, count in enumerate(live.tolist()):
        place = at[:count] + 16 * block
        a, b = h1[:count], h2[:count]
        a ^= _mix_first(words[place])
        a[:] = (_rotate(a, 27) + b) * np.uint64(5) + np.uint64(0x52DCE729)
        b ^= _mix_second(words[place + 8])
        b[:] = (_rotate(b, 31) + a) * np.uint64(5) + np.uint64(0x38495AB5)
    place, tail = at + (blocks << 4), sizes & 15
    low, high = np.minimum(tail, 8), np.maximum(tail - 8, 0)
    h1 ^= _mix_first(words[place] & _low_bytes(low))
    h2 ^= _mix_second(words[place + high.astype(bool) * 8] & _low_bytes(high))
    h1, h2 = _finish(h1, h2, sizes.astype(np.uint64))
    first, second = np.empty(n, np.uint64), np.empty(n, np.uint64)
    first[order], second[order] = h1, h2
    return first, second


def coupons(hashes: Hashes) -> NDArray[np.uint32]:
    """HLL coupons: in the low 26 bits the slot, above them 1 + the leading zeros of the second half (at most 63).

    Returns (n,) uint32, never 0. A sketch with 2**lg_k registers uses the low lg_k bits of the slot.
    """
    first, second = hashes
    high = (second >> np.uint64(32)).astype(np.uint32)
    zeros = 32 - np.frexp(high.astype(np.float64))[1]
    empty = np.flatnonzero(high == 0)
    if len(empty):
        low = (second[empty] & np.uint64(0xFFFFFFFF)).astype(np.float64)
        zeros[empty] = 64 - np.frexp(low)[1]
    values = np.minimum(zeros, 62).astype(np.uint32) + np.uint32(1)
    slots = (first & np.uint64((1 << COUPON_SLOT_BITS) - 1)).astype(np.uint32)
    return (values << np.uint32(COUPON_SLOT_BITS)) | slots


def raise_registers(registers: NDArray[np.uint8], found: NDArray[np.uint32]) -> None:
    """Bring HLL registers up to date with coupons, in place.

    `registers`: (2**lg_k,) uint8; `found`: (n,) uint32 coupons.
    """
    slots = found & np.uint32(len(registers) - 1)
    values = (found >> np.uint32(COUPON_SLOT_BITS)).astype(np.uint8)
    higher = np.flatnonzero(values > registers[slots])
    if len(higher):
        np.maximum.at(registers, slots[higher], values[higher])


def _rotate(words: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def _mix_first(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return _rotate(words * _C1, 31) * _C2


def _mix_second(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return _rotate(words * _C2, 33) * _C1


def _finish(h1: NDArray[np.uint64], h2: NDArray[np.uint64], size: NDArray[np.uint64] | np.uint64) -> Hashes:
    h1, h2 = h1 ^ size, h2 ^ size
    h1 += h2
    h2 += h1
    h1, h2 = _avalanche(h1), _avalanche(h2)
    h1 += h2
    h2 += h1
    return h1, h2


def _avalanche(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(33))) * _F1
    words = (words ^ (words >> np.uint64(33))) * _F2
    return words ^ (words >> np.uint64(33))


def _low_bytes(count: NDArray[np.int64]) -> NDArray[np.uint64]:
    masks = np.array([(1 << (8 * k)) - 1 for k in range(9)], np.uint64)
    return masks[count]


# --- moments ---------------------------------------------------------------------------------------------------


Moments = tuple[int, float, float]
"""How many numbers, their mean, and the sum of their squared deviations from it."""


def add_moments(moments: Moments, block: NDArray[np.float64]) -> Moments:
    """Moments of what was seen before together with one non-empty block of finite values.

    The formula of Chan, Golub and LeVeque (1979). A mean is always finite; squares that do not fit in a double give an
    infinite second moment. Equal values have exactly that mean and no spread.
    """
    before, mean, second = moments
    size = len(block)
    block_mean, block_second = _block_moments(block)
    total = before + size
    if not before:
        return total, block_mean, block_second
    share, apart = size / total, block_mean - mean
    if math.isfinite(apart):
        spread = block_second + (apart * apart) * (before * share)
        return total, mean + apart * share, second + spread
    return total, mean * (before / total) + block_mean * share, math.inf


def _block_moments(values: NDArray[np.float64]) -> tuple[float, float]:
    least = values.min()
    if least == values.max():
        return float(least), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean = _lane_sum(values) / len(values)
        if not math.isfinite(mean):
            mean = _lane_sum(values / len(values))
        deviations = values - mean
        return mean, _lane_sum(deviations * deviations)


def _lane_sum(terms: NDArray[np.float64]) -> float:
    """Eight sums side by side, each in order: a compiler may use vectors for it and gets the same bits."""
    whole = len(terms) & ~7
    lanes = terms[:whole].reshape(-1, 8).sum(axis=0).tolist()
    total = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
    for term in terms[whole:].tolist():
        total += term
    return total


def combine_moments(counts: Sequence[int], means: Sequence[float], seconds: Sequence[float]) -> Moments:
    """Count, mean and sum of squared deviations of several groups together.

    The many-way form of Chan, Golub and LeVeque (1979), summed without rounding error (`math.fsum`), so that the
    order of the groups does not matter and groups with one common mean keep exactly that mean.
    """
    groups = [group for group in zip(counts, means, seconds, strict=True) if group[0]]
    if not groups:
        return 0, 0.0, 0.0
    if len(groups) == 1:
        return groups[0]
    total = sum(count for count, _, _ in groups)
    anchor = max(groups)[1]
    mean = anchor + _exact_sum([(mean - anchor) * (count / total) for count, mean, _ in groups])
    if not math.isfinite(mean):
        mean = _exact_sum([mean * (count / total) for count, mean, _ in groups])
    spread = [second for _, _, second in groups]
    spread += [count * (apart * apart) for count, apart in ((count, m - mean) for count, m, _ in groups)]
    return total, mean, _exact_sum(spread)


def _exact_sum(terms: Sequence[float]) -> float:
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):
        return math.inf


# --- quantile compaction ---------------------------------------------------------------------------------------


def halve(
    items: NDArray[np.float64], *, weight: int, level: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compact one sorted KLL level: every second item goes up a level with twice the weight.

    Returns (what stays, what goes up). With an odd number the smallest item stays. Whether the even or the odd
    places go up is a coin; it is drawn from a hash of the items themselves, of `weight`, the number of values that
    the sketch has seen, and of the level, so that the same data always give the same sketch while the errors of
    different data remain independent.
    """
    odd = len(items) & 1
    # Wraps around on purpose: a sum is the same for every order and, unlike xor, does not cancel duplicates.
    drawn = int(np.add.reduce(items.view(np.uint64), dtype=np.uint64)) + weight * 0x9E3779B97F4A7C15 + level
    coin = int(_splitmix(np.array([drawn & _MASK64], np.uint64))[0]) & 1
    return items[:odd], items[odd + coin :: 2]


def sampling_level(seen: int, *, k: int, block: int) -> int:
    """The level at which the next numbers enter a KLL sketch: one of each 2**level stands for them.

    `seen`: how many came before; `block`: how many come now. One of four from k² / 2 numbers on, one of sixteen after
    sixteen times as many, and so on, at most one of 64. The rank of such a sample has a standard error of at most
    0.61 / k, a third of what the sketch itself is off by.
    """
    level, limit = 0, k * k // 2
    while seen >= limit and level < _MOST_SAMPLED and block % (4 << level) == 0:
        level, limit = level + 2, limit * 16
    return level


def one_of_each(values: NDArray[np.float64], *, seen: int, level: int) -> NDArray[np.float64]:
    """One of each 2**level consecutive values, drawn by their place; it stands for all of them.

    `values`: (2**level · m,); `seen`: how many came before; `level`: at least 1. Returns (m,).
    """
    groups = values.reshape(-1, 1 << level)
    places = np.arange(len(groups), dtype=np.uint64)
    drawn = _splitmix(places + np.uint64((seen * 0x9E3779B97F4A7C15) & _MASK64)) >> np.uint64(64 - level)
    return groups[places, drawn]


def _splitmix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The generator SplitMix64: a counter in, well mixed bits out."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


# --- counting --------------------------------------------------------------------------------------------------


def run_lengths(ordered: NDArray[_Scalar]) -> tuple[NDArray[_Scalar], NDArray[np.int64]]:
    """Distinct values of a sorted array and how often each occurs."""
    if len(ordered) == 0:
        return ordered, np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.empty(len(starts), np.int64)
    np.subtract(starts[1:], starts[:-1], out=counts[:-1])
    counts[-1] = len(ordered) - starts[-1]
    return ordered[starts], counts


def sum_by_key(
    keys: NDArray[np.uint64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Sorted distinct keys and the sum of the counts of each."""
    if len(keys) == 0:
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[starts], np.add.reduceat(counts, starts)


def heavy_hitters(
    counts: NDArray[np.int64], room: int, *, at_most_noise: int = 0
) -> tuple[NDArray[np.int64], int]:
    """Which counters a map with `room` places keeps, and what it takes off each of them.

    The rule of Misra and Gries in bulk: subtract the largest count that has no place and drop what is left with
    nothing. Counters up to `at_most_noise` are dropped too. Returns (places kept, ascending; amount subtracted),
    where the amount is at most the sum of the counts divided by `room` + 1 unless noise was larger. Every counter
    that is dropped held at most the amount. May keep nothing.
    """
    cut = 0
    if len(counts) > room:
        cut = int(np.partition(counts, len(counts) - room - 1)[len(counts) - room - 1])
    noise = counts[counts <= at_most_noise]
    if len(noise):
        cut = max(cut, int(noise.max()))
    return np.flatnonzero(counts > cut), cut


def dense_codes(codes: Codes, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct codes that occur, ascending, and the place of each row's code among them.

    `codes`: (n,) in [0, `limit`).
    """
    if limit <= 4 * len(codes) + 65_536:
        present = np.flatnonzero(np.bincount(codes, minlength=1))
        places = np.zeros(limit, np.int64)
        places[present] = np.arange(len(present))
        return present, places[codes]
    present = run_lengths(np.sort(codes))[0].astype(np.int64, copy=False)
    return present, np.searchsorted(present, codes)


def true_before(mask: NDArray[np.bool_], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many are true before each bound: the bounds of groups of consecutive rows after `mask` has been applied.

    `mask`: (n,) bool; `bounds`: (groups + 1,) int64, where each group starts. Same shape as `bounds`.
    """
    running = np.zeros(len(mask) + 1, np.int64)
    np.cumsum(mask, out=running[1:])
    return running[bounds]
