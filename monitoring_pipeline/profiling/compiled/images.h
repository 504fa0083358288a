/* Apache images of the sketches of a cell, and everything else that is reported of it. */

#ifndef MONITORING_IMAGES_H
#define MONITORING_IMAGES_H

#include <math.h>
#include "items.h"
#include "numbers.h"

/* Bytes of a sketch; without any where a cell has no such sketch. */
typedef struct { uint8_t *bytes; int64_t size; } Image;

static int make_image(Image *image, int64_t size)
{
    image->bytes = malloc((size_t)size);
    image->size = size;
    return image->bytes ? FINE : NO_MEMORY;
}

static int copy_image(Image *image, const uint8_t *bytes, int64_t size)
{
    int trouble = make_image(image, size);
    if (!trouble) memcpy(image->bytes, bytes, (size_t)size);
    return trouble;
}

static int kll_image(const Kll *kll, int64_t k, double least, double most, Image *image)
{
    uint8_t small[16] = {2, 1, 15, 1, (uint8_t)k, (uint8_t)(k >> 8), MIN_WIDTH, 0};
    if (!kll->n) return copy_image(image, small, 8);
    if (kll->n == 1) {
        small[1] = 2;
        small[3] = 4 | 2; /* single item, sorted */
        memcpy(small + 8, &least, 8);
        return copy_image(image, small, 16);
    }
    int height = kll->height;
    int64_t kept = 0;
    for (int level = 0; level < height; level++) kept += kll->levels[level].count;
    int64_t free_places = capacity(k, height) - kept;
    if (make_image(image, 20 + 4 * height + 16 + 8 * kept)) return NO_MEMORY;
    uint8_t *at = image->bytes;
    uint8_t head[20] = {5, 1, 15, 2, (uint8_t)k, (uint8_t)(k >> 8), MIN_WIDTH, 0};
    memcpy(head + 8, &kll->n, 8);
    head[16] = (uint8_t)k; /* the lowest k of what was merged: nothing was */
    head[17] = (uint8_t)(k >> 8);
    head[18] = (uint8_t)height;
    memcpy(at, head, 20);
    at += 20;
    uint32_t place = (uint32_t)(free_places > 0 ? free_places : 0);
    for (int level = 0; level < height; level++, at += 4) {
        memcpy(at, &place, 4);
        place += (uint32_t)kll->levels[level].count;
    }
    memcpy(at, &least, 8);
    memcpy(at + 8, &most, 8);
    at += 16;
    for (int level = 0; level < height; level++) {
        size_t size = (size_t)kll->levels[level].count * 8;
        if (size) memcpy(at, kll->levels[level].items, size);
        at += size;
    }
    return FINE;
}

static const int percents[] = {5, 25, 50, 75, 90, 95, 99};
#define QUANTILES ((int)(sizeof percents / sizeof *percents))

/* The item at place floor(rank * n) of the sorted stream, for each of the stored quantiles. */
static void quantiles(const Kll *kll, double found[QUANTILES])
{
    int64_t next[MAX_LEVELS] = {0}, below = 0;
    int quantile = 0;
    double item = 0;
    while (quantile < QUANTILES) {
        int lowest = -1; /* the levels are sorted; take the smallest item that is left */
        for (int level = 0; level < kll->height; level++) {
            if (next[level] == kll->levels[level].count) continue;
            if (lowest < 0 || kll->levels[level].items[next[level]] < kll->levels[lowest].items[next[lowest]])
                lowest = level;
        }
        if (lowest < 0) break;
        item = kll->levels[lowest].items[next[lowest]++];
        below += (int64_t)1 << lowest;
        while (quantile < QUANTILES && (double)below > floor(percents[quantile] / 100.0 * (double)kll->n))
            found[quantile++] = item;
    }
    while (quantile < QUANTILES) found[quantile++] = item;
}

