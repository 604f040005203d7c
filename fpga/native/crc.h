/* CRC-32 (IEEE 802.3, as zlib computes it) by carry-less products: V. Gopal et al., "Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ Instruction", Intel, 2009; constants of the reflected polynomial. */
#ifndef RRNET_CRC_H
#define RRNET_CRC_H

#include <stddef.h>
#include <stdint.h>

#if defined(__PCLMUL__) && defined(__SSE4_1__)
#include <immintrin.h>

#define CRC_AVAILABLE 1

static inline __m128i fold(__m128i sum, __m128i by, __m128i next) {
    __m128i low = _mm_clmulepi64_si128(sum, by, 0x00), high = _mm_clmulepi64_si128(sum, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

#if defined(__VPCLMULQDQ__) && defined(__AVX512F__)
#define WIDE 256 /* octets that are folded at once */

static inline __m512i fold_wide(__m512i sum, __m512i by, __m512i next) {
    __m512i low = _mm512_clmulepi64_epi128(sum, by, 0x00), high = _mm512_clmulepi64_epi128(sum, by, 0x11);
    return _mm512_ternarylogic_epi64(low, high, next, 0x96);
}

/* Folds as many octets as make whole steps, WIDE at least, to 64; returns how many. */
static inline int64_t fold_most(const uint8_t *octets, int64_t count, uint32_t before, __m128i sum[4]) {
    const __m512i by_256 = _mm512_set4_epi32(1, 0x322d1430, 1, 0x1542778a);
    const __m512i by_64 = _mm512_set4_epi32(1, (int)0xc6e41596, 1, 0x54442bd4);
    __m512i part[4];
    for (int i = 0; i < 4; i++) part[i] = _mm512_loadu_si512(octets + 64 * i);
    part[0] = _mm512_xor_si512(part[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)before)));
    int64_t done = WIDE;
    for (; done + WIDE <= count; done += WIDE)
        for (int i = 0; i < 4; i++) part[i] = fold_wide(part[i], by_256, _mm512_loadu_si512(octets + done + 64 * i));
    for (int i = 1; i < 4; i++) part[i] = fold_wide(part[i - 1], by_64, part[i]);
    _mm512_storeu_si512(sum, part[3]);
    return done;
}
#else
#define WIDE INT64_MAX

static inline int64_t fold_most(const uint8_t *octets, int64_t count, uint32_t before, __m128i sum[4]) { return 0; }
#endif

/* The checksum of `count` octets, a multiple of 16 and at least 64, behind those whose checksum is `crc`. */
static inline uint32_t crc_octets(const uint8_t *octets, int64_t count, uint32_t crc) {
    const __m128i by_64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4), by_16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i polynomial = _mm_set_epi64x(0x01f7011641, 0x01db710641), mask = _mm_setr_epi32(-1, 0, -1, 0);
    const __m128i *block = (const __m128i *)octets;
    __m128i sum[4];
    if (count >= WIDE) {
        int64_t folded = fold_most(octets, count, ~crc, sum);
        block += folded / 16, count -= folded;
    } else {
        for (int i = 0; i < 4; i++) sum[i] = _mm_loadu_si128(block + i);
        sum[0] = _mm_xor_si128(sum[0], _mm_cvtsi32_si128((int)~crc));
        block += 4, count -= 64;
    }
    for (; count >= 64; block += 4, count -= 64)
        for (int i = 0; i < 4; i++) sum[i] = fold(sum[i], by_64, _mm_loadu_si128(block + i));
    __m128i all = sum[0];
    for (int i = 1; i < 4; i++) all = fold(all, by_16, sum[i]);
    for (; count >= 16; block++, count -= 16) all = fold(all, by_16, _mm_loadu_si128(block));
    /* 128 bits to 64, and Barrett's reduction to 32 */
    all = _mm_xor_si128(_mm_srli_si128(all, 8), _mm_clmulepi64_si128(all, by_16, 0x10));
    __m128i top = _mm_srli_si128(all, 4);
    all = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(all, mask), _mm_set_epi64x(0, 0x0163cd6124), 0x00), top);
    __m128i quotient = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(all, mask), polynomial, 0x10), mask);
    all = _mm_xor_si128(all, _mm_clmulepi64_si128(quotient, polynomial, 0x00));
    return ~(uint32_t)_mm_extract_epi32(all, 1);
}

static uint32_t crc_table[256]; /* of every octet */

/* Filled when the library is loaded: several threads read it. */
static __attribute__((constructor)) void crc_fill(void) {
    for (uint32_t octet = 0; octet < 256; octet++) {
        uint32_t value = octet;
        for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (0xEDB88320u & (0 - (value & 1)));
        crc_table[octet] = value;
    }
}

/* One octet after the other. */
static inline uint32_t crc_rest(const uint8_t *octets, int64_t count, uint32_t crc) {
    crc = ~crc;
    for (int64_t i = 0; i < count; i++) crc = crc >> 8 ^ crc_table[(crc ^ octets[i]) & 0xFF];
    return ~crc;
}

/* The checksum of any octets. */
static inline uint32_t crc_of(const uint8_t *octets, int64_t count) {
    int64_t whole = count < 64 ? 0 : count / 16 * 16;
    return crc_rest(octets + whole, count - whole, whole ? crc_octets(octets, whole, 0) : 0);
}
#else
#define CRC_AVAILABLE 0

static inline uint32_t crc_of(const uint8_t *octets, int64_t count) { return (void)octets, (void)count, 0; }
#endif

#endif
