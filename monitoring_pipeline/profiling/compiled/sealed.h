/*
 * Sealed containers, opened and searched for one component; parts of bytes put together; values counted in bins.
 *
 * What `wire.py`, `extracting.py` and `binning.py` do, for many at once. Containers that are damaged, too large or
 * compressed in another way than by LZ4 are left to Python, which opens them or says what is wrong.
 *
 * CRC-32 is that of zlib (polynomial 0xEDB88320), eight bytes a step (Kounavis and Berry, 2005). LZ4 blocks:
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
 */

#ifndef MONITORING_SEALED_H
#define MONITORING_SEALED_H

#include "words.h"

enum { SEAL_HEAD = 20, SEAL_VERSION = 1 }; /* as in wire.py, like the methods */
enum method { AS_IT_IS = 0, BY_LZ4 = 2, IN_PARTS = 3 };

static uint32_t crc_steps[8][256];

static void learn_crc(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit_ = 0; bit_ < 8; bit_++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        crc_steps[0][byte] = crc;
    }
    for (int step = 1; step < 8; step++)
        for (int byte = 0; byte < 256; byte++)
            crc_steps[step][byte] = crc_steps[step - 1][byte] >> 8 ^ crc_steps[0][crc_steps[step - 1][byte] & 255];
}

static uint32_t crc_of(uint32_t crc, const uint8_t *at, int64_t size)
{
    crc = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word = load_u64(at) ^ crc;
        crc = crc_steps[7][word & 255] ^ crc_steps[6][word >> 8 & 255] ^ crc_steps[5][word >> 16 & 255]
              ^ crc_steps[4][word >> 24 & 255] ^ crc_steps[3][word >> 32 & 255] ^ crc_steps[2][word >> 40 & 255]
              ^ crc_steps[1][word >> 48 & 255] ^ crc_steps[0][word >> 56];
    }
    for (; size; size--, at++) crc = crc >> 8 ^ crc_steps[0][(crc ^ *at) & 255];
    return ~crc;
}

/* A length of LZ4 that goes on while bytes are 255; 0 when the block ends before it does. */
static inline int longer(const uint8_t **from, const uint8_t *end, int64_t *length)
{
    uint8_t more = 255;
    while (more == 255) {
        if (*from == end) return 0;
        more = *(*from)++;
        *length += more;
    }
    return 1;
}

/* One LZ4 block of exactly `room` bytes; 0 when it is not that. */
static int unlz4(const uint8_t *from, int64_t size, uint8_t *to, int64_t room)
{
    const uint8_t *end = from + size, *start = to, *stop = to + room;
    while (from < end) {
        int token = *from++;
        int64_t run = token >> 4;
        if (run == 15 && !longer(&from, end, &run)) return 0;
        if (run > end - from || run > stop - to) return 0;
        memcpy(to, from, (size_t)run);
        from += run;
        to += run;
        if (from == end) return to == stop; /* the last sequence repeats nothing */
        if (end - from < 8 || stop - to < 12) return 0; /* what the format keeps free at the end */
        int64_t back = from[0] | from[1] << 8;
        from += 2;
        run = token & 15;
        if (run == 15 && !longer(&from, end, &run)) return 0;
        run += 4;
        if (!back || back > to - start || run > stop - to - 5) return 0;
        if (back >= run) {
            memcpy(to, to - back, (size_t)run);
            to += run;
        } else {
            for (; run; run--, to++) *to = to[-back];
        }
    }
    return 0;
}

/* Bytes that are put one after the other. */
typedef struct { uint8_t *bytes; int64_t size, room; } Joined;

static uint8_t *room_for(Joined *joined, int64_t size)
{
    if (!grow((void **)&joined->bytes, &joined->room, joined->size + size + 1, 1)) return NULL;
    return joined->bytes + joined->size;
}

static int append(Joined *joined, const uint8_t *at, int64_t size)
{
    uint8_t *place = room_for(joined, size);
    if (!place) return 0;
    memcpy(place, at, (size_t)size);
    joined->size += size;
    return 1;
}

/* What is looked for, and room to open a container in. */
typedef struct {
    const uint8_t *magic, *name;
    int64_t name_size, limit;
    Joined scratch;
} Search;

enum { ABSENT = -1, ODD = -2, OUT_OF_MEMORY = -3 };

/* A field with its length before it; 0 when it does not fit. */
static inline int field(const uint8_t *body, int64_t size, int64_t *at, int64_t *start)
{
    if (size - *at < 4) return 0;
    int64_t length = load_u32(body + *at);
    *start = *at + 4;
    *at = *start + length;
    return *at <= size;
}

/*
 * The component in a body, put behind `found`: its size, ABSENT, ODD or OUT_OF_MEMORY. Before the bytes of a component
 * in parts stand its method and, in four bytes, its size when it is open.
 */