static int hll_image(const Cells *self, const Cell *cell, Image *image)
{
    uint8_t compact = 8, lg_k = (uint8_t)self->lg_k;
    if (cell->registers) {
        int64_t size = (int64_t)1 << self->lg_k;
        if (make_image(image, 40 + size)) return NO_MEMORY;
        uint8_t *at = image->bytes;
        int64_t counts[64] = {0};
        for (int64_t i = 0; i < size; i++) counts[cell->registers[i] & 63]++;
        double low = 0, high = 0; /* sums of 2^-register: below 32 and from there on */
        for (int value = 0; value < 64; value++) *(value < 32 ? &low : &high) += ldexp((double)counts[value], -value);
        /* Marked as out of order, as a merged Apache sketch is: the estimate must not depend on the order. */
        uint8_t head[40] = {10, 1, 7, lg_k, 0, compact | 16, 0, 2 | 2 << 2};
        int32_t empty = (int32_t)counts[0];
        memcpy(head + 16, &low, 8);
        memcpy(head + 24, &high, 8);
        memcpy(head + 32, &empty, 4);
        memcpy(at, head, 40);
        memcpy(at + 40, cell->registers, (size_t)size);
        return FINE;
    }
    int64_t count = cell->coupon_count;
    uint64_t *keys = malloc((size_t)count * 16 + 8);
    if (!keys) return NO_MEMORY;
    for (int64_t i = 0; i < count; i++) keys[i] = cell->coupons[i];
    if (count > 1) sort_keys(keys, count, UINT32_MAX, keys + count);
    uint8_t head[12] = {2, 1, 7, lg_k, 3, compact, (uint8_t)count, 2 << 2};
    int64_t head_size = 8;
    if (!count) head[5] = compact | 4;
    if (count >= 8) {
        int lg_array = 5;
        while ((int64_t)3 << lg_array < 4 * count) lg_array++;
        uint32_t wide = (uint32_t)count;
        head[0] = 3;
        head[4] = (uint8_t)lg_array;
        head[6] = 0;
        head[7] = 1 | 2 << 2;
        memcpy(head + 8, &wide, 4);
        head_size = 12;
    }
    int trouble = make_image(image, head_size + 4 * count);
    if (!trouble) {
        uint8_t *at = image->bytes;
        memcpy(at, head, (size_t)head_size);
        for (int64_t i = 0; i < count; i++) {
            uint32_t coupon = (uint32_t)keys[i];
            memcpy(at + head_size + 4 * i, &coupon, 4);
        }
    }
    free(keys);
    return trouble;
}

typedef struct { int64_t count; const uint8_t *text; uint32_t length; uint8_t digits[24]; } Item;

