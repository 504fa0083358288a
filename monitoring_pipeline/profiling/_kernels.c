/*
 * The hot loops of profiling: one pass over a column fills the cells of all its segments.
 *
 * `Cells` is one column in every segment: counts, moments, a KLL sketch, a HyperLogLog sketch and the commonest
 * values of each. `fallback.py` is the same class in numpy and says in fewer words what is computed here; both give
 * the same bytes, and the tests compare them. Nothing here knows of Arrow, numpy or Python's objects beyond the
 * buffer protocol. The interpreter lock is released while values are read, so columns can be profiled in parallel.
 *
 * Formats and constants come from Apache DataSketches (https://github.com/apache/datasketches-cpp):
 *   hashing         common/include/MurmurHash3.h, seed 9001 (common_defs.hpp), hll/include/HllUtil.hpp (coupons)
 *   HLL image       hll/include/HllArray-internal.hpp, CouponList-internal.hpp
 *   KLL image       kll/include/kll_sketch_impl.hpp, level capacities: kll_helper_impl.hpp
 *   frequent items  fi/include/frequent_items_sketch_impl.hpp
 *
 * Every buffer is read through `load_*` (memcpy), because Arrow does not promise that the values of a slice or of a
 * memory-mapped file are aligned. Every row number, code and offset that comes from outside is checked before use.
 * What is true of a row lies in Arrow's bitmaps, the lowest bit first.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "images are little-endian and written as they lie in memory; big-endian machines use fallback.py"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "sums must round to double after each step, as in fallback.py"
#endif
#if !defined(__GNUC__)
#error "written for gcc and clang; other compilers use fallback.py"
#endif

#define REVISION 1            /* of the interface and of what is computed; as in fallback.py */
#define BLOCK 1024            /* rows taken at a time, so that what lies between two steps stays in the L1 cache */
#define MAX_LEVELS 60         /* a KLL sketch of 2^60 values has fewer */
#define MIN_WIDTH 8           /* smallest capacity of a KLL level */
#define SAMPLED_FROM (1 << 18) /* after so many numbers of a cell, quantiles take one of each four */
#define STORED_ITEMS 768      /* an Apache map of 2^10 is three quarters full at most */
#define LG_STORED_MAP 10
#define ITEM_NOISE 8          /* stored counts below this part of the error are dropped */
#define SHOWN 128             /* characters of a text that are told apart and shown as an item */
#define SLOT_BITS 26          /* of a coupon; above them is the value of the register */
#define ARENA_AT_LEAST (1 << 20)

enum kind { DOUBLES, INTEGERS, UNSIGNED, TIMES, BOOLEANS, TEXTS, HASHES, NULLS, OBJECTS };
static const char *const kind_names[] = {"double", "integer", "unsigned", "time", "boolean",
                                         "text",   "hash",    "null",     "object"};

/* What can go wrong while the interpreter lock is released. */
enum trouble { FINE = 0, NO_MEMORY, BAD_ROW, BAD_CODE, BAD_OFFSET };

/* ---- loads -------------------------------------------------------------------------------------------------- */

static inline uint64_t load_u64(const uint8_t *at) { uint64_t word; memcpy(&word, at, 8); return word; }
static inline uint32_t load_u32(const uint8_t *at) { uint32_t word; memcpy(&word, at, 4); return word; }
static inline int64_t load_i64(const uint8_t *at) { int64_t word; memcpy(&word, at, 8); return word; }
static inline double as_double(uint64_t word) { double value; memcpy(&value, &word, 8); return value; }
static inline uint64_t as_word(double value) { uint64_t word; memcpy(&word, &value, 8); return word; }

/* Offsets of strings: 4 bytes each in Arrow's string, 8 in large_string. */
typedef struct { const uint8_t *at; int size; int64_t count; } Offsets;

static inline int64_t offset_at(Offsets offsets, int64_t place)
{
    if (offsets.size == 8) return load_i64(offsets.at + 8 * place);
    return (int32_t)load_u32(offsets.at + 4 * place);
}

static int64_t power_of_two_from(int64_t least)
{
    int64_t size = 8;
    while (size < least) size *= 2;
    return size;
}

static inline int bits_of(int64_t power) { return 63 - __builtin_clzll((unsigned long long)power); }

/* ---- hashing: MurmurHash3 x64 128 --------------------------------------------------------------------------- */

#define SEED 9001ULL
#define C1 0x87c37b91114253d5ULL
#define C2 0x4cf5ad432745937fULL
#define GOLDEN 0x9e3779b97f4a7c15ULL /* 2^64 / golden ratio: spreads keys over tables, and seeds coins */

typedef struct { uint64_t first, second; } Hash;

static inline uint64_t rotate(uint64_t word, int bits) { return (word << bits) | (word >> (64 - bits)); }

