/* Reading a chunk: its rows, cell by cell and block by block, into everything that a cell keeps. */

#ifndef MONITORING_READING_H
#define MONITORING_READING_H

#include "distinct.h"
#include "items.h"
#include "numbers.h"

/* Row numbers of the valid ones among places [at, at + count) of the grouped rows; -1 when one does not exist. */
static int64_t valid_rows(const Chunk *chunk, int64_t at, int64_t count, int64_t *rows)
{
    int64_t kept = 0;
    if (chunk->order) {
        for (int64_t i = at; i < at + count; i++) {
            int64_t row = load_i64(chunk->order + 8 * i);
            if ((uint64_t)row >= (uint64_t)chunk->rows) return -1;
            rows[kept] = row;
            kept += chunk->valid ? bit(chunk->valid, chunk->bit_offset + row) : 1;
        }
        return kept;
    }
    if (!chunk->valid) {
        for (int64_t i = 0; i < count; i++) rows[i] = at + i;
        return count;
    }
    int64_t i = at;
    for (; i + 64 <= at + count; i += 64) { /* without a branch: what is null is overwritten */
        uint64_t word = bits_from(chunk->valid, chunk->bit_offset + i);
        for (int64_t row = i; row < i + 64; row++, word >>= 1) {
            rows[kept] = row;
            kept += (int64_t)(word & 1);
        }
    }
    for (; i < at + count; i++) {
        rows[kept] = i;
        kept += bit(chunk->valid, chunk->bit_offset + i);
    }
    return kept;
}

static int64_t valid_words(const Chunk *chunk, int64_t at, int64_t count, uint64_t *words)
{
    if (chunk->order) {
        int64_t rows[BLOCK];
        int64_t kept = valid_rows(chunk, at, count, rows);
        for (int64_t i = 0; i < kept; i++) words[i] = load_u64(chunk->values + 8 * rows[i]);
        return kept;
    }
    if (!chunk->valid) {
        memcpy(words, chunk->values + 8 * at, (size_t)count * 8);
        return count;
    }
    int64_t kept = 0, i = at;
    for (; i + 64 <= at + count; i += 64) {
        uint64_t word = bits_from(chunk->valid, chunk->bit_offset + i);
        const uint8_t *values = chunk->values + 8 * i;
        for (int64_t place = 0; place < 64; place++, word >>= 1) {
            words[kept] = load_u64(values + 8 * place);
            kept += (int64_t)(word & 1);
        }
    }
    for (; i < at + count; i++) {
        words[kept] = load_u64(chunk->values + 8 * i);
        kept += bit(chunk->valid, chunk->bit_offset + i);
    }
    return kept;
}

/* How many rows are valid; -1 when one does not exist. */
static int64_t count_valid(const Chunk *chunk, int64_t at, int64_t count)
{
    int64_t rows[BLOCK];
    if (chunk->order) return valid_rows(chunk, at, count, rows);
    return chunk->valid ? count_bits(chunk->valid, chunk->bit_offset + at, count) : count;
}

/* Doubles as they are summed and as they are hashed, both without -0.0. `odd`: some are not finite. */
BODY canonical_body(uint64_t *restrict words, int64_t count, double *restrict numbers, uint64_t *restrict odd)
{
    const uint64_t exponent = 0x7ff0000000000000ULL;
    uint64_t found = 0;
    for (int64_t i = 0; i < count; i++) {
        double number = as_double(words[i]) + 0.0;
        uint64_t word = as_word(number);
        numbers[i] = number;
        words[i] = word;
        found |= (word & exponent) == exponent;
    }
    *odd = found;
}
TWICE(canonical, (uint64_t *restrict words, int64_t count, double *restrict numbers, uint64_t *restrict odd),
      (words, count, numbers, odd))

