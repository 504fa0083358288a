/* Words, bits and offsets as they lie in memory, and what depends on the processor. */

#ifndef MONITORING_WORDS_H
#define MONITORING_WORDS_H

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

/* What can go wrong while the interpreter lock is released. */
enum trouble { FINE = 0, NO_MEMORY, BAD_ROW, BAD_CODE, BAD_OFFSET };

/*
 * A loop that gains from newer processors is written once, as `NAME_body`, and compiled twice. Vectors change no
 * result: integers are exact, and sums of doubles have fixed lanes.
 */
#define BODY static inline __attribute__((always_inline)) void
#if defined(__x86_64__)
static int newer; /* whether this processor has AVX2 and BMI; set when the module is loaded */
#define LEARN_PROCESSOR()                                                                                          \
    (__builtin_cpu_init(),                                                                                         \
     newer = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
#define TWICE(name, parameters, arguments)                                                                         \
    static __attribute__((noinline)) void name##_plain parameters { name##_body arguments; }                       \
    static __attribute__((noinline, target("avx2,bmi,bmi2"))) void name##_newer parameters { name##_body arguments; } \
    static inline void name parameters                                                                             \
    {                                                                                                              \
        if (newer) name##_newer arguments;                                                                         \
        else name##_plain arguments;                                                                               \
    }
#else
#define LEARN_PROCESSOR() ((void)0)
#define TWICE(name, parameters, arguments)                                                                         \
    static __attribute__((noinline)) void name parameters { name##_body arguments; }
#endif

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

static inline int bit(const uint8_t *bits, int64_t at) { return (bits[at >> 3] >> (at & 7)) & 1; }

/* 64 bits from any bit on; all of them must lie in the bitmap. */
static inline uint64_t bits_from(const uint8_t *bits, int64_t at)
{
    const uint8_t *first = bits + (at >> 3);
    int shift = (int)(at & 7);
    uint64_t word = load_u64(first) >> shift;
    return shift ? word | (uint64_t)first[8] << (64 - shift) : word;
}

static int64_t count_bits(const uint8_t *bits, int64_t at, int64_t count)
{
    int64_t found = 0;
    for (; count >= 64; count -= 64, at += 64) found += __builtin_popcountll(bits_from(bits, at));
    for (; count; count--, at++) found += bit(bits, at);
    return found;
}

/* How many of `count` bits are set in both bitmaps. */
static int64_t count_both(const uint8_t *left, const uint8_t *right, int64_t at, int64_t count)
{
    int64_t found = 0;
    for (; count >= 64; count -= 64, at += 64)
        found += __builtin_popcountll(bits_from(left, at) & bits_from(right, at));
    for (; count; count--, at++) found += bit(left, at) & bit(right, at);
    return found;
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

#endif
