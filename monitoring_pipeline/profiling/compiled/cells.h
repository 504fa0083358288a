/* What is kept of one column in one segment, in all segments, and of a chunk of rows while it is read. */

#ifndef MONITORING_CELLS_H
#define MONITORING_CELLS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kll.h"

#define STORED_ITEMS 768       /* an Apache map of 2^10 is three quarters full at most */
#define LG_STORED_MAP 10
#define ITEM_NOISE 8           /* stored counts below this part of the error are dropped */
#define SHOWN 128              /* characters of a text that are told apart and shown as an item */
#define ARENA_AT_LEAST (1 << 20)

enum kind { DOUBLES, INTEGERS, UNSIGNED, TIMES, BOOLEANS, TEXTS, HASHES, NULLS, OBJECTS };
static const char *const kind_names[] = {"double", "integer", "unsigned", "time", "boolean",
                                         "text",   "hash",    "null",     "object"};

typedef struct {
    uint64_t key;
    int64_t count;
    int64_t label; /* where its text lies in the arena; while its chunk is read, -1 - its place there */
} Entry;

typedef struct {
    int64_t rows, nulls, nans, above, below, trues;
    int64_t number_count; /* finite numbers in the next four */
    double mean, second, least, most;
    double *pending; /* finite numbers, in order of arrival, until there is a block of them */
    int64_t pending_count, pending_room;
    Kll *kll; /* of whole blocks; NULL before the first */
    uint32_t *coupons; /* distinct; NULL once there are registers */
    int64_t coupon_count, coupon_room;
    uint8_t *registers;
    Entry *entries;
    int64_t entry_count, entry_room;
    int64_t counted, offset; /* values in the counters; how much a counter may be too low */
} Cell;

typedef struct {
    PyObject_HEAD
    enum kind kind;
    int64_t kll_k, block, room, stride, sampled_from;
    int lg_k;
    int64_t max_coupons;
    Cell **cells; /* by number; NULL where there is none */
    int64_t cell_count;
    uint8_t *arena; /* texts, each with its length in 4 bytes before it */
    int64_t arena_size, arena_room, arena_limit;
    int busy; /* in a thread; for ever after an error, which leaves texts without labels */
} Cells;

static int has_numbers(enum kind kind) { return kind <= TIMES; }
static int has_hashes(enum kind kind) { return kind != OBJECTS; }
static int has_items(enum kind kind)
{
    return kind == INTEGERS || kind == UNSIGNED || kind == BOOLEANS || kind == TEXTS;
}

typedef struct { uint64_t key; uint32_t coupon; } Hashed;

/* Rows of one chunk, and which cells they belong to. */
typedef struct {
    int64_t rows;
    const uint8_t *values; /* 8 bytes a row, or 1 bit of booleans; NULL where there are none */
    const uint8_t *valid;  /* 1 bit a row; NULL: all */
    int64_t bit_offset;    /* where in the two bitmaps the first row is */
    const uint8_t *order;  /* 8 bytes each: rows, group by group; NULL: as they are */
    const uint8_t *codes;  /* its place among the texts for each row; NULL: there is one text a row */
    int code_size;         /* 4 or 8 bytes */
    const Hashed *hashed;  /* with codes: each text once */
    Offsets offsets;       /* of the texts, one more than there are */
    const uint8_t *text;
    int64_t text_size;
} Chunk;

/* What a thread needs while it reads a chunk; kept for the next chunk. */
typedef struct {
    uint32_t *coupon_table, *entry_table; /* of one cell at a time: where each coupon and each key is */
    int64_t coupon_room, entry_room;
    int coupon_bits, entry_bits;
    uint64_t *keys, *spare; /* for sorting a block */
    int64_t keys_room, spare_room;
    Hashed *hashed; /* each text of a dictionary */
    int64_t hashed_room;
    int64_t *counts; /* how often each text of a dictionary occurs in a group */
    int64_t counts_room;
} Scratch;

static void free_cell(Cell *cell)
{
    if (!cell) return;
    if (cell->kll) clear_kll(cell->kll);
    free(cell->kll);
    free(cell->pending);
    free(cell->coupons);
    free(cell->registers);
    free(cell->entries);
    free(cell);
}

#endif