static int read_doubles(Cells *self, Cell *cell, uint64_t *words, int64_t count, Scratch *scratch)
{
    double numbers[BLOCK];
    Hashes hashes;
    uint64_t odd;
    int64_t finite = count;
    canonical(words, count, numbers, &odd);
    if (odd) {
        finite = 0;
        for (int64_t i = 0; i < count; i++) {
            double number = numbers[i];
            if (number != number) {
                cell->nans++;
                words[i] = 0x7ff8000000000000ULL; /* one NaN for all, as Apache */
            } else if (number == INFINITY) {
                cell->above++;
            } else if (number == -INFINITY) {
                cell->below++;
            } else {
                numbers[finite++] = number;
            }
        }
    }
    hash_words(words, count, &hashes);
    int trouble = add_hashes(self, cell, &hashes, count, scratch);
    return trouble ? trouble : add_numbers(self, cell, numbers, finite, scratch);
}

static int read_integers(Cells *self, Cell *cell, uint64_t *words, int64_t count, Scratch *scratch)
{
    double numbers[BLOCK];
    Hashes hashes;
    if (self->kind == UNSIGNED) for (int64_t i = 0; i < count; i++) numbers[i] = (double)words[i];
    else for (int64_t i = 0; i < count; i++) numbers[i] = (double)(int64_t)words[i];
    int64_t fresh_count = count;
    int trouble = FINE;
    if (self->room && has_items(self->kind)) {
        int32_t fresh[BLOCK];
        trouble = add_keys(self, cell, words, NULL, count, scratch, fresh, &fresh_count);
        for (int64_t i = 0; i < fresh_count && !trouble; i++) words[i] = words[fresh[i]];
    }
    if (!trouble && fresh_count) {
        hash_words(words, fresh_count, &hashes);
        trouble = add_hashes(self, cell, &hashes, fresh_count, scratch);
    }
    return trouble ? trouble : add_numbers(self, cell, numbers, count, scratch);
}

/* Hashes of texts. `many` tells how many of them have more than what is shown of a text; `keys` are then set. */
static inline __attribute__((always_inline)) int hash_texts_of(const Cells *self, const Chunk *chunk,
                                                               const int64_t *places, int64_t count, Hashes *hashes,
                                                               uint64_t *keys, int64_t *many, const int wide)
{
    Tails tails;
    const uint8_t *text = chunk->text, *offsets = chunk->offsets.at;
    int64_t size = chunk->text_size;
    uint64_t longest = 0;
    *many = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t start, stop;
        uint64_t tail[2];
        if (wide) {
            start = load_i64(offsets + 8 * places[i]);
            stop = load_i64(offsets + 8 * places[i] + 8);
        } else {
            start = (int32_t)load_u32(offsets + 4 * places[i]);
            stop = (int32_t)load_u32(offsets + 4 * places[i] + 4);
        }
        if (start < 0 || stop < start || stop > size || stop - start > UINT32_MAX) return BAD_OFFSET;
        uint64_t length = (uint64_t)(stop - start);
        Hash begun = begin_hash(text + start, (int64_t)length, size - start, tail);
        longest = length > longest ? length : longest;
        hashes->first[i] = begun.first;
        hashes->second[i] = begun.second;
        tails.low[i] = tail[0];
        tails.high[i] = tail[1];
        tails.lengths[i] = length;
    }
    if (!count) return FINE;
    finish_hashes(&tails, count, hashes);
    if (longest <= SHOWN || self->kind != TEXTS) return FINE;
    for (int64_t i = 0; i < count; i++) {
        int64_t length = (int64_t)tails.lengths[i];
        const uint8_t *whole = NULL;
        keys[i] = hashes->first[i];
        if (length <= SHOWN || text_at(chunk, places[i], &whole) < 0) continue;
        int64_t shown = shown_length(whole, length);
        if (shown == length) continue;
        keys[i] = hash_bytes(whole, shown, text + size - whole).first;
        ++*many;
    }
    return FINE;
}