static inline uint64_t avalanche(uint64_t word)
{
    word = (word ^ (word >> 33)) * 0xff51afd7ed558ccdULL;
    word = (word ^ (word >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return word ^ (word >> 33);
}

static inline uint64_t mix_first(uint64_t word) { return rotate(word * C1, 31) * C2; }
static inline uint64_t mix_second(uint64_t word) { return rotate(word * C2, 33) * C1; }

static inline Hash finish_hash(uint64_t first, uint64_t second, uint64_t length)
{
    first ^= length;
    second ^= length;
    first += second;
    second += first;
    first = avalanche(first);
    second = avalanche(second);
    first += second;
    second += first;
    return (Hash){first, second};
}

static inline Hash hash_word(uint64_t word) { return finish_hash(SEED ^ mix_first(word), SEED, 8); }

/* `readable`: how many bytes there are from `at` on, at least `length`. */
static inline Hash hash_bytes(const uint8_t *at, int64_t length, int64_t readable)
{
    uint64_t first = SEED, second = SEED;
    int64_t left = length;
    for (; left >= 16; left -= 16, at += 16, readable -= 16) {
        first ^= mix_first(load_u64(at));
        first = (rotate(first, 27) + second) * 5 + 0x52dce729;
        second ^= mix_second(load_u64(at + 8));
        second = (rotate(second, 31) + first) * 5 + 0x38495ab5;
    }
    uint64_t tail[2] = {0, 0}; /* zeros mix to zero, so a missing half needs no branch */
    if (readable >= 16) { /* two loads and two masks are quicker than a copy of unknown length */
        int low = left < 8 ? (int)left : 8, high = (int)left - low;
        tail[0] = load_u64(at) & (low == 8 ? UINT64_MAX : (1ULL << 8 * low) - 1);
        tail[1] = load_u64(at + 8) & ((1ULL << 8 * high) - 1);
    } else if (left) {
        memcpy(tail, at, (size_t)left);
    }
    return finish_hash(first ^ mix_first(tail[0]), second ^ mix_second(tail[1]), (uint64_t)length);
}

/* In the low 26 bits the slot, above them 1 + the leading zeros of the second half, at most 63. Never 0. */
static inline uint32_t coupon_of(Hash hash)
{
    /* The lowest bit only matters for a half of 0 or 1, whose zeros are cut to 62 anyway. */
    uint32_t zeros = (uint32_t)__builtin_clzll(hash.second | 1);
    if (zeros > 62) zeros = 62;
    return ((zeros + 1) << SLOT_BITS) | ((uint32_t)hash.first & ((1u << SLOT_BITS) - 1));
}

/* ---- sorting ------------------------------------------------------------------------------------------------ */

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
 * Many keys: three passes of 11 bits each, from the right, over the highest 33 bits in which the keys differ at all.
 * What then still shares its 33 bits is rare, stands together, and is sorted on its own.
 */
static void radix_sort(uint64_t *keys, int64_t count, uint64_t *spare)
{
    enum { BITS = 11, WIDTH = 1 << BITS, PASSES = 3 };
    uint64_t least = keys[0], most = keys[0];
    for (int64_t i = 1; i < count; i++) {
        if (keys[i] < least) least = keys[i];
        if (keys[i] > most) most = keys[i];
    }
    if (least == most) return;
    int used = 64 - __builtin_clzll(most - least);
    int shift = used > BITS * PASSES ? used - BITS * PASSES : 0;
    uint32_t starts[PASSES][WIDTH];
    memset(starts, 0, sizeof starts);
    for (int64_t i = 0; i < count; i++) {
        uint64_t prefix = (keys[i] - least) >> shift;
        for (int pass = 0; pass < PASSES; pass++) starts[pass][(prefix >> (BITS * pass)) & (WIDTH - 1)]++;
    }
    uint64_t *from = keys, *to = spare;
    for (int pass = 0; pass < PASSES && used - shift > BITS * pass; pass++) {
        uint32_t sum = 0;
        for (int value = 0; value < WIDTH; value++) {
            uint32_t here = starts[pass][value];
            starts[pass][value] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < count; i++) {
            uint64_t value = ((from[i] - least) >> (shift + BITS * pass)) & (WIDTH - 1);
            to[starts[pass][value]++] = from[i];
        }
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys) memcpy(keys, from, (size_t)count * 8);
    if (!shift) return;
    for (int64_t i = 1; i < count; i++) {
        if (keys[i] >= keys[i - 1]) continue;
        uint64_t prefix = (keys[i] - least) >> shift;
        int64_t low = i - 1, high = i + 1;
        while (low > 0 && (keys[low - 1] - least) >> shift == prefix) low--;
        while (high < count && (keys[high] - least) >> shift == prefix) high++;
        merge_sort(keys + low, high - low, spare);
        i = high - 1;
    }
}

static void sort_keys(uint64_t *keys, int64_t count, uint64_t *spare)
{
    if (count >= 768 && count <= INT32_MAX) radix_sort(keys, count, spare);
    else merge_sort(keys, count, spare);
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

/* ---- KLL ---------------------------------------------------------------------------------------------------- */

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

/* One of each four consecutive values, drawn by their place: they stand for all four. Returns how many. */
static int64_t one_of_four(const double *values, int64_t count, int64_t seen, double *kept)
{
    for (int64_t i = 0; i < count / 4; i++)
        kept[i] = values[4 * i + (int64_t)(splitmix((uint64_t)seen * GOLDEN + (uint64_t)i) >> 62)];
    return count / 4;
}

/* ---- cells -------------------------------------------------------------------------------------------------- */

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
    int64_t kll_k, block, room, stride;
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
    const uint8_t *codes;  /* 8 bytes a row: its place among the texts; NULL: there is one text a row */
    const Hashed *hashed;  /* with codes: each text once */
    Offsets offsets;       /* of the texts, one more than there are */
    const uint8_t *text;
    int64_t text_size;
} Chunk;

static inline int bit(const uint8_t *bits, int64_t at) { return (bits[at >> 3] >> (at & 7)) & 1; }

/* Hash tables for one cell at a time: where each coupon and each key is. */
typedef struct {
    uint32_t *coupon_table, *entry_table;
    int coupon_bits, entry_bits;
    uint64_t *keys, *spare; /* for sorting a block */
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

/* Room for `wanted` elements, doubling. Returns 0 when there is no memory. */
static int grow(void **array, int64_t *room, int64_t wanted, size_t size)
{
    if (wanted <= *room) return 1;
    int64_t larger = *room ? *room * 2 : 8;
    if (larger < wanted) larger = wanted;
    void *moved = realloc(*array, (size_t)larger * size);
    if (!moved) return 0;
    *array = moved;
    *room = larger;
    return 1;
}

/* ---- numbers ------------------------------------------------------------------------------------------------ */

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

static double least_of(const double *values, int64_t count)
{
    double lanes[8], least;
    for (int lane = 0; lane < 8; lane++) lanes[lane] = values[0];
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int lane = 0; lane < 8; lane++) {
            double v = values[i + lane];
            lanes[lane] = v < lanes[lane] ? v : lanes[lane];
        }
    for (least = lanes[0]; i < count; i++) least = values[i] < least ? values[i] : least;
    for (int lane = 1; lane < 8; lane++) least = lanes[lane] < least ? lanes[lane] : least;
    return least;
}

static double most_of(const double *values, int64_t count)
{
    double lanes[8], most;
    for (int lane = 0; lane < 8; lane++) lanes[lane] = values[0];
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int lane = 0; lane < 8; lane++) {
            double v = values[i + lane];
            lanes[lane] = v > lanes[lane] ? v : lanes[lane];
        }
    for (most = lanes[0]; i < count; i++) most = values[i] > most ? values[i] : most;
    for (int lane = 1; lane < 8; lane++) most = lanes[lane] > most ? lanes[lane] : most;
    return most;
}

/* Extremes, mean and sum of squared deviations of a block join those of the cell (Chan, Golub and LeVeque 1979). */
static void summarise(enum kind kind, Cell *cell, const double *values, int64_t count)
{
    double least = least_of(values, count), most = most_of(values, count);
    if (!cell->number_count || least < cell->least) cell->least = least;
    if (!cell->number_count || most > cell->most) cell->most = most;
    int64_t before = cell->number_count;
    cell->number_count += count;
    if (kind == TIMES) return;
    double mean = least, second = 0;
    if (least != most) {
        LANE_SUM(mean, count, v);
        mean /= (double)count;
        if (!isfinite(mean)) LANE_SUM(mean, count, v / (double)count);
        LANE_SUM(second, count, (v - mean) * (v - mean));
    }
    if (!before) {
        cell->mean = mean;
        cell->second = second;
        return;
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
}

/* The numbers in order; they lie in `spare` afterwards. */
static double *sorted(const double *values, int64_t count, uint64_t *keys, uint64_t *spare)
{
    for (int64_t i = 0; i < count; i++) keys[i] = sortable(values[i]);
    sort_keys(keys, count, spare);
    double *ordered = (double *)spare;
    for (int64_t i = 0; i < count; i++) ordered[i] = unsortable(keys[i]);
    return ordered;
}

/* A whole block of numbers goes into the summary and the sketch. */
static int add_block(const Cells *self, Cell *cell, const Scratch *scratch)
{
    if (!cell->kll && !(cell->kll = calloc(1, sizeof *cell->kll))) return NO_MEMORY;
    double *values = cell->pending;
    int64_t count = self->block;
    int level = 0;
    summarise(self->kind, cell, values, count);
    if (cell->kll->n >= SAMPLED_FROM) {
        count = one_of_four(values, count, cell->kll->n, values);
        level = 2;
    }
    cell->pending_count = 0;
    return absorb(cell->kll, self->kll_k, sorted(values, count, scratch->keys, scratch->spare), count, level);
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

/* ---- distinct values ---------------------------------------------------------------------------------------- */

static inline void raise_register(uint8_t *registers, uint32_t mask, uint32_t coupon)
{
    uint8_t value = (uint8_t)(coupon >> SLOT_BITS);
    if (value > registers[coupon & mask]) registers[coupon & mask] = value;
}

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

static int add_coupons(const Cells *self, Cell *cell, const uint32_t *found, int64_t count, const Scratch *scratch)
{
    uint32_t registers_mask = (1u << self->lg_k) - 1;
    int64_t i = 0;
    if (!cell->registers) {
        uint32_t *table = scratch->coupon_table, mask = (1u << scratch->coupon_bits) - 1;
        for (; i < count; i++) {
            uint32_t coupon = found[i], at = spread(coupon, scratch->coupon_bits);
            while (table[at] != coupon && table[at]) at = (at + 1) & mask;
            if (table[at]) continue;
            if (cell->coupon_count == self->max_coupons) break;
            if (!grow((void **)&cell->coupons, &cell->coupon_room, cell->coupon_count + 1, 4)) return NO_MEMORY;
            table[at] = cell->coupons[cell->coupon_count++] = coupon;
        }
        if (i == count) return FINE;
        if (!(cell->registers = calloc(1, (size_t)1 << self->lg_k))) return NO_MEMORY;
        for (int64_t c = 0; c < cell->coupon_count; c++)
            raise_register(cell->registers, registers_mask, cell->coupons[c]);
        free(cell->coupons);
        cell->coupons = NULL;
        cell->coupon_count = cell->coupon_room = 0;
    }
    for (; i < count; i++) raise_register(cell->registers, registers_mask, found[i]);
    return FINE;
}

/* ---- commonest values --------------------------------------------------------------------------------------- */

static inline uint64_t spread_key(uint64_t key, int bits) { return (key * GOLDEN) >> (64 - bits); }

static void index_entries(const Cell *cell, Scratch *scratch)
{
    uint64_t mask = (1ULL << scratch->entry_bits) - 1;
    memset(scratch->entry_table, 0, (size_t)(mask + 1) * 4);
    for (int64_t i = 0; i < cell->entry_count; i++) {
        uint64_t at = spread_key(cell->entries[i].key, scratch->entry_bits);
        while (scratch->entry_table[at]) at = (at + 1) & mask;
        scratch->entry_table[at] = (uint32_t)(i + 1);
    }
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
    if (*size <= keep) return 0;
    int64_t *counts = malloc((size_t)*size * 8);
    if (!counts) return -1;
    for (int64_t i = 0; i < *size; i++) counts[i] = entries[i].count;
    int64_t cut = nth_largest(counts, *size, keep), kept = 0;
    free(counts);
    Entry witness = entries[0];
    for (int64_t i = 0; i < *size; i++) {
        if (entries[i].key < witness.key) witness = entries[i];
        if (entries[i].count > cut) {
            entries[kept] = entries[i];
            entries[kept++].count -= cut;
        }
    }
    if (!kept) entries[kept++] = witness;
    *size = kept;
    return cut;
}

/* Count `count` keys; `places` says where the text of each lies in the chunk (NULL: the key is all there is). */
static int add_keys(const Cells *self, Cell *cell, const uint64_t *keys, const int64_t *places, int64_t count,
                    Scratch *scratch)
{
    int64_t done = 0;
    while (done < count) {
        /* Whether the counters overflow is asked after every `stride` values of the cell, wherever a chunk ends. */
        int64_t taken = self->stride - cell->counted % self->stride;
        if (taken > count - done) taken = count - done;
        if (!grow((void **)&cell->entries, &cell->entry_room, cell->entry_count + taken, sizeof(Entry)))
            return NO_MEMORY;
        uint32_t *table = scratch->entry_table;
        int bits = scratch->entry_bits;
        uint64_t mask = (1ULL << bits) - 1;
        Entry *entries = cell->entries;
        int64_t size = cell->entry_count;
        for (int64_t i = done; i < done + taken; i++) {
            uint64_t key = keys[i], at = spread_key(key, bits);
            uint32_t entry;
            while ((entry = table[at]) && entries[entry - 1].key != key) at = (at + 1) & mask;
            if (entry) {
                entries[entry - 1].count++;
            } else {
                entries[size] = (Entry){key, 1, places ? -1 - places[i] : 0};
                table[at] = (uint32_t)++size;
            }
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

/* ---- reading a chunk ---------------------------------------------------------------------------------------- */

/* Row numbers of the valid ones among places [at, at + count) of the grouped rows; -1 when one does not exist. */
static int64_t valid_rows(const Chunk *chunk, int64_t at, int64_t count, int64_t *rows)
{
    int64_t kept = 0;
    for (int64_t i = at; i < at + count; i++) {
        int64_t row = chunk->order ? load_i64(chunk->order + 8 * i) : i;
        if ((uint64_t)row >= (uint64_t)chunk->rows) return -1;
        rows[kept] = row;
        kept += chunk->valid ? bit(chunk->valid, chunk->bit_offset + row) : 1;
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
    int64_t kept = 0;
    for (int64_t i = at; i < at + count; i++) { /* without a branch: what is null is overwritten */
        words[kept] = load_u64(chunk->values + 8 * i);
        kept += bit(chunk->valid, chunk->bit_offset + i);
    }
    return kept;
}

static int read_numbers(Cells *self, Cell *cell, const Chunk *chunk, int64_t at, int64_t count, Scratch *scratch)
{
    uint64_t words[BLOCK];
    double numbers[BLOCK];
    uint32_t coupons[BLOCK];
    int64_t kept = valid_words(chunk, at, count, words);
    if (kept < 0) return BAD_ROW;
    cell->nulls += count - kept;
    if (self->kind == DOUBLES) {
        double odd = 0;
        for (int64_t i = 0; i < kept; i++) {
            numbers[i] = as_double(words[i]) + 0.0; /* no -0.0 */
            odd += numbers[i] * 0.0;                /* stays 0 unless a number is not finite */
        }
        memcpy(words, numbers, (size_t)kept * 8);
        if (odd != 0.0)
            for (int64_t i = 0; i < kept; i++)
                if (numbers[i] != numbers[i]) words[i] = 0x7ff8000000000000ULL; /* one NaN for all, as Apache */
        for (int64_t i = 0; i < kept; i++) coupons[i] = coupon_of(hash_word(words[i]));
        if (odd != 0.0) {
            int64_t finite = 0;
            for (int64_t i = 0; i < kept; i++) {
                double number = numbers[i];
                if (number != number) cell->nans++;
                else if (number == INFINITY) cell->above++;
                else if (number == -INFINITY) cell->below++;
                else numbers[finite++] = number;
            }
            int trouble = add_coupons(self, cell, coupons, kept, scratch);
            return trouble ? trouble : add_numbers(self, cell, numbers, finite, scratch);
        }
    } else {
        for (int64_t i = 0; i < kept; i++) coupons[i] = coupon_of(hash_word(words[i]));
        if (self->kind == UNSIGNED) for (int64_t i = 0; i < kept; i++) numbers[i] = (double)words[i];
        else for (int64_t i = 0; i < kept; i++) numbers[i] = (double)(int64_t)words[i];
    }
    int trouble = add_coupons(self, cell, coupons, kept, scratch);
    if (!trouble && self->room && has_items(self->kind))
        trouble = add_keys(self, cell, words, NULL, kept, scratch);
    return trouble ? trouble : add_numbers(self, cell, numbers, kept, scratch);
}

static int read_hashed(Cells *self, Cell *cell, const Chunk *chunk, int64_t at, int64_t count, Scratch *scratch)
{
    int64_t places[BLOCK];
    uint32_t coupons[BLOCK];
    uint64_t keys[BLOCK];
    int64_t kept = valid_rows(chunk, at, count, places);
    if (kept < 0) return BAD_ROW;
    cell->nulls += count - kept;
    if (chunk->codes) {
        for (int64_t i = 0; i < kept; i++) {
            places[i] = load_i64(chunk->codes + 8 * places[i]);
            if ((uint64_t)places[i] >= (uint64_t)(chunk->offsets.count - 1)) return BAD_CODE;
            Hashed found = chunk->hashed[places[i]];
            coupons[i] = found.coupon;
            keys[i] = found.key;
        }
    } else {
        for (int64_t i = 0; i < kept; i++) {
            const uint8_t *text = NULL;
            int64_t length = text_at(chunk, places[i], &text);
            if (length < 0) return BAD_OFFSET;
            Hashed found = hash_text(self, chunk, text, length);
            coupons[i] = found.coupon;
            keys[i] = found.key;
        }
    }
    int trouble = add_coupons(self, cell, coupons, kept, scratch);
    if (trouble || !self->room || self->kind != TEXTS) return trouble;
    return add_keys(self, cell, keys, places, kept, scratch);
}

static int read_booleans(Cells *self, Cell *cell, const Chunk *chunk, int64_t at, int64_t count, Scratch *scratch)
{
    int64_t rows[BLOCK], trues = 0;
    int64_t kept = valid_rows(chunk, at, count, rows);
    if (kept < 0) return BAD_ROW;
    for (int64_t i = 0; i < kept; i++) trues += bit(chunk->values, chunk->bit_offset + rows[i]);
    cell->nulls += count - kept;
    cell->trues += trues;
    uint32_t coupons[2]; /* booleans hash as the integers 0 and 1, as in DataSketches */
    int64_t seen = 0;
    if (trues < kept) coupons[seen++] = coupon_of(hash_word(0));
    if (trues) coupons[seen++] = coupon_of(hash_word(1));
    return add_coupons(self, cell, coupons, seen, scratch);
}

static int read_group(Cells *self, Cell *cell, const Chunk *chunk, int64_t start, int64_t stop, Scratch *scratch)
{
    int trouble = begin_coupons(self, cell, stop - start, scratch);
    int keyed = self->room && has_items(self->kind) && self->kind != BOOLEANS;
    if (keyed) {
        scratch->entry_bits = bits_of(entry_places(self, cell->entry_count, stop - start));
        index_entries(cell, scratch);
    }
    cell->rows += stop - start;
    for (int64_t at = start; at < stop && !trouble; at += BLOCK) {
        int64_t count = stop - at < BLOCK ? stop - at : BLOCK;
        int64_t rows[BLOCK];
        if (has_numbers(self->kind)) {
            trouble = read_numbers(self, cell, chunk, at, count, scratch);
        } else if (self->kind == BOOLEANS) {
            trouble = read_booleans(self, cell, chunk, at, count, scratch);
        } else if (self->kind == TEXTS || self->kind == HASHES) {
            trouble = read_hashed(self, cell, chunk, at, count, scratch);
        } else {
            int64_t kept = valid_rows(chunk, at, count, rows);
            if (kept < 0) return BAD_ROW;
            cell->nulls += count - kept;
        }
    }
    if (!trouble && keyed && self->kind == TEXTS) trouble = keep_labels(self, cell, chunk);
    return trouble;
}

/* Each text of a dictionary is hashed once. */
static int hash_dictionary(const Cells *self, Chunk *chunk, Hashed **hashed)
{
    int64_t count = chunk->offsets.count - 1;
    *hashed = malloc((size_t)count * sizeof **hashed + 8);
    if (!*hashed) return NO_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *text = NULL;
        int64_t length = text_at(chunk, i, &text);
        if (length < 0) return BAD_OFFSET;
        (*hashed)[i] = hash_text(self, chunk, text, length);
    }
    chunk->hashed = *hashed;
    return FINE;
}

static int read_chunk(Cells *self, Chunk *chunk, const uint8_t *bounds, const uint8_t *numbers,
                      int64_t groups)
{
    Scratch scratch = {0};
    int64_t coupons = 0, entries = 0;
    for (int64_t g = 0; g < groups; g++) {
        const Cell *cell = self->cells[load_i64(numbers + 8 * g)];
        int64_t rows = load_i64(bounds + 8 * (g + 1)) - load_i64(bounds + 8 * g);
        if (cell->coupon_count + rows > coupons) coupons = cell->coupon_count + rows;
        int64_t places = entry_places(self, cell->entry_count, rows);
        if (places > entries) entries = places;
    }
    if (coupons > self->max_coupons + 1) coupons = self->max_coupons + 1;
    Hashed *hashed = NULL;
    int trouble = NO_MEMORY;
    scratch.coupon_table = malloc((size_t)power_of_two_from(2 * coupons) * 4);
    scratch.entry_table = malloc((size_t)entries * 4 + 4);
    scratch.keys = malloc((size_t)self->block * 8);
    scratch.spare = malloc((size_t)self->block * 8);
    if (scratch.coupon_table && scratch.entry_table && scratch.keys && scratch.spare) {
        trouble = chunk->codes ? hash_dictionary(self, chunk, &hashed) : FINE;
        for (int64_t g = 0; g < groups && !trouble; g++)
            trouble = read_group(self, self->cells[load_i64(numbers + 8 * g)], chunk, load_i64(bounds + 8 * g),
                                 load_i64(bounds + 8 * (g + 1)), &scratch);
        if (!trouble) trouble = compact_arena(self);
    }
    free(hashed);
    free(scratch.coupon_table);
    free(scratch.entry_table);
    free(scratch.keys);
    free(scratch.spare);
    return trouble;
}

/* ---- images ------------------------------------------------------------------------------------------------- */

static PyObject *kll_image(const Kll *kll, int64_t k, double least, double most)
{
    uint8_t small[16] = {2, 1, 15, 1, (uint8_t)k, (uint8_t)(k >> 8), MIN_WIDTH, 0};
    if (!kll->n) return PyBytes_FromStringAndSize((char *)small, 8);
    if (kll->n == 1) {
        small[1] = 2;
        small[3] = 4 | 2; /* single item, sorted */
        memcpy(small + 8, &least, 8);
        return PyBytes_FromStringAndSize((char *)small, 16);
    }
    int height = kll->height;
    int64_t kept = 0;
    for (int level = 0; level < height; level++) kept += kll->levels[level].count;
    int64_t free_places = capacity(k, height) - kept;
    PyObject *image = PyBytes_FromStringAndSize(NULL, 20 + 4 * height + 16 + 8 * kept);
    if (!image) return NULL;
    uint8_t *at = (uint8_t *)PyBytes_AS_STRING(image);
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
    return image;
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

static PyObject *hll_image(const Cells *self, const Cell *cell)
{
    uint8_t compact = 8, lg_k = (uint8_t)self->lg_k;
    if (cell->registers) {
        int64_t size = (int64_t)1 << self->lg_k;
        PyObject *image = PyBytes_FromStringAndSize(NULL, 40 + size);
        if (!image) return NULL;
        uint8_t *at = (uint8_t *)PyBytes_AS_STRING(image);
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
        return image;
    }
    int64_t count = cell->coupon_count;
    uint64_t *keys = malloc((size_t)count * 16 + 8);
    if (!keys) return PyErr_NoMemory();
    for (int64_t i = 0; i < count; i++) keys[i] = cell->coupons[i];
    if (count > 1) sort_keys(keys, count, keys + count);
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
    PyObject *image = PyBytes_FromStringAndSize(NULL, head_size + 4 * count);
    if (image) {
        uint8_t *at = (uint8_t *)PyBytes_AS_STRING(image);
        memcpy(at, head, (size_t)head_size);
        for (int64_t i = 0; i < count; i++) {
            uint32_t coupon = (uint32_t)keys[i];
            memcpy(at + head_size + 4 * i, &coupon, 4);
        }
    }
    free(keys);
    return image;
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
static PyObject *write_items(Item *items, int64_t count, int64_t total, int64_t offset)
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
    PyObject *image = PyBytes_FromStringAndSize(NULL, size);
    if (!image) return NULL;
    uint8_t *at = (uint8_t *)PyBytes_AS_STRING(image);
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
    return image;
}

static PyObject *items_image(const Cells *self, const Cell *cell)
{
    if (self->kind == BOOLEANS) {
        int64_t valid = cell->rows - cell->nulls, count = 0;
        if (!valid) Py_RETURN_NONE;
        Item items[2] = {{0}, {0}};
        if (cell->trues) items[count++] = (Item){cell->trues, (const uint8_t *)"True", 4, {0}};
        if (cell->trues < valid) items[count++] = (Item){valid - cell->trues, (const uint8_t *)"False", 5, {0}};
        return write_items(items, count, valid, 0);
    }
    if (!cell->counted) Py_RETURN_NONE;
    int64_t count = cell->entry_count;
    Entry *entries = malloc((size_t)count * sizeof *entries + 8);
    Item *items = malloc((size_t)(count < STORED_ITEMS ? count : STORED_ITEMS) * sizeof *items + 8);
    PyObject *image = NULL;
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
        if (cut >= 0) image = write_items(items, count, cell->counted, cell->offset + cut);
        else PyErr_NoMemory();
    } else {
        PyErr_NoMemory();
    }
    free(entries);
    free(items);
    return image;
}

/* ---- the Python side ---------------------------------------------------------------------------------------- */

static PyObject *raise(int trouble)
{
    switch (trouble) {
    case NO_MEMORY: return PyErr_NoMemory();
    case BAD_ROW: PyErr_SetString(PyExc_ValueError, "order names a row that does not exist"); break;
    case BAD_CODE: PyErr_SetString(PyExc_ValueError, "a code names a text that does not exist"); break;
    default: PyErr_SetString(PyExc_ValueError, "offsets do not fit the text"); break;
    }
    return NULL;
}

/* A contiguous buffer of `count` elements of `size` bytes (count < 0: any); None gives NULL where allowed. */
static int view_of(PyObject *object, Py_buffer *view, const char *what, int64_t size, int64_t count, int optional)
{
    view->obj = NULL;
    view->buf = NULL;
    view->len = 0;
    if (object == Py_None && optional) return 1;
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0) return 0;
    if (view->len % size || (count >= 0 && view->len / size != count)) {
        PyErr_Format(PyExc_ValueError, "%s has %zd bytes, which is not the %lld-byte elements asked for", what,
                     view->len, (long long)size);
        PyBuffer_Release(view);
        return 0;
    }
    return 1;
}

/* Offsets know whether they are of 4 or 8 bytes; there are `count` of them (count < 0: any, but at least one). */
static int offsets_of(PyObject *object, Py_buffer *view, int64_t count)
{
    if (PyObject_GetBuffer(object, view, PyBUF_ND) < 0) return 0;
    int64_t found = view->itemsize == 4 || view->itemsize == 8 ? view->len / view->itemsize : -1;
    if (found < 1 || (count >= 0 && found != count)) {
        PyErr_SetString(PyExc_ValueError, "there is one offset more than there are texts, in 4 or 8 bytes");
        PyBuffer_Release(view);
        return 0;
    }
    return 1;
}

/* Cells exist before the lock is released; groups lie one after the other within the rows. */
static int check_groups(Cells *self, int64_t places, const Py_buffer *bounds, const Py_buffer *numbers)
{
    int64_t groups = numbers->len / 8, before = 0;
    for (int64_t g = 0; g <= groups; g++) {
        int64_t bound = load_i64((const uint8_t *)bounds->buf + 8 * g);
        if (bound < before || bound > places) {
            PyErr_SetString(PyExc_ValueError, "bounds must ascend and stay within the rows");
            return 0;
        }
        before = bound;
    }
    for (int64_t g = 0; g < groups; g++) {
        int64_t number = load_i64((const uint8_t *)numbers->buf + 8 * g);
        if (number < 0 || number > INT32_MAX) {
            PyErr_SetString(PyExc_ValueError, "a cell number is out of range");
            return 0;
        }
        int64_t had = self->cell_count;
        if (!grow((void **)&self->cells, &self->cell_count, number + 1, sizeof *self->cells)) goto memory;
        if (self->cell_count > had)
            memset(self->cells + had, 0, (size_t)(self->cell_count - had) * sizeof *self->cells);
        if (!self->cells[number] && !(self->cells[number] = calloc(1, sizeof(Cell)))) goto memory;
    }
    return 1;
memory:
    PyErr_NoMemory();
    return 0;
}

static PyObject *read_unlocked(Cells *self, Chunk *chunk, PyObject *bounds_object, PyObject *cells_object,
                               int64_t places)
{
    Py_buffer bounds, numbers;
    PyObject *result = NULL;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "in use by another thread, or unusable after an error");
        return NULL;
    }
    if (!view_of(cells_object, &numbers, "cells", 8, -1, 0)) return NULL;
    if (view_of(bounds_object, &bounds, "bounds", 8, numbers.len / 8 + 1, 0)) {
        if (check_groups(self, places, &bounds, &numbers)) {
            int trouble;
            self->busy = 1;
            Py_BEGIN_ALLOW_THREADS
            trouble = read_chunk(self, chunk, bounds.buf, numbers.buf, numbers.len / 8);
            Py_END_ALLOW_THREADS
            self->busy = trouble != FINE;
            result = trouble ? raise(trouble) : Py_NewRef(Py_None);
        }
        PyBuffer_Release(&bounds);
    }
    PyBuffer_Release(&numbers);
    return result;
}

/* A bitmap that holds the rows; None gives NULL where allowed. */
static int bitmap_of(PyObject *object, Py_buffer *view, const char *what, int64_t offset, int64_t rows, int optional)
{
    if (!view_of(object, view, what, 1, -1, optional)) return 0;
    if (view->obj && (offset < 0 || view->len < (offset + rows + 7) / 8)) {
        PyErr_Format(PyExc_ValueError, "%s has %zd bytes, which are too few bits for the rows", what, view->len);
        PyBuffer_Release(view);
        return 0;
    }
    return 1;
}

PyDoc_STRVAR(add_doc, "add(rows, values, valid, bit_offset, order, bounds, cells): see fallback.Cells.add");

static PyObject *Cells_add(PyObject *object, PyObject *arguments)
{
    Cells *self = (Cells *)object;
    PyObject *values_object, *valid_object, *order_object, *bounds, *cells, *result = NULL;
    long long rows, bit_offset;
    if (!PyArg_ParseTuple(arguments, "LOOLOOO", &rows, &values_object, &valid_object, &bit_offset, &order_object,
                          &bounds, &cells))
        return NULL;
    if (self->kind == TEXTS || self->kind == HASHES || rows < 0 || rows > INT64_MAX / 16
        || bit_offset > INT64_MAX / 16) {
        PyErr_SetString(PyExc_ValueError, "too many rows or fewer than none, or cells that take add_texts");
        return NULL;
    }
    Py_buffer values, valid, order;
    int bare = self->kind == NULLS || self->kind == OBJECTS;
    if (self->kind == BOOLEANS) {
        if (!bitmap_of(values_object, &values, "values", bit_offset, rows, 0)) return NULL;
    } else if (!view_of(values_object, &values, "values", 8, rows, bare)) {
        return NULL;
    }
    if (bitmap_of(valid_object, &valid, "valid", bit_offset, rows, 1)) {
        if (view_of(order_object, &order, "order", 8, -1, 1)) {
            Chunk chunk = {.rows = rows, .values = values.buf, .valid = valid.buf, .bit_offset = bit_offset,
                           .order = order.buf};
            result = read_unlocked(self, &chunk, bounds, cells, order.obj ? order.len / 8 : rows);
            if (order.obj) PyBuffer_Release(&order);
        }
        if (valid.obj) PyBuffer_Release(&valid);
    }
    if (values.obj) PyBuffer_Release(&values);
    return result;
}

PyDoc_STRVAR(add_texts_doc,
             "add_texts(rows, codes, offsets, text, valid, bit_offset, order, bounds, cells): "
             "see fallback.Cells.add_texts");

static PyObject *Cells_add_texts(PyObject *object, PyObject *arguments)
{
    Cells *self = (Cells *)object;
    PyObject *codes_object, *offsets_object, *text_object, *valid_object, *order_object, *bounds, *cells;
    PyObject *result = NULL;
    long long rows, bit_offset;
    if (!PyArg_ParseTuple(arguments, "LOOOOLOOO", &rows, &codes_object, &offsets_object, &text_object, &valid_object,
                          &bit_offset, &order_object, &bounds, &cells))
        return NULL;
    if ((self->kind != TEXTS && self->kind != HASHES) || rows < 0 || rows > INT64_MAX / 16
        || bit_offset > INT64_MAX / 16) {
        PyErr_SetString(PyExc_ValueError, "too many rows or fewer than none, or cells that do not take texts");
        return NULL;
    }
    Py_buffer codes, offsets, text, valid, order;
    if (!view_of(codes_object, &codes, "codes", 8, rows, 1)) return NULL;
    if (offsets_of(offsets_object, &offsets, codes.obj ? -1 : rows + 1)) {
        if (view_of(text_object, &text, "text", 1, -1, 0)) {
            if (bitmap_of(valid_object, &valid, "valid", bit_offset, rows, 1)) {
                if (view_of(order_object, &order, "order", 8, -1, 1)) {
                    Chunk chunk = {.rows = rows, .codes = codes.buf, .text = text.buf, .text_size = text.len,
                                   .valid = valid.buf, .bit_offset = bit_offset, .order = order.buf};
                    int size = (int)offsets.itemsize;
                    chunk.offsets = (Offsets){offsets.buf, size, offsets.len / size};
                    result = read_unlocked(self, &chunk, bounds, cells, order.obj ? order.len / 8 : rows);
                    if (order.obj) PyBuffer_Release(&order);
                }
                if (valid.obj) PyBuffer_Release(&valid);
            }
            PyBuffer_Release(&text);
        }
        PyBuffer_Release(&offsets);
    }
    if (codes.obj) PyBuffer_Release(&codes);
    return result;
}

static PyObject *optional_double(int present, double value)
{
    return present ? PyFloat_FromDouble(value) : Py_NewRef(Py_None);
}

/* What a cell has seen, without changing it. */
static PyObject *report(const Cells *self, const Cell *cell, int64_t number)
{
    Cell seen = *cell; /* will sum up the pending numbers too; the arrays remain those of the cell */
    Kll kll = {0};
    double found[QUANTILES] = {0};
    PyObject *kll_bytes = Py_None, *hll_bytes = Py_None, *items = Py_None, *result = NULL;
    Py_INCREF(Py_None);
    Py_INCREF(Py_None);
    Py_INCREF(Py_None);
    if (has_numbers(self->kind)) {
        int trouble = cell->kll ? copy_kll(&kll, cell->kll) : FINE;
        if (!trouble && seen.pending_count) {
            uint64_t *keys = malloc((size_t)seen.pending_count * 16);
            if (keys) {
                int64_t count = seen.pending_count;
                summarise(self->kind, &seen, seen.pending, count);
                trouble = absorb(&kll, self->kll_k, sorted(seen.pending, count, keys, keys + count), count, 0);
            } else {
                trouble = NO_MEMORY;
            }
            free(keys);
        }
        if (!trouble && kll.n) quantiles(&kll, found);
        Py_DECREF(kll_bytes);
        kll_bytes = trouble ? raise(trouble) : kll_image(&kll, self->kll_k, seen.least, seen.most);
    }
    if (kll_bytes && has_hashes(self->kind)) {
        Py_DECREF(hll_bytes);
        hll_bytes = hll_image(self, cell);
    }
    if (kll_bytes && hll_bytes && self->room && has_items(self->kind)) {
        Py_DECREF(items);
        items = items_image(self, cell);
    }
    if (kll_bytes && hll_bytes && items) {
        int counted = !seen.registers && has_hashes(self->kind); /* few distinct values are counted exactly */
        PyObject *ranked = PyTuple_New(QUANTILES);
        for (int i = 0; ranked && i < QUANTILES; i++) {
            PyObject *quantile = optional_double(kll.n > 0, found[i]);
            if (!quantile) Py_CLEAR(ranked);
            else PyTuple_SET_ITEM(ranked, i, quantile);
        }
        long long moment_count = self->kind == TIMES ? 0 : seen.number_count;
        result = Py_BuildValue("L(LLLLLLLddNNOOO)NN", (long long)number, (long long)seen.rows, (long long)seen.nulls,
                               (long long)seen.nans, (long long)seen.above, (long long)seen.below,
                               (long long)seen.trues, moment_count, seen.mean, seen.second,
                               optional_double(kll.n > 0, seen.least), optional_double(kll.n > 0, seen.most),
                               kll_bytes, hll_bytes, items,
                               optional_double(counted, (double)seen.coupon_count), ranked);
    }
    clear_kll(&kll);
    Py_XDECREF(kll_bytes);
    Py_XDECREF(hll_bytes);
    Py_XDECREF(items);
    return result;
}

PyDoc_STRVAR(finish_doc, "finish(): see fallback.Cells.finish");

static PyObject *Cells_finish(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Cells *self = (Cells *)object;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "in use by another thread, or unusable after an error");
        return NULL;
    }
    PyObject *reports = PyList_New(0);
    for (int64_t number = 0; reports && number < self->cell_count; number++) {
        if (!self->cells[number]) continue;
        PyObject *one = report(self, self->cells[number], number);
        if (!one || PyList_Append(reports, one) < 0) Py_CLEAR(reports);
        Py_XDECREF(one);
    }
    return reports;
}

static PyObject *Cells_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"kind", "kll_k", "lg_k", "room", "block", NULL};
    const char *kind_name;
    int kll_k, lg_k, room, block;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "s$iiii", names, &kind_name, &kll_k, &lg_k, &room, &block))
        return NULL;
    int kind = 0, kinds = (int)(sizeof kind_names / sizeof *kind_names);
    while (kind < kinds && strcmp(kind_name, kind_names[kind])) kind++;
    if (kind == kinds || kll_k < MIN_WIDTH || kll_k > UINT16_MAX || lg_k < 4 || lg_k > 21 || room < 0
        || room > 1 << 24 || block < 4 || block % 4 || block > 1 << 24) {
        PyErr_SetString(PyExc_ValueError, "an unknown kind, or a setting out of range");
        return NULL;
    }
    Cells *self = (Cells *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->kind = (enum kind)kind;
    self->kll_k = kll_k;
    self->lg_k = lg_k;
    self->room = room;
    self->stride = room / 3 > 1 ? room / 3 : 1;
    self->block = block;
    /* As in Apache: a list of 8 below lg_k 8, else a set that is three quarters full at most. */
    self->max_coupons = lg_k < 8 ? 7 : (int64_t)3 << (lg_k - 5);
    self->arena_limit = ARENA_AT_LEAST;
    return (PyObject *)self;
}

