/* Commonest values of a cell: counters by key, and the texts that the keys stand for. */

#ifndef MONITORING_ITEMS_H
#define MONITORING_ITEMS_H

#include "cells.h"

/*
 * A place in the table of a cell holds 1 + the number of an entry in its low bits, and in its high bits some of the
 * key's hash, so that another key is nearly always told apart without looking at the entry.
 */
static inline uint64_t spread_key(uint64_t key) { return key * GOLDEN; }
static inline uint64_t first_place(uint64_t spread, int bits) { return spread >> (64 - bits); }
static inline uint32_t tag_of(uint64_t spread, uint32_t mask) { return (uint32_t)(spread >> 8) & ~mask; }

static void index_entries(const Cell *cell, Scratch *scratch)
{
    uint32_t mask = (1u << scratch->entry_bits) - 1;
    memset(scratch->entry_table, 0, ((size_t)mask + 1) * 4);
    for (int64_t i = 0; i < cell->entry_count; i++) {
        uint64_t hash = spread_key(cell->entries[i].key), at = first_place(hash, scratch->entry_bits);
        while (scratch->entry_table[at]) at = (at + 1) & mask;
        scratch->entry_table[at] = tag_of(hash, mask) | (uint32_t)(i + 1);
    }
}

/* The entry of a key, a new one with a count of 0 where there is none. There must be room for it. */
static inline Entry *entry_of(Entry *entries, int64_t *size, uint32_t *table, int bits, uint64_t key, int64_t label)
{
    uint32_t mask = (1u << bits) - 1, slot;
    uint64_t hash = spread_key(key), at = first_place(hash, bits);
    uint32_t tag = tag_of(hash, mask);
    while ((slot = table[at])) {
        if (!((slot ^ tag) & ~mask) && entries[(slot & mask) - 1].key == key) return &entries[(slot & mask) - 1];
        at = (at + 1) & mask;
    }
    entries[*size] = (Entry){key, 0, label};
    table[at] = tag | (uint32_t)++*size;
    return &entries[*size - 1];
}

/* Places that the table of a cell needs while `rows` more values come: at most half of them are ever taken. */
static int64_t entry_places(const Cells *self, int64_t entries, int64_t rows)
{
    int64_t most = entries + rows, limit = self->room + self->stride;
    return power_of_two_from(2 * (most < limit ? most : limit));
}

/*
 * Keep at most `keep` entries: subtract the largest count that has no place and drop what is left with nothing
 * (Misra and Gries 1982). Where all are alike, the one with the smallest key stays, unsubtracted, as the witness
 * that there was something. Returns what was subtracted, or -1 when there is no memory.
 */
static int64_t shed(Entry *entries, int64_t *size, int64_t keep)
{
    enum { SMALL = 256 };
    if (*size <= keep) return 0;
    int64_t small[SMALL] = {0}, above = *size, cut = 0;
    for (int64_t i = 0; i < *size; i++) small[entries[i].count < SMALL ? entries[i].count : 0]++;
    above = small[0]; /* large ones: a counter is never 0 */
    if (above <= keep) {
        for (cut = SMALL - 1; (above += small[cut]) <= keep;) cut--;
    } else {
        int64_t *counts = malloc((size_t)*size * 8);
        if (!counts) return -1;
        for (int64_t i = 0; i < *size; i++) counts[i] = entries[i].count;
        cut = nth_largest(counts, *size, keep);
        free(counts);
    }
    int64_t kept = 0;
    Entry witness = entries[0];
    for (int64_t i = 0; i < *size; i++) {
        Entry entry = entries[i];
        if (entry.key < witness.key) witness = entry;
        entries[kept] = entry;
        entries[kept].count -= cut;
        kept += entry.count > cut;
    }
    if (!kept) entries[kept++] = witness;
    *size = kept;
    return cut;
}

/*
 * Count `count` keys; `places` says where the text of each lies in the chunk (NULL: the key is all there is). The
 * numbers of those that were not counted before are put into `fresh`: whoever has a counter has also been counted
 * among the distinct values.
 */