static int read_texts(Cells *self, Cell *cell, const Chunk *chunk, int64_t at, int64_t count, Scratch *scratch)
{
    int64_t places[BLOCK], fresh_count = 0, many;
    uint64_t keys[BLOCK];
    int32_t fresh[BLOCK];
    Hashes hashes;
    int64_t kept = valid_rows(chunk, at, count, places);
    if (kept < 0) return BAD_ROW;
    cell->nulls += count - kept;
    int trouble = chunk->offsets.size == 8
                      ? hash_texts_of(self, chunk, places, kept, &hashes, keys, &many, 1)
                      : hash_texts_of(self, chunk, places, kept, &hashes, keys, &many, 0);
    if (trouble) return trouble;
    if (!self->room || self->kind != TEXTS) return add_hashes(self, cell, &hashes, kept, scratch);
    if (many) { /* texts that differ only behind what is shown have one counter */
        trouble = add_hashes(self, cell, &hashes, kept, scratch);
        return trouble ? trouble : add_keys(self, cell, keys, places, kept, scratch, fresh, &fresh_count);
    }
    trouble = add_keys(self, cell, hashes.first, places, kept, scratch, fresh, &fresh_count);
    for (int64_t i = 0; i < fresh_count && !trouble; i++) {
        hashes.first[i] = hashes.first[fresh[i]];
        hashes.second[i] = hashes.second[fresh[i]];
    }
    return trouble ? trouble : add_hashes(self, cell, &hashes, fresh_count, scratch);
}

/* Places among the texts of a dictionary, instead of rows; `trouble` when one does not exist. */
static int64_t valid_codes(const Chunk *chunk, int64_t at, int64_t count, int64_t *places, int *trouble)
{
    int64_t kept = valid_rows(chunk, at, count, places);
    uint64_t texts = (uint64_t)(chunk->offsets.count - 1), most = 0;
    if (chunk->code_size == 4)
        for (int64_t i = 0; i < kept; i++) places[i] = (int32_t)load_u32(chunk->codes + 4 * places[i]);
    else
        for (int64_t i = 0; i < kept; i++) places[i] = load_i64(chunk->codes + 8 * places[i]);
    for (int64_t i = 0; i < kept; i++) most = (uint64_t)places[i] > most ? (uint64_t)places[i] : most;
    *trouble = kept < 0 ? BAD_ROW : kept && most >= texts ? BAD_CODE : FINE;
    return kept;
}

static int read_codes(Cells *self, Cell *cell, const Chunk *chunk, int64_t at, int64_t count, Scratch *scratch)
{
    int64_t places[BLOCK], fresh_count;
    uint32_t coupons[BLOCK];
    uint64_t keys[BLOCK];
    int32_t fresh[BLOCK];
    int trouble;
    int64_t kept = valid_codes(chunk, at, count, places, &trouble);
    if (trouble) return trouble;
    cell->nulls += count - kept;
    for (int64_t i = 0; i < kept; i++) {
        coupons[i] = chunk->hashed[places[i]].coupon;
        keys[i] = chunk->hashed[places[i]].key;
    }
    trouble = add_found(self, cell, coupons, kept, scratch);
    if (trouble || !self->room || self->kind != TEXTS) return trouble;
    return add_keys(self, cell, keys, places, kept, scratch, fresh, &fresh_count);
}

/*
 * A whole group of rows of few texts: how often each occurs, and only then what that means for the cell. It is the
 * same as row by row as long as every text has a counter, so that none is ever taken away.
 */
