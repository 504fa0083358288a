/* MurmurHash3 x64 128, and the coupons of HyperLogLog. */

#ifndef MONITORING_HASHING_H
#define MONITORING_HASHING_H

#include "words.h"

#define BLOCK 512    /* rows taken at a time, so that what lies between two steps stays in the L1 cache */
#define SLOT_BITS 26 /* of a coupon; above them is the value of the register */

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

/* All but the last step of hashing bytes. `readable`: how many there are from `at` on, at least `length`. */
static inline Hash begin_hash(const uint8_t *at, int64_t length, int64_t readable, uint64_t tail[2])
{
    uint64_t first = SEED, second = SEED;
    int64_t left = length;
    for (; left >= 16; left -= 16, at += 16, readable -= 16) {
        first ^= mix_first(load_u64(at));
        first = (rotate(first, 27) + second) * 5 + 0x52dce729;
        second ^= mix_second(load_u64(at + 8));
        second = (rotate(second, 31) + first) * 5 + 0x38495ab5;
    }
    tail[0] = tail[1] = 0; /* zeros mix to zero, so a missing half needs no branch */
    if (readable >= 16) { /* two loads and two masks are quicker than a copy of unknown length */
        int low = left < 8 ? (int)left : 8, high = (int)left - low;
        tail[0] = load_u64(at) & (low == 8 ? UINT64_MAX : (1ULL << 8 * low) - 1);
        tail[1] = load_u64(at + 8) & ((1ULL << 8 * high) - 1);
    } else if (left) {
        memcpy(tail, at, (size_t)left);
    }
    return (Hash){first, second};
}

static inline Hash hash_bytes(const uint8_t *at, int64_t length, int64_t readable)
{
    uint64_t tail[2];
    Hash begun = begin_hash(at, length, readable, tail);
    return finish_hash(begun.first ^ mix_first(tail[0]), begun.second ^ mix_second(tail[1]), (uint64_t)length);
}

/* In the low 26 bits the slot, above them 1 + the leading zeros of the second half, at most 63. Never 0. */
static inline uint32_t coupon_of(Hash hash)
{
    /* The lowest bit only matters for a half of 0 or 1, whose zeros are cut to 62 anyway. */
    uint32_t zeros = (uint32_t)__builtin_clzll(hash.second | 1);
    if (zeros > 62) zeros = 62;
    return ((zeros + 1) << SLOT_BITS) | ((uint32_t)hash.first & ((1u << SLOT_BITS) - 1));
}

/* The two halves of many hashes. */
typedef struct { uint64_t first[BLOCK], second[BLOCK]; } Hashes;

BODY hash_words_body(const uint64_t *restrict words, int64_t count, Hashes *restrict hashes)
{
    for (int64_t i = 0; i < count; i++) {
        Hash hash = hash_word(words[i]);
        hashes->first[i] = hash.first;
        hashes->second[i] = hash.second;
    }
}
TWICE(hash_words, (const uint64_t *restrict words, int64_t count, Hashes *restrict hashes), (words, count, hashes))

/* Byte strings of which only the last, incomplete block of 16 bytes is not hashed yet. */
typedef struct { uint64_t low[BLOCK], high[BLOCK], lengths[BLOCK]; } Tails;

BODY finish_hashes_body(const Tails *restrict tails, int64_t count, Hashes *restrict hashes)
{
    for (int64_t i = 0; i < count; i++) {
        Hash hash = finish_hash(hashes->first[i] ^ mix_first(tails->low[i]),
                                hashes->second[i] ^ mix_second(tails->high[i]), tails->lengths[i]);
        hashes->first[i] = hash.first;
        hashes->second[i] = hash.second;
    }
}
TWICE(finish_hashes, (const Tails *restrict tails, int64_t count, Hashes *restrict hashes), (tails, count, hashes))

#endif
