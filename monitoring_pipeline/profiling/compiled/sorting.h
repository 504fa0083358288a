/* Sorting, and finding a place without sorting. */

#ifndef MONITORING_SORTING_H
#define MONITORING_SORTING_H

#include "words.h"

#define RADIX_BITS 11

/* Doubles sort like these integers. No NaN, no -0.0. */
static inline uint64_t sortable(double value)
{
    uint64_t word = as_word(value);
    return word ^ ((word >> 63) ? UINT64_MAX : 1ULL << 63);
}

static inline double unsortable(uint64_t key)
{
    return as_double(key ^ ((key >> 63) ? 1ULL << 63 : UINT64_MAX));
}

static void insertion_sort(uint64_t *keys, int64_t count)
{
    for (int64_t i = 1; i < count; i++) {
        uint64_t key = keys[i];
        int64_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--) keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

static void merge_sort(uint64_t *keys, int64_t count, uint64_t *spare)
{
    enum { RUN = 16 };
    for (int64_t at = 0; at < count; at += RUN) insertion_sort(keys + at, count - at < RUN ? count - at : RUN);
    uint64_t *from = keys, *to = spare;
    for (int64_t width = RUN; width < count; width *= 2) {
        for (int64_t low = 0; low < count; low += 2 * width) {
            int64_t middle = low + width < count ? low + width : count;
            int64_t high = low + 2 * width < count ? low + 2 * width : count;
            int64_t left = low, right = middle, out = low;
            while (left < middle && right < high) { /* compiles without a branch on the comparison */
                uint64_t a = from[left], b = from[right];
                int second = b < a;
                to[out++] = second ? b : a;
                right += second;
                left += !second;
            }
            memcpy(to + out, from + left, (size_t)(middle - left) * 8);
            out += middle - left;
            memcpy(to + out, from + right, (size_t)(high - right) * 8);
        }
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys) memcpy(keys, from, (size_t)count * 8);
}

/*
 * Many keys of at most `most`: two passes, from the right, over the highest 20 or 22 bits in which they can differ.
 * What is then still out of order shares these bits and stands together: a few places are mended by insertion, and a
 * crowd is sorted on its own.
 */
static inline __attribute__((always_inline)) void radix_sort(uint64_t *keys, int64_t count, uint64_t most,
                                                             uint64_t *spare, const int bits)
{
    enum { PASSES = 2, NEAR = 8 };
    const uint64_t width = 1ULL << bits;
    int used = 64 - __builtin_clzll(most | 1);
    int shift = used > bits * PASSES ? used - bits * PASSES : 0;
    uint32_t starts[PASSES][1 << RADIX_BITS];
    for (int pass = 0; pass < PASSES; pass++) memset(starts[pass], 0, (size_t)width * 4);
    for (int64_t i = 0; i < count; i++) {
        uint64_t prefix = keys[i] >> shift;
        for (int pass = 0; pass < PASSES; pass++) starts[pass][(prefix >> (bits * pass)) & (width - 1)]++;
    }
    uint64_t *from = keys, *to = spare;
    for (int pass = 0; pass < PASSES; pass++) {
        int by = shift + bits * pass;
        if (by > 63 || starts[pass][(from[0] >> by) & (width - 1)] == (uint32_t)count) continue; /* all are alike */
        uint32_t sum = 0;
        for (uint64_t value = 0; value < width; value++) {
            uint32_t here = starts[pass][value];
            starts[pass][value] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < count; i++) to[starts[pass][(from[i] >> by) & (width - 1)]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys) memcpy(keys, from, (size_t)count * 8);
    if (!shift) return;
    for (int64_t i = 1; i < count; i++) {
        uint64_t key = keys[i];
        if (key >= keys[i - 1]) continue;
        int64_t at = i, nearest = i < NEAR ? 0 : i - NEAR;
        for (; at > nearest && keys[at - 1] > key; at--) keys[at] = keys[at - 1];
        keys[at] = key;
        if (!at || keys[at - 1] <= key) continue;
        int64_t low = at - 1, high = i + 1;
        while (low > 0 && keys[low - 1] >> shift == key >> shift) low--;
        while (high < count && keys[high] >> shift == key >> shift) high++;
        merge_sort(keys + low, high - low, spare);
        i = high - 1;
    }
}

/* No key is greater than `most`. */
static void sort_keys(uint64_t *keys, int64_t count, uint64_t most, uint64_t *spare)
{
    if (count < 512 || count > INT32_MAX) merge_sort(keys, count, spare);
    else if (count < 4096) radix_sort(keys, count, most, spare, RADIX_BITS - 1);
    else radix_sort(keys, count, most, spare, RADIX_BITS);
}

/* Finite numbers between `least` and `most`, in order; they lie in `spare` afterwards. */
static double *sorted(const double *values, int64_t count, double least, double most, uint64_t *keys,
                      uint64_t *spare)
{
    uint64_t base = sortable(least);
    for (int64_t i = 0; i < count; i++) keys[i] = sortable(values[i]) - base;
    sort_keys(keys, count, sortable(most) - base, spare);
    double *ordered = (double *)spare;
    for (int64_t i = 0; i < count; i++) ordered[i] = unsortable(keys[i] + base);
    return ordered;
}

/* The value that would stand at `place` if the counts were sorted downwards. Reorders them. */
static int64_t nth_largest(int64_t *counts, int64_t size, int64_t place)
{
    int64_t low = 0, high = size;
    for (;;) {
        int64_t middle = counts[low + (high - low) / 2];
        int64_t above = low, at = low, below = high; /* [low, above) > middle, [above, at) equal, [below, high) < */
        while (at < below) {
            int64_t count = counts[at];
            if (count > middle) {
                counts[at++] = counts[above];
                counts[above++] = count;
            } else if (count < middle) {
                counts[at] = counts[--below];
                counts[below] = count;
            } else {
                at++;
            }
        }
        if (place < above) high = above;
        else if (place >= below) low = below;
        else return middle;
    }
}

#endif