static int count_codes(Cells *self, Cell *cell, const Chunk *chunk, int64_t start, int64_t stop, Scratch *scratch)
{
    int64_t texts = chunk->offsets.count - 1, rows = 0, size = cell->entry_count;
    int64_t *counts = scratch->counts, *more = counts + texts; /* two, as one text often follows itself */
    memset(counts, 0, (size_t)texts * 16);
    for (int64_t at = start; at < stop; at += BLOCK) {
        int64_t places[BLOCK], count = stop - at < BLOCK ? stop - at : BLOCK;
        int trouble;
        int64_t kept = valid_codes(chunk, at, count, places, &trouble), i = 0;
        if (trouble) return trouble;
        for (; i + 2 <= kept; i += 2) {
            counts[places[i]]++;
            more[places[i + 1]]++;
        }
        if (i < kept) counts[places[i]]++;
        rows += kept;
    }
    cell->nulls += stop - start - rows;
    int keyed = self->room && self->kind == TEXTS;
    if (keyed && !grow((void **)&cell->entries, &cell->entry_room, size + texts, sizeof(Entry))) return NO_MEMORY;
    for (int64_t text = 0; text < texts; text++) {
        int64_t times = counts[text] + more[text];
        if (!times) continue;
        int trouble = add_found(self, cell, &chunk->hashed[text].coupon, 1, scratch);
        if (trouble) return trouble;
        if (keyed)
            entry_of(cell->entries, &size, scratch->entry_table, scratch->entry_bits, chunk->hashed[text].key,
                     -1 - text)->count += times;
    }
    if (keyed) cell->counted += rows;
    cell->entry_count = size;
    return FINE;
}

static int read_booleans(Cells *self, Cell *cell, const Chunk *chunk, int64_t at, int64_t count, Scratch *scratch)
{
    int64_t rows[BLOCK], trues = 0, kept;
    if (chunk->order) {
        kept = valid_rows(chunk, at, count, rows);
        for (int64_t i = 0; i < kept; i++) trues += bit(chunk->values, chunk->bit_offset + rows[i]);
    } else if (chunk->valid) {
        kept = count_bits(chunk->valid, chunk->bit_offset + at, count);
        trues = count_both(chunk->valid, chunk->values, chunk->bit_offset + at, count);
    } else {
        kept = count;
        trues = count_bits(chunk->values, chunk->bit_offset + at, count);
    }
    if (kept < 0) return BAD_ROW;
    cell->nulls += count - kept;
    cell->trues += trues;
    uint32_t coupons[2]; /* booleans hash as the integers 0 and 1, as in DataSketches */
    int64_t seen = 0;
    if (trues < kept) coupons[seen++] = coupon_of(hash_word(0));
    if (trues) coupons[seen++] = coupon_of(hash_word(1));
    return add_found(self, cell, coupons, seen, scratch);
}

static int read_block(Cells *self, Cell *cell, const Chunk *chunk, int64_t at, int64_t count, Scratch *scratch)
{
    if (self->kind == BOOLEANS) return read_booleans(self, cell, chunk, at, count, scratch);
    if (self->kind == TEXTS || self->kind == HASHES)
        return chunk->codes ? read_codes(self, cell, chunk, at, count, scratch)
                            : read_texts(self, cell, chunk, at, count, scratch);
    uint64_t words[BLOCK];
    int bare = !has_numbers(self->kind);
    int64_t kept = bare ? count_valid(chunk, at, count) : valid_words(chunk, at, count, words);
    if (kept < 0) return BAD_ROW;
    cell->nulls += count - kept;
    if (bare) return FINE;
    return self->kind == DOUBLES ? read_doubles(self, cell, words, kept, scratch)
                                 : read_integers(self, cell, words, kept, scratch);
}

static int read_group(Cells *self, Cell *cell, const Chunk *chunk, int64_t start, int64_t stop, Scratch *scratch)
{
    int64_t texts = chunk->offsets.count - 1, rows = stop - start;
    int trouble = begin_coupons(self, cell, rows, scratch);
    int keyed = self->room && has_items(self->kind) && self->kind != BOOLEANS;
    if (keyed) {
        scratch->entry_bits = bits_of(entry_places(self, cell->entry_count, rows));
        index_entries(cell, scratch);
    }
    cell->rows += rows;
    if (chunk->codes && texts <= rows && (!keyed || cell->entry_count + texts <= self->room)) {
        trouble = count_codes(self, cell, chunk, start, stop, scratch);
        start = stop;
    }
    for (int64_t at = start; at < stop && !trouble; at += BLOCK)
        trouble = read_block(self, cell, chunk, at, stop - at < BLOCK ? stop - at : BLOCK, scratch);
    if (!trouble && keyed && self->kind == TEXTS) trouble = keep_labels(self, cell, chunk);
    return trouble;
}