static int64_t search(const Search *wanted, const uint8_t *body, int64_t size, int parts, Joined *found)
{
    if (size < 4) return ODD;
    int64_t at = 4, start;
    for (uint32_t left = load_u32(body); left; left--) {
        if (!field(body, size, &at, &start)) return ODD;
        int here = at - start == wanted->name_size && !memcmp(body + start, wanted->name, (size_t)(at - start));
        if (!field(body, size, &at, &start)) return ODD;
        if (!here) continue;
        int64_t length = at - start;
        if (!parts) return append(found, body + start, length) ? length : OUT_OF_MEMORY;
        if (length < 5) return ODD;
        int method = body[start];
        int64_t open = load_u32(body + start + 1);
        if (open > wanted->limit || (method != AS_IT_IS && method != BY_LZ4)) return ODD;
        if (method == AS_IT_IS) {
            if (open != length - 5) return ODD;
            return append(found, body + start + 5, open) ? open : OUT_OF_MEMORY;
        }
        uint8_t *place = room_for(found, open);
        if (!place) return OUT_OF_MEMORY;
        if (!unlz4(body + start + 5, length - 5, place, open)) return ODD;
        found->size += open;
        return open;
    }
    return ABSENT;
}

/* The same in a sealed container. */
static int64_t search_sealed(Search *wanted, const uint8_t *data, int64_t size, Joined *found)
{
    uint8_t head[SEAL_HEAD];
    if (size < SEAL_HEAD || memcmp(data, wanted->magic, 4) || data[4] != SEAL_VERSION) return ODD;
    memcpy(head, data, SEAL_HEAD);
    memset(head + 8, 0, 4); /* where the checksum stands */
    uint32_t crc = crc_of(crc_of(0, head, SEAL_HEAD), data + SEAL_HEAD, size - SEAL_HEAD);
    uint64_t open = load_u64(data + 12);
    if (crc != load_u32(data + 8) || open > (uint64_t)wanted->limit) return ODD;
    const uint8_t *body = data + SEAL_HEAD;
    switch (data[5]) {
    case AS_IT_IS:
        return (int64_t)open == size - SEAL_HEAD ? search(wanted, body, (int64_t)open, 0, found) : ODD;
    case BY_LZ4:
        if (!room_for(&wanted->scratch, (int64_t)open)) return OUT_OF_MEMORY;
        if (!unlz4(body, size - SEAL_HEAD, wanted->scratch.bytes, (int64_t)open)) return ODD;
        return search(wanted, wanted->scratch.bytes, (int64_t)open, 0, found);
    case IN_PARTS: return search(wanted, body, size - SEAL_HEAD, 1, found);
    default: return ODD;
    }
}

/* Where `counts` texts of each image start and stop; every text has its length before it. 0 when one does not fit. */
static int walk_texts(const uint8_t *data, int64_t size, const uint8_t *at, const uint8_t *ends, const uint8_t *counts,
                      int64_t images, int64_t room, int64_t *starts, int64_t *stops)
{
    int64_t found = 0;
    for (int64_t image = 0; image < images; image++) {
        int64_t place = load_i64(at + 8 * image), end = load_i64(ends + 8 * image), left = load_i64(counts + 8 * image);
        if (place < 0 || end > size || left < 0 || left > room - found) return 0;
        for (; left; left--, found++) {
            if (place > end - 4) return 0;
            starts[found] = place + 4;
            place += 4 + (int64_t)load_u32(data + place);
            if (place > end) return 0;
            stops[found] = place;
        }
    }
    return found == room;
}

/* How many of the edges low + k · width, k from 0 to `bins` - 1, a value is not below. */
static inline int bin_of(double value, double low, double width, int bins)
{
    if (!(value >= low)) return 0;
    double bin = (value - low) / width;
    bin = bin >= 0 ? bin > bins - 1 ? bins - 1 : __builtin_floor(bin) : 0;
    bin -= value < low + bin * width; /* rounding may have moved it over an edge */
    bin += value >= low + (bin + 1) * width && bin + 1 < bins;
    return (int)bin + 1;
}

static inline int bin_by_edges(double value, double low, double width, int bins)
{
    int bin = 0;
    for (int edge = 0; edge < bins; edge++) bin += low + edge * width <= value;
    return bin;
}

/* Adds the weights of every sketch's values to its row of `sums`, which has `bins` + 1 places. */
static void add_masses(const uint8_t *values, const uint8_t *weights, const uint8_t *sizes, const uint8_t *rows,
                       const uint8_t *low, const uint8_t *width, const uint8_t *regular, int64_t sketches, int bins,
                       double *sums)
{
    for (int64_t sketch = 0; sketch < sketches; sketch++) {
        double *mass = sums + load_i64(rows + 8 * sketch) * (bins + 1);
        double from = as_double(load_u64(low + 8 * sketch)), step = as_double(load_u64(width + 8 * sketch));
        for (int64_t left = load_i64(sizes + 8 * sketch); left; left--, values += 8, weights += 8) {
            double value = as_double(load_u64(values));
            mass[regular[sketch] ? bin_of(value, from, step, bins) : bin_by_edges(value, from, step, bins)] +=
                as_double(load_u64(weights));
        }
    }
}

#endif