static void Cells_dealloc(PyObject *object)
{
    Cells *self = (Cells *)object;
    for (int64_t number = 0; number < self->cell_count; number++) free_cell(self->cells[number]);
    free(self->cells);
    free(self->arena);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef Cells_methods[] = {{"add", Cells_add, METH_VARARGS, add_doc},
                                      {"add_texts", Cells_add_texts, METH_VARARGS, add_texts_doc},
                                      {"finish", Cells_finish, METH_NOARGS, finish_doc},
                                      {NULL, NULL, 0, NULL}};

static PyTypeObject CellsType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "monitoring_pipeline.profiling._kernels.Cells",
    .tp_doc = "One column in every segment; see fallback.Cells.",
    .tp_basicsize = sizeof(Cells),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Cells_new,
    .tp_dealloc = Cells_dealloc,
    .tp_methods = Cells_methods,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "The hot loops of profiling, compiled. `fallback` is the same in numpy.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    if (PyType_Ready(&CellsType) < 0) return NULL;
    PyObject *created = PyModule_Create(&module);
    if (created && (PyModule_AddObjectRef(created, "Cells", (PyObject *)&CellsType) < 0
                    || PyModule_AddIntMacro(created, REVISION) < 0))
        Py_CLEAR(created);
    return created;
}