/* Each text of a dictionary is hashed once. */
static int hash_dictionary(const Cells *self, Chunk *chunk, Scratch *scratch)
{
    int64_t count = chunk->offsets.count - 1;
    if (!grow((void **)&scratch->hashed, &scratch->hashed_room, count, sizeof(Hashed))) return NO_MEMORY;
    if (!grow((void **)&scratch->counts, &scratch->counts_room, 2 * count, 8)) return NO_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *text = NULL;
        int64_t length = text_at(chunk, i, &text);
        if (length < 0) return BAD_OFFSET;
        scratch->hashed[i] = hash_text(self, chunk, text, length);
    }
    chunk->hashed = scratch->hashed;
    return FINE;
}

/* The lock is not held, the cells exist, and `scratch` is of this thread alone. */
static int read_chunk(Cells *self, Chunk *chunk, const uint8_t *bounds, const uint8_t *numbers, int64_t groups,
                      Scratch *scratch)
{
    int64_t coupons = 0, entries = 0;
    for (int64_t g = 0; g < groups; g++) {
        const Cell *cell = self->cells[load_i64(numbers + 8 * g)];
        int64_t rows = load_i64(bounds + 8 * (g + 1)) - load_i64(bounds + 8 * g);
        if (cell->coupon_count + rows > coupons) coupons = cell->coupon_count + rows;
        int64_t places = entry_places(self, cell->entry_count, rows);
        if (places > entries) entries = places;
    }
    if (coupons > self->max_coupons + 1) coupons = self->max_coupons + 1;
    if (!grow((void **)&scratch->coupon_table, &scratch->coupon_room, power_of_two_from(2 * coupons), 4)
        || !grow((void **)&scratch->entry_table, &scratch->entry_room, entries, 4)
        || !grow((void **)&scratch->keys, &scratch->keys_room, self->block, 8)
        || !grow((void **)&scratch->spare, &scratch->spare_room, self->block, 8))
        return NO_MEMORY;
    int trouble = chunk->codes ? hash_dictionary(self, chunk, scratch) : FINE;
    for (int64_t g = 0; g < groups && !trouble; g++)
        trouble = read_group(self, self->cells[load_i64(numbers + 8 * g)], chunk, load_i64(bounds + 8 * g),
                             load_i64(bounds + 8 * (g + 1)), scratch);
    return trouble ? trouble : compact_arena(self);
}

/* Scratch that no thread uses just now. Taken and given back while the interpreter lock is held. */
enum { IDLE = 8, MOST_IDLE = 1 << 21 };
static Scratch *idle[IDLE];

static void free_scratch(Scratch *scratch)
{
    if (!scratch) return;
    free(scratch->coupon_table);
    free(scratch->entry_table);
    free(scratch->keys);
    free(scratch->spare);
    free(scratch->hashed);
    free(scratch->counts);
    free(scratch);
}

static Scratch *take_scratch(void)
{
    for (int place = 0; place < IDLE; place++) {
        Scratch *scratch = idle[place];
        idle[place] = NULL;
        if (scratch) return scratch;
    }
    return calloc(1, sizeof(Scratch));
}

static void give_back(Scratch *scratch)
{
    int64_t bytes = 4 * (scratch->coupon_room + scratch->entry_room) + 8 * (scratch->keys_room + scratch->spare_room)
                    + (int64_t)sizeof(Hashed) * scratch->hashed_room + 8 * scratch->counts_room;
    for (int place = 0; place < IDLE && bytes <= MOST_IDLE; place++)
        if (!idle[place]) {
            idle[place] = scratch;
            return;
        }
    free_scratch(scratch);
}

#endif
