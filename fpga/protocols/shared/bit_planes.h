/* Bit planes: one bit of all elements, eight to an octet; and the digits into which a compared word is cut.
 *
 * The lowest digit has 3 bits, all others 4.
 */
#ifndef RRNET_BIT_PLANES_H
#define RRNET_BIT_PLANES_H

#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define OCTETS 32 /* octets of a plane that are worked on together */
#define LOWEST_BITS 3
#define DIGIT_BITS 4
#define LOWEST_ENTRIES (1 << LOWEST_BITS)
#define ENTRIES (1 << DIGIT_BITS)

typedef uint64_t octets __attribute__((vector_size(OCTETS)));

static inline octets load(const uint8_t *source, int64_t count) {
    octets value = {0};
    if (count == OCTETS) memcpy(&value, source, OCTETS);
    else memcpy(&value, source, (size_t)count);
    return value;
}

static inline void store(uint8_t *target, octets value, int64_t count) {
    if (count == OCTETS) memcpy(target, &value, OCTETS);
    else memcpy(target, &value, (size_t)count);
}

#if defined(__AVX512F__)
/* The bits `from` to `to` of 64 words or fewer, one octet for each eight, at `octets` and every `plane` further. */
static inline void split_words(const uint32_t *words, int64_t count, int from, int to, int64_t plane,
                               uint8_t *octets) {
    const __m512i reversed = _mm512_xor_si512(
        _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32(7));
    __m512i part[4];
    for (int i = 0; i < 4; i++) {
        int64_t left = count - 16 * i;
        __mmask16 kept = left >= 16 ? 0xFFFF : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
        part[i] = _mm512_permutexvar_epi32(reversed, _mm512_maskz_loadu_epi32(kept, words + 16 * i));
    }
    size_t octet_count = (size_t)(count + 7) / 8;
    for (int bit = from; bit < to; bit++, octets += plane) {
        __m512i tested = _mm512_set1_epi32((int)(1u << bit));
        uint64_t found = (uint64_t)_mm512_test_epi32_mask(part[0], tested) |
                         (uint64_t)_mm512_test_epi32_mask(part[1], tested) << 16 |
                         (uint64_t)_mm512_test_epi32_mask(part[2], tested) << 32 |
                         (uint64_t)_mm512_test_epi32_mask(part[3], tested) << 48;
        if (octet_count == 8)
            memcpy(octets, &found, 8);
        else
            memcpy(octets, &found, octet_count);
    }
}
#define SPLIT 64
#else
/* 32 words -> their 32 planes, in place: word b of the result holds bit b of every word. */
static inline void transpose(uint32_t *words) {
    uint32_t mask = 0x0000FFFF;
    for (int step = 16; step; step >>= 1, mask ^= mask << step)
        for (int i = 0; i < 32; i = (i + step + 1) & ~step) {
            uint32_t swap = ((words[i] >> step) ^ words[i + step]) & mask;
            words[i] ^= swap << step;
            words[i + step] ^= swap;
        }
}

static inline void split_words(const uint32_t *words, int64_t count, int from, int to, int64_t plane,
                               uint8_t *octets) {
    uint32_t block[32] = {0};
    for (int64_t i = 0; i < count; i++) block[i ^ 7] = words[i];
    transpose(block);
    for (int bit = from; bit < to; bit++, octets += plane) {
        uint8_t part[4] = {(uint8_t)block[bit], (uint8_t)(block[bit] >> 8), (uint8_t)(block[bit] >> 16),
                           (uint8_t)(block[bit] >> 24)};
        memcpy(octets, part, (size_t)(count + 7) / 8);
    }
}
#define SPLIT 32
#endif

/* words [images, elements] -> planes [images, to - from, ceil(elements / 8)] of their bits from `from` on. */
void word_planes(const uint32_t *words, int64_t images, int64_t elements, int from, int to, uint8_t *planes) {
    int64_t plane = (elements + 7) / 8;
    for (int64_t image = 0; image < images; image++, words += elements, planes += (to - from) * plane)
        for (int64_t start = 0; start < elements; start += SPLIT)
            split_words(words + start, elements - start < SPLIT ? elements - start : SPLIT, from, to, plane,
                        planes + start / 8);
}

#endif
