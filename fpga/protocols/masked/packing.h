/* Words on their `width` low bits, one behind the other: the lowest bit of the first word first.
 *
 * Words go in pairs, of which each fills a lane of 64 bits; of the packed stream every 64 bits come from a few lanes.
 */
#ifndef RRNET_PACKING_H
#define RRNET_PACKING_H

#include <stdint.h>
#include <string.h>
#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

static inline uint32_t low_bits(int width) { return ~(uint32_t)0 >> (32 - width); }
static inline int64_t packed_octets(int64_t words, int width) { return (words * width + 7) / 8; }

#if defined(__AVX512BW__)
#define GROUP 16 /* words that are packed together */
#define LANES 8

/* Of a width: lane j that falls into 64 bits of the stream, and by how much it is moved; where a lane lies in it. */
typedef struct {
    int width, lanes;
    __m512i lane[LANES], moved[LANES], word, start, rest;
} packing;

static inline packing packing_of(int width) {
    int64_t lane[LANES][LANES], moved[LANES][LANES], word[LANES], start[LANES], rest[LANES];
    packing result = {.width = width, .lanes = 1};
    for (int k = 0; k < LANES; k++) {
        int first = 64 * k / (2 * width), at = 2 * width * k;
        for (int j = 0; j < LANES; j++) {
            int64_t left = 2 * width * (first + j) - 64 * k;
            lane[j][k] = first + j;
            moved[j][k] = j ? left : -left;
            if (first + j >= LANES) moved[j][k] = 64; /* moved out */
            else if (j && left < 64 && j >= result.lanes) result.lanes = j + 1;
        }
        word[k] = at / 64, start[k] = at % 64, rest[k] = 64 - at % 64;
    }
    for (int j = 0; j < LANES; j++)
        result.lane[j] = _mm512_loadu_si512(lane[j]), result.moved[j] = _mm512_loadu_si512(moved[j]);
    result.word = _mm512_loadu_si512(word), result.start = _mm512_loadu_si512(start);
    result.rest = _mm512_loadu_si512(rest);
    return result;
}

static inline __mmask16 word_mask(int64_t count) { return count >= GROUP ? 0xFFFF : (__mmask16)((1u << count) - 1); }

static inline __mmask64 octet_mask(int64_t count, int width) {
    int64_t octets = packed_octets(count < GROUP ? count : GROUP, width);
    return octets == 64 ? ~(__mmask64)0 : ((__mmask64)1 << octets) - 1;
}

static inline void pack_block(const packing *how, const uint32_t *words, int64_t count, uint8_t *packed) {
    const __m512i kept = _mm512_set1_epi64(low_bits(how->width));
    const __m128i width = _mm_cvtsi32_si128(how->width);
    for (int64_t i = 0; i < count; i += GROUP, packed += 2 * how->width) {
        __m512i pair = _mm512_maskz_loadu_epi32(word_mask(count - i), words + i);
        __m512i upper = _mm512_and_si512(_mm512_srli_epi64(pair, 32), kept);
        pair = _mm512_or_si512(_mm512_and_si512(pair, kept), _mm512_sll_epi64(upper, width));
        __m512i stream = _mm512_srlv_epi64(_mm512_permutexvar_epi64(how->lane[0], pair), how->moved[0]);
        for (int j = 1; j < how->lanes; j++)
            stream = _mm512_or_si512(
                stream, _mm512_sllv_epi64(_mm512_permutexvar_epi64(how->lane[j], pair), how->moved[j]));
        _mm512_mask_storeu_epi8(packed, octet_mask(count - i, how->width), stream);
    }
}

