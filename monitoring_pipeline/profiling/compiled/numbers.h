/* Numbers of a cell: extremes, moments, and blocks for its quantile sketch. */

#ifndef MONITORING_NUMBERS_H
#define MONITORING_NUMBERS_H

#include <math.h>
#include "cells.h"

#define MOST_SAMPLED 6 /* quantiles take at least one of each 2^6 numbers */

static double tree_sum(const double lanes[8])
{
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

/* Eight sums side by side, each in order, so that the compiler may use vectors and numpy gives the same bits. */
#define LANE_SUM(result, count, term)                                                                              \
    do {                                                                                                           \
        double lanes[8] = {0, 0, 0, 0, 0, 0, 0, 0};                                                                \
        int64_t whole = (count) & ~(int64_t)7, i = 0;                                                              \
        for (; i < whole; i += 8)                                                                                  \
            for (int lane = 0; lane < 8; lane++) { double v = values[i + lane]; lanes[lane] += (term); }           \
        double sum = tree_sum(lanes);                                                                              \
        for (; i < (count); i++) { double v = values[i]; sum += (term); }                                          \
        (result) = sum;                                                                                            \
    } while (0)

typedef struct { double least, most, mean; } Span;

/* Extremes and mean of a block, in one pass. */
BODY span_of_body(const double *restrict values, int64_t count, Span *restrict span)
{
    double low[8], high[8], sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int lane = 0; lane < 8; lane++) low[lane] = high[lane] = values[0];
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int lane = 0; lane < 8; lane++) {
            double v = values[i + lane];
            low[lane] = v < low[lane] ? v : low[lane];
            high[lane] = v > high[lane] ? v : high[lane];
            sums[lane] += v;
        }
    double least = low[0], most = high[0], sum = tree_sum(sums);
    for (; i < count; i++) {
        double v = values[i];
        least = v < least ? v : least;
        most = v > most ? v : most;
        sum += v;
    }
    for (int lane = 1; lane < 8; lane++) {
        least = low[lane] < least ? low[lane] : least;
        most = high[lane] > most ? high[lane] : most;
    }
    *span = (Span){least, most, sum / (double)count};
}
TWICE(span_of, (const double *restrict values, int64_t count, Span *restrict span), (values, count, span))

BODY squares_of_body(const double *restrict values, int64_t count, double mean, double *restrict second)
{
    LANE_SUM(*second, count, (v - mean) * (v - mean));
}
TWICE(squares_of, (const double *restrict values, int64_t count, double mean, double *restrict second),
      (values, count, mean, second))

/* Extremes, mean and sum of squared deviations of a block join those of the cell (Chan, Golub and LeVeque 1979). */
static Span summarise(enum kind kind, Cell *cell, const double *values, int64_t count)
{
    Span span;
    span_of(values, count, &span);
    if (!cell->number_count || span.least < cell->least) cell->least = span.least;
    if (!cell->number_count || span.most > cell->most) cell->most = span.most;
    int64_t before = cell->number_count;
    cell->number_count += count;
    if (kind == TIMES) return span;
    double mean = span.least, second = 0;
    if (span.least != span.most) {
        mean = span.mean;
        if (!isfinite(mean)) LANE_SUM(mean, count, v / (double)count);
        squares_of(values, count, mean, &second);
    }
    if (!before) {
        cell->mean = mean;
        cell->second = second;
        return span;
    }
    double had = (double)before, total = (double)cell->number_count;
    double share = (double)count / total, apart = mean - cell->mean;
    if (isfinite(apart)) {
        cell->mean += apart * share;
        cell->second += second + (apart * apart) * (had * share);
    } else {
        cell->mean = cell->mean * (had / total) + mean * share;
        cell->second = INFINITY;
    }
    return span;
}

/*
 * Quantiles take one of each 2^level numbers of the next block, the fewer the more the cell has seen: such a sample
 * errs by less than a third of what the sketch does.
 */
static int sampling_level(const Cells *self, int64_t seen)
{
    int level = 0;
    for (int64_t limit = self->sampled_from; seen >= limit && level < MOST_SAMPLED; limit *= 16) {
        if (self->block % (4 << level)) break;
        level += 2;
    }
    return level;
}

/* A whole block of numbers goes into the summary and the sketch. */
static int add_block(const Cells *self, Cell *cell, const Scratch *scratch)
{
    if (!cell->kll && !(cell->kll = calloc(1, sizeof *cell->kll))) return NO_MEMORY;
    double *values = cell->pending;
    int64_t count = self->block;
    int level = sampling_level(self, cell->kll->n);
    Span span = summarise(self->kind, cell, values, count);
    if (level) count = one_of_each(values, count, cell->kll->n, level, values);
    cell->pending_count = 0;
    double *ordered = sorted(values, count, span.least, span.most, scratch->keys, scratch->spare);
    return absorb(cell->kll, self->kll_k, ordered, count, level);
}

static int add_numbers(const Cells *self, Cell *cell, const double *values, int64_t count, const Scratch *scratch)
{
    while (count) {
        int64_t taken = self->block - cell->pending_count;
        if (taken > count) taken = count;
        int64_t wanted = cell->pending_count + taken;
        if (!grow((void **)&cell->pending, &cell->pending_room, wanted, 8)) return NO_MEMORY;
        memcpy(cell->pending + cell->pending_count, values, (size_t)taken * 8);
        cell->pending_count = wanted;
        values += taken;
        count -= taken;
        if (wanted == self->block) {
            int trouble = add_block(self, cell, scratch);
            if (trouble) return trouble;
        }
    }
    return FINE;
}

#endif
