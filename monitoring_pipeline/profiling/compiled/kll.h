/* Quantiles: a KLL sketch of doubles whose levels are sorted. */

#ifndef MONITORING_KLL_H
#define MONITORING_KLL_H

#include "hashing.h"
#include "sorting.h"

#define MAX_LEVELS 60  /* a KLL sketch of 2^60 values has fewer */
#define MIN_WIDTH 8    /* smallest capacity of a KLL level */

typedef struct { double *items; int64_t count; } Level; /* sorted; one item of level h stands for 2^h values */
typedef struct { int64_t n; int height; Level levels[MAX_LEVELS + 1]; } Kll;

static int64_t two_thirds(int64_t k, int depth)
{
    int64_t power = 1;
    for (int i = 0; i < depth; i++) power *= 3;
    return (((k << 1) << depth) / power + 1) >> 1;
}

/* k * (2/3)^depth, rounded as Apache rounds it, at least 8. */
static int64_t level_capacity(int64_t k, int height, int level)
{
    int depth = height - level - 1;
    int64_t width = depth <= 30 ? two_thirds(k, depth) : two_thirds(two_thirds(k, depth / 2), depth - depth / 2);
    return width < MIN_WIDTH ? MIN_WIDTH : width;
}

static int64_t capacity(int64_t k, int height)
{
    int64_t sum = 0;
    for (int level = 0; level < height; level++) sum += level_capacity(k, height, level);
    return sum;
}

static void clear_kll(Kll *kll)
{
    for (int level = 0; level <= MAX_LEVELS; level++) free(kll->levels[level].items);
    memset(kll, 0, sizeof *kll);
}

static int copy_kll(Kll *to, const Kll *from)
{
    memset(to, 0, sizeof *to);
    to->n = from->n;
    to->height = from->height;
    for (int level = 0; level < from->height; level++) {
        const Level *source = &from->levels[level];
        double *items = malloc((size_t)source->count * 8 + 8);
        if (!items) {
            clear_kll(to);
            return NO_MEMORY;
        }
        if (source->count) memcpy(items, source->items, (size_t)source->count * 8);
        to->levels[level] = (Level){items, source->count};
    }
    return FINE;
}

/* Items, sorted, join a level. */
static int join(Level *level, const double *items, int64_t count)
{
    double *joined = malloc((size_t)(level->count + count) * 8 + 8);
    if (!joined) return NO_MEMORY;
    int64_t left = 0, right = 0, out = 0;
    while (left < level->count && right < count) {
        double a = level->items[left], b = items[right];
        int second = b < a;
        joined[out++] = second ? b : a;
        right += second;
        left += !second;
    }
    if (left < level->count) memcpy(joined + out, level->items + left, (size_t)(level->count - left) * 8);
    out += level->count - left;
    if (right < count) memcpy(joined + out, items + right, (size_t)(count - right) * 8);
    free(level->items);
    *level = (Level){joined, level->count + count};
    return FINE;
}

static uint64_t splitmix(uint64_t state)
{
    state += GOLDEN;
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9ULL;
    state = (state ^ (state >> 27)) * 0x94d049bb133111ebULL;
    return state ^ (state >> 31);
}

/* Every second item of a level goes up; the coin is drawn from the items (see `kernels.halve`). */
static int halve(Kll *kll, int level)
{
    Level *here = &kll->levels[level];
    int64_t odd = here->count & 1, risen = here->count / 2;
    uint64_t drawn = (uint64_t)kll->n * GOLDEN + (uint64_t)level;
    for (int64_t i = 0; i < here->count; i++) drawn += as_word(here->items[i]);
    int64_t first = odd + (int64_t)(splitmix(drawn) & 1);
    double kept = here->items[0];
    for (int64_t i = 0; i < risen; i++) here->items[i] = here->items[first + 2 * i];
    int trouble;
    if (level + 1 == kll->height || !kll->levels[level + 1].count) {
        Level above = {here->items, risen}; /* nothing to join: the array itself goes up */
        double *rest = malloc(8);
        if (!rest) return NO_MEMORY;
        free(kll->levels[level + 1].items);
        kll->levels[level + 1] = above;
        here->items = rest;
        trouble = FINE;
    } else {
        trouble = join(&kll->levels[level + 1], here->items, risen);
    }
    here->items[0] = kept;
    here->count = odd;
    if (level + 1 == kll->height) kll->height++;
    return trouble;
}

/* Items, sorted, enter at a level; then the lowest level that is too full is halved until everything fits. */
static int absorb(Kll *kll, int64_t k, const double *items, int64_t count, int level)
{
    int trouble = join(&kll->levels[level], items, count);
    if (kll->height <= level) kll->height = level + 1;
    kll->n += count << level;
    while (!trouble) {
        int64_t kept = 0;
        for (int h = 0; h < kll->height; h++) kept += kll->levels[h].count;
        if (kept <= capacity(k, kll->height) || kll->height == MAX_LEVELS) break;
        int fullest = 0;
        while (kll->levels[fullest].count < level_capacity(k, kll->height, fullest)) fullest++;
        trouble = halve(kll, fullest);
    }
    return trouble;
}

/*
 * One of each 2^level consecutive values, drawn by their place: they stand for all of them. The values may be kept
 * where they lie. Returns how many.
 */
static int64_t one_of_each(const double *values, int64_t count, int64_t seen, int level, double *kept)
{
    int64_t groups = count >> level;
    for (int64_t i = 0; i < groups; i++)
        kept[i] = values[(i << level) + (int64_t)(splitmix((uint64_t)seen * GOLDEN + (uint64_t)i) >> (64 - level))];
    return groups;
}

#endif
