"""Distinct values: HyperLogLog on DataSketches' own hashes, so that any Apache HLL can be merged with it.

Coupons and registers are plain arrays; the union of many sketches is a maximum over them. The native library
turns registers into an estimate. Images are decoded here, all three types of them: the native library trusts what it
reads, and an HLL_4 image whose list of exceptions is missing takes the process down with it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.sketches import native

_FAMILY, _EMPTY, _COMPACT, _OUT_OF_ORDER = 7, 4, 8, 16
_LIST, _SET, _REGISTERS = 0, 1, 2
_HLL_4, _HLL_6, _HLL_8 = 0, 1, 2
_DATA, _EXCEPTION, _SLOT_BITS, _MOST = 40, 15, 26, 63
_LIST_ROOM = 8
_POWERS = 2.0 ** -np.arange(64)


@dataclass(frozen=True, eq=False)
class Hll:
    """A HyperLogLog sketch (Flajolet et al. 2007, as in Apache DataSketches), exact while it holds few values.

    Either `coupons`, the sorted distinct (k,) uint32 coupons, or `registers`, (2**lg_k,) uint8.
    """

    lg_k: int
    coupons: NDArray[np.uint32] | None
    registers: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, coupons: NDArray[np.uint32], *, lg_k: int) -> Self:
        """Sketch of coupons in any order (see `kernels.coupons`)."""
        return cls(lg_k, np.zeros(0, np.uint32)).absorb(coupons)

    def absorb(self, coupons: NDArray[np.uint32]) -> Self:
        """This sketch with more coupons."""
        if self.registers is None:
            held = self.coupons if self.coupons is not None else np.zeros(0, np.uint32)
            distinct, _ = kernels.run_lengths(np.sort(np.concatenate([held, coupons])))
            if len(distinct) <= coupon_room(self.lg_k):
                return type(self)(self.lg_k, distinct)
            coupons, registers = distinct, np.zeros(1 << self.lg_k, np.uint8)
        else:
            registers = self.registers.copy()
        kernels.raise_registers(registers, coupons)
        return type(self)(self.lg_k, None, registers)

    @classmethod
    def merge_all(cls, sketches: Iterable[Self]) -> Self | None:
        """The sketch of the union, with the lowest lg_k of those that count in registers; None of nothing."""
        parts = list(sketches)
        if len(parts) < 2:
            return parts[0] if parts else None
        grids = [part for part in parts if part.registers is not None]
        lists = [part.coupons for part in parts if part.coupons is not None]
        coupons = np.concatenate(lists) if lists else np.zeros(0, np.uint32)
        if not grids:
            return cls.of(coupons, lg_k=min(part.lg_k for part in parts))
        lg_k = min(part.lg_k for part in parts)
        registers = np.stack(
            [_fold(part.registers, lg_k) for part in grids if part.registers is not None]
        ).max(axis=0)
        kernels.raise_registers(registers, coupons)
        return cls(lg_k, None, registers)

    def distinct(self) -> tuple[float, float, float]:
        """Estimate, lower and upper bound at two standard errors (1.04 / √2**lg_k each, so 3.3 % at lg_k 12).

        While there are few values (384 at lg_k 12) all three are the exact count: two values share a coupon with a
        chance below 1 in 2,000 even then.
        """
        if self.registers is None:
            count = float(len(self.coupons)) if self.coupons is not None else 0.0
            return count, count, count
        return native.hll_estimate(self.to_image())

    def to_image(self) -> bytes:
        """Apache compact image with target HLL_8 (`HllArray-internal.hpp`, `CouponList-internal.hpp`).

        Registers are marked as out of order, as those of every merged Apache sketch are, so that readers use the
        estimator that does not depend on the order of arrival.
        """
        if self.registers is not None:
            counts = np.bincount(self.registers, minlength=64)[:64]
            low, high = float((counts[:32] * _POWERS[:32]).sum()), float((counts[32:] * _POWERS[32:]).sum())
            head = (10, 1, _FAMILY, self.lg_k, 0, _COMPACT | _OUT_OF_ORDER, 0, _REGISTERS | _HLL_8 << 2)
            return struct.pack("<8B3dii", *head, 0.0, low, high, int(counts[0]), 0) + self.registers.tobytes()
        coupons = np.zeros(0, np.uint32) if self.coupons is None else self.coupons
        count = len(coupons)
        if count < _LIST_ROOM:
            flags = _COMPACT if count else _COMPACT | _EMPTY
            head = struct.pack("<8B", 2, 1, _FAMILY, self.lg_k, 3, flags, count, _LIST | _HLL_8 << 2)
            return head + coupons.astype("<u4").tobytes()
        lg_array = 5
        while (3 << lg_array) < 4 * count:
            lg_array += 1
        head = struct.pack("<8Bi", 3, 1, _FAMILY, self.lg_k, lg_array, _COMPACT, 0, _SET | _HLL_8 << 2, count)
        return head + coupons.astype("<u4").tobytes()

    @classmethod
    def from_image(cls, image: bytes) -> Self:
        """Read an Apache image of any HLL type. Raises ProfileError unless its parts fit together."""
        damaged = ProfileError("an HLL sketch that is damaged or of another kind")
        if len(image) < 8 or image[1] != 1 or image[2] != _FAMILY or not 4 <= image[3] <= 21:
            raise damaged
        preamble, lg_k, flags, mode, kind = image[0], image[3], image[5], image[7] & 3, image[7] >> 2 & 3
        if mode == _LIST and preamble == 2:
            coupons = _coupons_at(image, 8, image[6])
        elif mode == _SET and preamble == 3 and len(image) >= 12 and flags & _COMPACT:
            coupons = _coupons_at(image, 12, int.from_bytes(image[8:12], "little"))
        elif mode == _SET and preamble == 3 and image[4] <= lg_k:
            coupons = _coupons_at(image, 12, 1 << image[4])
            coupons = None if coupons is None else coupons[coupons != 0]
        elif mode == _REGISTERS and preamble == 10 and len(image) >= _DATA and kind <= _HLL_8:
            registers = _REGISTERS_OF[kind](image, lg_k)
            if registers is None or registers.max() > _MOST:
                raise damaged
            return cls(lg_k, None, registers)
        else:
            raise damaged
        if coupons is None or len(coupons) > coupon_room(lg_k) + _LIST_ROOM or not (coupons >> 26).all():
            raise damaged
        return cls.of(coupons, lg_k=lg_k)


def coupon_room(lg_k: int) -> int:
    """How many coupons a sketch holds before it turns to registers, as in Apache."""
    return _LIST_ROOM - 1 if lg_k < 8 else 3 << (lg_k - 5)


def _coupons_at(image: bytes, offset: int, count: int) -> NDArray[np.uint32] | None:
    if len(image) < offset + 4 * count:
        return None
    return np.frombuffer(image, "<u4", count=count, offset=offset).astype(np.uint32)


def _fold(registers: NDArray[np.uint8], lg_k: int) -> NDArray[np.uint8]:
    """Registers of a coarser sketch: slots are the low bits of the hash, so equal low bits fall together."""
    return registers if len(registers) == 1 << lg_k else registers.reshape(-1, 1 << lg_k).max(axis=0)


def _four_bits(image: bytes, lg_k: int) -> NDArray[np.uint8] | None:
    """Registers above a common minimum, two in a byte; 15 stands for an exception that is listed behind them."""
    least, end = image[6], _DATA + (1 << lg_k >> 1)
    packed = np.frombuffer(image[_DATA:end], np.uint8)
    rest = image[end:]
    if len(packed) != 1 << lg_k >> 1 or len(rest) % 4 or least > _MOST:
        return None
    registers = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
    exceptional = np.flatnonzero(registers == _EXCEPTION)
    registers = np.add(registers, least, dtype=np.uint8)
    pairs = np.frombuffer(rest, "<u4")
    pairs = np.sort(pairs[pairs != 0])
    slots = (pairs & np.uint32((1 << _SLOT_BITS) - 1)).astype(np.int64) & ((1 << lg_k) - 1)
    order = np.argsort(slots, kind="stable")
    if not np.array_equal(slots[order], exceptional):
        return None
    registers[exceptional] = (pairs >> np.uint32(_SLOT_BITS)).astype(np.uint8)[order]
    return registers


def _six_bits(image: bytes, lg_k: int) -> NDArray[np.uint8] | None:
    """Registers of six bits one after the other, least significant bit first, and one byte more."""
    size = (3 << lg_k) >> 2
    if len(image) != _DATA + size + 1:
        return None
    bits = np.unpackbits(np.frombuffer(image, np.uint8, offset=_DATA, count=size), bitorder="little")
    return np.packbits(bits.reshape(-1, 6), axis=1, bitorder="little")[:, 0]


def _eight_bits(image: bytes, lg_k: int) -> NDArray[np.uint8] | None:
    """Registers as they are."""
    registers = np.frombuffer(image, np.uint8)[_DATA:].copy()
    return registers if len(registers) == 1 << lg_k else None


_REGISTERS_OF = {_HLL_4: _four_bits, _HLL_6: _six_bits, _HLL_8: _eight_bits}