/* The words that `pack_block` packed are added to the words given, modulo 2^width. */
static inline void add_block(const packing *how, const uint8_t *packed, int64_t count, uint32_t *words) {
    const __m512i kept = _mm512_set1_epi32((int)low_bits(how->width));
    const __m128i width = _mm_cvtsi32_si128(how->width);
    const __m512i next = _mm512_add_epi64(how->word, _mm512_set1_epi64(1));
    for (int64_t i = 0; i < count; i += GROUP, packed += 2 * how->width) {
        __m512i stream = _mm512_maskz_loadu_epi8(octet_mask(count - i, how->width), packed);
        __m512i pair = _mm512_or_si512(_mm512_srlv_epi64(_mm512_permutexvar_epi64(how->word, stream), how->start),
                                       _mm512_sllv_epi64(_mm512_permutexvar_epi64(next, stream), how->rest));
        __m512i upper = _mm512_slli_epi64(_mm512_srl_epi64(pair, width), 32);
        __m512i other = _mm512_mask_blend_epi32(0xAAAA, pair, upper);
        __mmask16 whole = word_mask(count - i);
        __m512i sum = _mm512_add_epi32(_mm512_maskz_loadu_epi32(whole, words + i), other);
        _mm512_mask_storeu_epi32(words + i, whole, _mm512_and_si512(sum, kept));
    }
}
#else
/* Eight words take `width` octets; with a constant width, loops over them have no branches left. */
#define GROUP 8

typedef struct {
    int width;
} packing;

static inline packing packing_of(int width) { return (packing){width}; }

static inline __attribute__((always_inline)) void pack_group(const uint32_t *words, int width, uint8_t *packed) {
    uint64_t pending = 0;
    int filled = 0;
    for (int i = 0; i < GROUP; i++) {
        pending |= (uint64_t)(words[i] & low_bits(width)) << filled;
        filled += width;
        if (filled >= 32) {
            uint32_t low = (uint32_t)pending;
            memcpy(packed, &low, 4);
            packed += 4;
            pending >>= 32;
            filled -= 32;
        }
    }
    memcpy(packed, &pending, (size_t)(filled / 8));
}

static inline __attribute__((always_inline)) void add_group(const uint8_t *packed, int width, uint32_t *words) {
    uint64_t pending = 0;
    int filled = 0, left = width;
    for (int i = 0; i < GROUP; i++) {
        if (filled < width) {
            uint32_t next = 0;
            int count = left < 4 ? left : 4;
            memcpy(&next, packed, (size_t)count);
            packed += count;
            left -= count;
            pending |= (uint64_t)next << filled;
            filled += 8 * count;
        }
        words[i] = (words[i] + (uint32_t)pending) & low_bits(width);
        pending >>= width;
        filled -= width;
    }
}

static inline __attribute__((always_inline)) void pack_width(const uint32_t *words, int64_t count, int width,
                                                             uint8_t *packed) {
    for (; count >= GROUP; count -= GROUP, words += GROUP, packed += width) pack_group(words, width, packed);
    if (count) {
        uint32_t rest[GROUP] = {0};
        uint8_t octets[32];
        memcpy(rest, words, 4 * (size_t)count);
        pack_group(rest, width, octets);
        memcpy(packed, octets, (size_t)packed_octets(count, width));
    }
}

static inline __attribute__((always_inline)) void add_width(const uint8_t *packed, int64_t count, int width,
                                                            uint32_t *words) {
    for (; count >= GROUP; count -= GROUP, words += GROUP, packed += width) add_group(packed, width, words);
    if (count) {
        uint32_t rest[GROUP] = {0};
        uint8_t octets[32] = {0};
        memcpy(rest, words, 4 * (size_t)count);
        memcpy(octets, packed, (size_t)packed_octets(count, width));
        add_group(octets, width, rest);
        memcpy(words, rest, 4 * (size_t)count);
    }
}

/* One case per width, so that each is compiled for its constant. */
#define WIDTHS(CASE)                                                                                                 \
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13)      \
    CASE(14) CASE(15) CASE(16) CASE(17) CASE(18) CASE(19) CASE(20) CASE(21) CASE(22) CASE(23) CASE(24) CASE(25)      \
    CASE(26) CASE(27) CASE(28) CASE(29) CASE(30) CASE(31) CASE(32)
#define PACK(WIDTH) case WIDTH: pack_width(words, count, WIDTH, packed); break;
#define ADD(WIDTH) case WIDTH: add_width(packed, count, WIDTH, words); break;

static inline void pack_block(const packing *how, const uint32_t *words, int64_t count, uint8_t *packed) {
    switch (how->width) { WIDTHS(PACK) }
}

/* The words that `pack_block` packed are added to the words given, modulo 2^width. */
static inline void add_block(const packing *how, const uint8_t *packed, int64_t count, uint32_t *words) {
    switch (how->width) { WIDTHS(ADD) }
}
#endif

#endif
