/* Distinct values of a cell: a set of coupons while they are few, then the registers of HyperLogLog. */

#ifndef MONITORING_DISTINCT_H
#define MONITORING_DISTINCT_H

#include "cells.h"

static inline void raise_register(uint8_t *registers, uint32_t mask, uint32_t coupon)
{
    uint8_t value = (uint8_t)(coupon >> SLOT_BITS);
    if (value > registers[coupon & mask]) registers[coupon & mask] = value;
}

BODY raise_registers_body(uint8_t *restrict registers, uint32_t mask, const Hashes *restrict hashes, int64_t from,
                          int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        uint64_t second = hashes->second[i];
        uint8_t had = registers[hashes->first[i] & mask];
        /* More zeros than the register knows of are rare, and counting them is slow on older processors. */
        if (!(second >> 1 >> (63 - had))) raise_register(registers, mask, coupon_of((Hash){hashes->first[i], second}));
    }
}
TWICE(raise_registers,
      (uint8_t *restrict registers, uint32_t mask, const Hashes *restrict hashes, int64_t from, int64_t to),
      (registers, mask, hashes, from, to))

static inline uint32_t spread(uint32_t coupon, int bits) { return (coupon * 0x9e3779b1u) >> (32 - bits); }

static int begin_coupons(const Cells *self, const Cell *cell, int64_t rows, Scratch *scratch)
{
    if (cell->registers || !has_hashes(self->kind)) return FINE;
    int64_t most = cell->coupon_count + rows;
    if (most > self->max_coupons + 1) most = self->max_coupons + 1;
    int64_t size = power_of_two_from(2 * most);
    scratch->coupon_bits = bits_of(size);
    memset(scratch->coupon_table, 0, (size_t)size * 4);
    for (int64_t i = 0; i < cell->coupon_count; i++) {
        uint32_t at = spread(cell->coupons[i], scratch->coupon_bits);
        while (scratch->coupon_table[at]) at = (at + 1) & (uint32_t)(size - 1);
        scratch->coupon_table[at] = cell->coupons[i];
    }
    return FINE;
}

/* Coupons one by one, as they come with the texts of a dictionary. Stops where registers are needed. */
static int64_t add_coupons(const Cells *self, Cell *cell, const uint32_t *found, int64_t count,
                           const Scratch *scratch, int *trouble)
{
    uint32_t *table = scratch->coupon_table, mask = (1u << scratch->coupon_bits) - 1;
    int64_t i = 0;
    for (; i < count; i++) {
        uint32_t coupon = found[i], at = spread(coupon, scratch->coupon_bits);
        while (table[at] != coupon && table[at]) at = (at + 1) & mask;
        if (table[at]) continue;
        if (cell->coupon_count == self->max_coupons) break;
        if (!grow((void **)&cell->coupons, &cell->coupon_room, cell->coupon_count + 1, 4)) {
            *trouble = NO_MEMORY;
            return count;
        }
        table[at] = cell->coupons[cell->coupon_count++] = coupon;
    }
    if (i == count) return count;
    if (!(cell->registers = calloc(1, (size_t)1 << self->lg_k))) {
        *trouble = NO_MEMORY;
        return count;
    }
    for (int64_t c = 0; c < cell->coupon_count; c++)
        raise_register(cell->registers, (1u << self->lg_k) - 1, cell->coupons[c]);
    free(cell->coupons);
    cell->coupons = NULL;
    cell->coupon_count = cell->coupon_room = 0;
    return i;
}

static int add_found(const Cells *self, Cell *cell, const uint32_t *found, int64_t count, const Scratch *scratch)
{
    int trouble = FINE;
    int64_t i = cell->registers ? 0 : add_coupons(self, cell, found, count, scratch, &trouble);
    for (; i < count; i++) raise_register(cell->registers, (1u << self->lg_k) - 1, found[i]);
    return trouble;
}

static int add_hashes(const Cells *self, Cell *cell, const Hashes *hashes, int64_t count, const Scratch *scratch)
{
    int trouble = FINE;
    int64_t done = 0;
    if (!cell->registers) {
        uint32_t found[BLOCK];
        for (int64_t i = 0; i < count; i++) found[i] = coupon_of((Hash){hashes->first[i], hashes->second[i]});
        done = add_coupons(self, cell, found, count, scratch, &trouble);
    }
    if (done < count) raise_registers(cell->registers, (1u << self->lg_k) - 1, hashes, done, count);
    return trouble;
}

#endif