static int add_keys(const Cells *self, Cell *cell, const uint64_t *keys, const int64_t *places, int64_t count,
                    Scratch *scratch, int32_t *fresh, int64_t *fresh_count)
{
    int64_t done = 0, found = 0;
    while (done < count) {
        /* Whether the counters overflow is asked after every `stride` values of the cell, wherever a chunk ends. */
        int64_t taken = self->stride - cell->counted % self->stride;
        if (taken > count - done) taken = count - done;
        if (!grow((void **)&cell->entries, &cell->entry_room, cell->entry_count + taken, sizeof(Entry)))
            return NO_MEMORY;
        uint32_t *table = scratch->entry_table;
        Entry *entries = cell->entries;
        int64_t size = cell->entry_count;
        int bits = scratch->entry_bits;
        for (int64_t i = done; i < done + taken; i++) {
            fresh[found] = (int32_t)i;
            int64_t before = size;
            entry_of(entries, &size, table, bits, keys[i], places ? -1 - places[i] : 0)->count++;
            found += size - before;
        }
        cell->entry_count = size;
        cell->counted += taken;
        done += taken;
        if (cell->counted % self->stride == 0 && size > self->room) {
            int64_t cut = shed(cell->entries, &cell->entry_count, self->room / 2);
            if (cut < 0) return NO_MEMORY;
            cell->offset += cut;
            index_entries(cell, scratch);
        }
    }
    *fresh_count = found;
    return FINE;
}

static int append_text(uint8_t **arena, int64_t *size, int64_t *room, const uint8_t *text, uint32_t length)
{
    if (!grow((void **)arena, room, *size + 4 + length, 1)) return 0;
    memcpy(*arena + *size, &length, 4);
    if (length) memcpy(*arena + *size + 4, text, length);
    *size += 4 + (int64_t)length;
    return 1;
}

/* Where a text begins and how long it is; -1 where the offsets do not fit the text. */
static inline int64_t text_at(const Chunk *chunk, int64_t place, const uint8_t **text)
{
    int64_t start = offset_at(chunk->offsets, place), stop = offset_at(chunk->offsets, place + 1);
    if (start < 0 || stop < start || stop > chunk->text_size || stop - start > UINT32_MAX) return -1;
    *text = chunk->text + start;
    return stop - start;
}

/* How many bytes the first 128 characters of a text have: a character begins wherever a byte does not continue one. */
static int64_t shown_length(const uint8_t *text, int64_t length)
{
    if (length <= SHOWN) return length;
    int64_t characters = 0;
    for (int64_t i = 0; i < length; i++)
        if ((text[i] & 0xc0) != 0x80 && ++characters > SHOWN) return i;
    return length;
}

static inline Hashed hash_text(const Cells *self, const Chunk *chunk, const uint8_t *text, int64_t length)
{
    int64_t readable = chunk->text + chunk->text_size - text;
    Hash hash = hash_bytes(text, length, readable);
    Hashed found = {hash.first, coupon_of(hash)};
    if (self->kind == TEXTS && length > SHOWN) {
        int64_t shown = shown_length(text, length);
        if (shown < length) found.key = hash_bytes(text, shown, readable).first;
    }
    return found;
}

/* Entries that are new in this chunk keep their text when the chunk goes. */
static int keep_labels(Cells *self, Cell *cell, const Chunk *chunk)
{
    for (int64_t i = 0; i < cell->entry_count; i++) {
        Entry *entry = &cell->entries[i];
        if (entry->label >= 0) continue;
        const uint8_t *text = NULL;
        int64_t length = text_at(chunk, -1 - entry->label, &text), label = self->arena_size;
        if (length < 0) return BAD_OFFSET;
        length = shown_length(text, length);
        if (!append_text(&self->arena, &self->arena_size, &self->arena_room, text, (uint32_t)length))
            return NO_MEMORY;
        entry->label = label;
    }
    return FINE;
}

/* Forget the texts that no cell counts any more. */
static int compact_arena(Cells *self)
{
    if (self->arena_size <= self->arena_limit) return FINE;
    uint8_t *arena = NULL;
    int64_t size = 0, room = 0;
    for (int64_t c = 0; c < self->cell_count; c++) {
        Cell *cell = self->cells[c];
        for (int64_t i = 0; cell && i < cell->entry_count; i++) {
            const uint8_t *text = self->arena + cell->entries[i].label;
            cell->entries[i].label = size;
            if (!append_text(&arena, &size, &room, text + 4, load_u32(text))) return NO_MEMORY;
        }
    }
    free(self->arena);
    self->arena = arena;
    self->arena_size = size;
    self->arena_room = room;
    self->arena_limit = 2 * size > ARENA_AT_LEAST ? 2 * size : ARENA_AT_LEAST;
    return FINE;
}

#endif