/* Commonest first; among equals by text. The bytes of UTF-8 sort like its characters. */
static int compare_items(const void *left, const void *right)
{
    const Item *a = left, *b = right;
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    uint32_t shorter = a->length < b->length ? a->length : b->length;
    const uint8_t *x = a->text ? a->text : a->digits, *y = b->text ? b->text : b->digits;
    int order = shorter ? memcmp(x, y, shorter) : 0;
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

static uint32_t write_integer(uint8_t digits[24], uint64_t word, int is_signed)
{
    uint8_t reversed[24];
    uint32_t count = 0, at = 0;
    int negative = is_signed && word >> 63;
    if (negative) word = 0 - word;
    do reversed[count++] = (uint8_t)('0' + word % 10); while (word /= 10);
    if (negative) digits[at++] = '-';
    while (count) digits[at++] = reversed[--count];
    return at;
}

/* Image of a frequent-strings sketch; the items are put into order. Counts of at most the noise are dropped. */
static int write_items(Item *items, int64_t count, int64_t total, int64_t offset, Image *image)
{
    qsort(items, (size_t)count, sizeof *items, compare_items);
    int64_t noise = offset / ITEM_NOISE, spare = total / (2 * STORED_ITEMS) - offset;
    if (noise > spare) noise = spare;
    int64_t kept = count;
    while (kept && items[kept - 1].count <= noise) kept--;
    int64_t cut = kept < count ? items[kept].count : 0;
    if (!kept) { /* nothing stands out; one without items would count as empty in a merge, so one stays */
        kept = 1;
        if (count > 1) offset += cut;
        cut = 0;
    }
    offset += cut;
    int64_t size = 32 + 12 * kept;
    for (int64_t i = 0; i < kept; i++) size += items[i].length;
    if (make_image(image, size)) return NO_MEMORY;
    uint8_t *at = image->bytes;
    uint8_t head[32] = {4, 1, 10, LG_STORED_MAP, 3};
    while ((int64_t)3 << head[4] < 4 * kept) head[4]++;
    uint32_t active = (uint32_t)kept;
    memcpy(head + 8, &active, 4);
    memcpy(head + 16, &total, 8);
    memcpy(head + 24, &offset, 8);
    memcpy(at, head, 32);
    at += 32;
    for (int64_t i = 0; i < kept; i++, at += 8) {
        int64_t shown = items[i].count - cut;
        memcpy(at, &shown, 8);
    }
    for (int64_t i = 0; i < kept; i++) {
        memcpy(at, &items[i].length, 4);
        if (items[i].length) memcpy(at + 4, items[i].text ? items[i].text : items[i].digits, items[i].length);
        at += 4 + items[i].length;
    }
    return FINE;
}

static int items_image(const Cells *self, const Cell *cell, Image *image)
{
    if (self->kind == BOOLEANS) {
        int64_t valid = cell->rows - cell->nulls, count = 0;
        if (!valid) return FINE;
        Item items[2] = {{0}, {0}};
        if (cell->trues) items[count++] = (Item){cell->trues, (const uint8_t *)"True", 4, {0}};
        if (cell->trues < valid) items[count++] = (Item){valid - cell->trues, (const uint8_t *)"False", 5, {0}};
        return write_items(items, count, valid, 0, image);
    }
    if (!cell->counted) return FINE;
    int64_t count = cell->entry_count;
    Entry *entries = malloc((size_t)count * sizeof *entries + 8);
    Item *items = malloc((size_t)(count < STORED_ITEMS ? count : STORED_ITEMS) * sizeof *items + 8);
    int trouble = NO_MEMORY;
    if (entries && items) {
        memcpy(entries, cell->entries, (size_t)count * sizeof *entries);
        int64_t cut = shed(entries, &count, STORED_ITEMS);
        for (int64_t i = 0; i < count && cut >= 0; i++) {
            Item *item = &items[i];
            item->count = entries[i].count;
            if (self->kind == TEXTS) {
                const uint8_t *label = self->arena + entries[i].label;
                item->text = label + 4;
                item->length = load_u32(label);
            } else {
                item->text = NULL;
                item->length = write_integer(item->digits, entries[i].key, self->kind == INTEGERS);
            }
        }
        if (cut >= 0) trouble = write_items(items, count, cell->counted, cell->offset + cut, image);
    }
    free(entries);
    free(items);
    return trouble;
}

/* What a cell has seen, without changing it. */
typedef struct {
    Cell seen; /* with the pending numbers summed up too; its arrays remain those of the cell */
    int sketched; /* whether there were numbers */
    double quantiles[QUANTILES];
    Image kll, hll, items;
} Sight;

static int look_at(const Cells *self, const Cell *cell, Sight *sight)
{
    memset(sight, 0, sizeof *sight);
    sight->seen = *cell;
    int trouble = FINE;
    if (has_numbers(self->kind)) {
        Kll kll = {0};
        int64_t count = cell->pending_count;
        if (cell->kll) trouble = copy_kll(&kll, cell->kll);
        if (!trouble && count) {
            uint64_t *keys = malloc((size_t)count * 16);
            if (keys) {
                Span span = summarise(self->kind, &sight->seen, cell->pending, count);
                double *ordered = sorted(cell->pending, count, span.least, span.most, keys, keys + count);
                trouble = absorb(&kll, self->kll_k, ordered, count, 0);
            } else {
                trouble = NO_MEMORY;
            }
            free(keys);
        }
        sight->sketched = kll.n > 0;
        if (!trouble && kll.n) quantiles(&kll, sight->quantiles);
        if (!trouble) trouble = kll_image(&kll, self->kll_k, sight->seen.least, sight->seen.most, &sight->kll);
        clear_kll(&kll);
    }
    if (!trouble && has_hashes(self->kind)) trouble = hll_image(self, cell, &sight->hll);
    if (!trouble && self->room && has_items(self->kind)) trouble = items_image(self, cell, &sight->items);
    return trouble;
}

static void forget(Sight *sight)
{
    free(sight->kll.bytes);
    free(sight->hll.bytes);
    free(sight->items.bytes);
}

#endif
