/* What OT extension spends its time on: expanding and folding the streams of a block, and transposing the result.
 *
 * The transpose is portable; with AES and SSE instructions (`ot_accelerated`) both are done in registers.
 */
#include <stdint.h>
#include <string.h>

enum { COLUMNS = 128, ROW_OCTETS = COLUMNS / 8, DEPTH = 4, LEAVES = 1 << DEPTH, ROUNDS = 10 };

static void exchange(uint64_t *x, int distance, int shift, uint64_t mask) {
    for (int i = 0; i < 8; i++)
        if (!(i & distance)) {
            uint64_t difference = ((x[i] >> shift) ^ x[i + distance]) & mask;
            x[i] ^= difference << shift;
            x[i + distance] ^= difference;
        }
}

static uint64_t transpose_octet_matrix(uint64_t x) {
    uint64_t t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAull;
    x ^= t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCull;
    x ^= t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ull;
    return x ^ t ^ (t << 28);
}

/* Eight columns of eight octets at a time: three rounds of exchanges for the octets, three for the bits of each. */
void bit_rows_portable(const uint8_t *columns, int64_t octets, uint8_t *rows) {
    for (int64_t start = 0; start < octets; start += 8)
        for (int group = 0; group < ROW_OCTETS; group++) {
            uint64_t x[8];
            for (int column = 0; column < 8; column++)
                memcpy(x + column, columns + (group * 8 + column) * octets + start, 8);
            exchange(x, 4, 32, 0x00000000FFFFFFFFull);
            exchange(x, 2, 16, 0x0000FFFF0000FFFFull);
            exchange(x, 1, 8, 0x00FF00FF00FF00FFull);
            for (int octet = 0; octet < 8; octet++) {
                uint64_t bits = transpose_octet_matrix(x[octet]);
                uint8_t *row = rows + ((start + octet) * 8) * ROW_OCTETS + group;
                for (int element = 0; element < 8; element++)
                    row[element * ROW_OCTETS] = (uint8_t)(bits >> (8 * (7 - element)));
            }
        }
}

#if defined(__AES__) && defined(__SSE4_1__)
#include <immintrin.h>

int ot_accelerated(void) { return 1; }

static void transpose_octets(__m128i *x) {
    __m128i y[16];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++) {
            y[2 * i] = _mm_unpacklo_epi8(x[i], x[i + 8]);
            y[2 * i + 1] = _mm_unpackhi_epi8(x[i], x[i + 8]);
        }
        memcpy(x, y, sizeof y);
    }
}

/* Sixteen columns of sixteen octets at a time; a row's bits are the signs of the octets of its place. */
void bit_rows(const uint8_t *columns, int64_t octets, uint8_t *rows) {
    for (int64_t start = 0; start < octets; start += 16)
        for (int group = 0; group < COLUMNS / 16; group++) {
            __m128i x[16];
            for (int column = 0; column < 16; column++)
                x[column] = _mm_loadu_si128((const __m128i *)(columns + (group * 16 + column) * octets + start));
            transpose_octets(x);
            for (int octet = 0; octet < 16; octet++) {
                uint8_t *row = rows + ((start + octet) * 8) * ROW_OCTETS + 2 * group;
                __m128i bits = x[octet];
                for (int element = 0; element < 8; element++) {
                    uint16_t signs = (uint16_t)_mm_movemask_epi8(bits);
                    memcpy(row + element * ROW_OCTETS, &signs, 2);
                    bits = _mm_add_epi8(bits, bits);
                }
            }
        }
}

#define EXPAND(key, constant)                                                          \
    do {                                                                               \
        __m128i word = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, constant), 0xFF); \
        key = _mm_xor_si128(key, _mm_slli_si128(key, 4));                              \
        key = _mm_xor_si128(key, _mm_slli_si128(key, 8));                              \
        key = _mm_xor_si128(key, word);                                                \
        *schedule++ = key;                                                             \
    } while (0)

/* AES-128 key schedules (FIPS 197) of `count` keys of 16 octets: [count][11][16]. */
void ot_schedules(const uint8_t *keys, int64_t count, uint8_t *schedules) {
    __m128i *schedule = (__m128i *)schedules;
    for (int64_t i = 0; i < count; i++) {
        __m128i key = _mm_loadu_si128((const __m128i *)(keys + 16 * i));
        *schedule++ = key;
        EXPAND(key, 0x01);
        EXPAND(key, 0x02);
        EXPAND(key, 0x04);
        EXPAND(key, 0x08);
        EXPAND(key, 0x10);
        EXPAND(key, 0x20);
        EXPAND(key, 0x40);
        EXPAND(key, 0x80);
        EXPAND(key, 0x1B);
        EXPAND(key, 0x36);
    }
}

/* Blocks of one stream side by side: two where AES works on 256 bits. */
#if defined(__VAES__) && defined(__AVX2__)
enum { WIDTH = 32 };
typedef __m256i wide;
static inline wide spread_key(__m128i key) { return _mm256_broadcastsi128_si256(key); }
static inline wide counters(uint64_t c) {
    return _mm256_set_epi64x((int64_t)__builtin_bswap64(c + 1), 0, (int64_t)__builtin_bswap64(c), 0);
}
static inline wide mix(wide a, wide b) { return _mm256_xor_si256(a, b); }
static inline wide round_of(wide state, __m128i key) { return _mm256_aesenc_epi128(state, spread_key(key)); }
static inline wide last_round(wide state, __m128i key) { return _mm256_aesenclast_epi128(state, spread_key(key)); }
#else
enum { WIDTH = 16 };
typedef __m128i wide;
static inline wide spread_key(__m128i key) { return key; }
static inline wide counters(uint64_t c) { return _mm_set_epi64x((int64_t)__builtin_bswap64(c), 0); }
static inline wide mix(wide a, wide b) { return _mm_xor_si128(a, b); }
static inline wide round_of(wide state, __m128i key) { return _mm_aesenc_si128(state, key); }
static inline wide last_round(wide state, __m128i key) { return _mm_aesenclast_si128(state, key); }
#endif

static inline wide nothing(void) {
    wide zero;
    memset(&zero, 0, sizeof zero);
    return zero;
}

/* AES-CTR streams r_x of the LEAVES keys of one block from counter `first` on, folded: columns [DEPTH][octets] get
 * sum_x x r_x, lowest bit first, `sum` [octets] gets sum_x r_x. With `hole` the stream at place 0 is zero. */
static void fold_block(const __m128i *schedule, uint64_t first, int64_t octets, int hole, uint8_t *columns,
                       uint8_t *sum) {
    for (int64_t start = 0; start < octets; start += WIDTH) {
        int64_t filled = octets - start < WIDTH ? octets - start : WIDTH;
        wide r[LEAVES], counter = counters(first + (uint64_t)start / 16);
        for (int half = 0; half < LEAVES; half += LEAVES / 2) {
            wide state[LEAVES / 2];
            const __m128i *key = schedule + half * (ROUNDS + 1);
            for (int i = 0; i < LEAVES / 2; i++) state[i] = mix(counter, spread_key(key[i * (ROUNDS + 1)]));
            for (int round = 1; round < ROUNDS; round++)
                for (int i = 0; i < LEAVES / 2; i++) state[i] = round_of(state[i], key[i * (ROUNDS + 1) + round]);
            for (int i = 0; i < LEAVES / 2; i++) r[half + i] = last_round(state[i], key[i * (ROUNDS + 1) + ROUNDS]);
        }
        if (hole) r[0] = nothing();
        for (int bit = DEPTH - 1; bit >= 0; bit--) {
            wide column = r[1 << bit];
            for (int x = 1; x < 1 << bit; x++) column = mix(column, r[(1 << bit) + x]);
            for (int x = 0; x < 1 << bit; x++) r[x] = mix(r[x], r[(1 << bit) + x]);
            memcpy(columns + bit * octets + start, &column, (size_t)filled);
        }
        memcpy(sum + start, &r[0], (size_t)filled);
    }
}

/* Of all `blocks`: schedules [blocks][LEAVES][11][16], columns [blocks][DEPTH][octets], sums [blocks][octets]; `holes`
 * says of each block whether the stream at place 0 is zero. `octets` is a multiple of 16. */
void ot_fold(const uint8_t *schedules, uint64_t first, int64_t octets, int64_t blocks, const uint8_t *holes,
             uint8_t *columns, uint8_t *sums) {
    const __m128i *schedule = (const __m128i *)schedules;
    for (int64_t b = 0; b < blocks; b++)
        fold_block(schedule + b * LEAVES * (ROUNDS + 1), first, octets, holes[b], columns + b * DEPTH * octets,
                   sums + b * octets);
}

/* The first `words` words of AES(x) ^ x for x = row ^ offset ^ its number, the numbers counting from `first`: rows
 * [start, start + filled), at most 8. */
static void pads_of(const uint8_t *rows, int64_t start, int64_t filled, uint64_t first, __m128i shift,
                    const __m128i *key, int64_t words, uint32_t *pads) {
    __m128i x[8], state[8];
    for (int64_t i = 0; i < 8; i++) {
        x[i] = i < filled ? _mm_loadu_si128((const __m128i *)(rows + 16 * (start + i))) : shift;
        x[i] = _mm_xor_si128(_mm_xor_si128(x[i], shift), _mm_set_epi64x(0, (int64_t)(first + start + i)));
    }
    for (int i = 0; i < 8; i++) state[i] = _mm_xor_si128(x[i], key[0]);
    for (int round = 1; round < ROUNDS; round++)
        for (int i = 0; i < 8; i++) state[i] = _mm_aesenc_si128(state[i], key[round]);
    for (int i = 0; i < 8; i++) state[i] = _mm_xor_si128(_mm_aesenclast_si128(state[i], key[ROUNDS]), x[i]);
    if (words == 1)
        for (int64_t i = 0; i < filled; i++) pads[start + i] = (uint32_t)_mm_cvtsi128_si32(state[i]);
    else
        for (int64_t i = 0; i < filled; i++) memcpy(pads + words * (start + i), state + i, 4 * words);
}

#if defined(__VAES__) && defined(__AVX512F__)
enum { TOGETHER = 16 };

/* TOGETHER rows from `start` on, four to a vector. */
static void pads_together(const uint8_t *rows, int64_t start, uint64_t first, __m128i shift, const __m128i *key,
                          int64_t words, uint32_t *pads) {
    __m512i x[4], state[4], offset = _mm512_broadcast_i32x4(shift);
    const __m512i lowest = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    for (int i = 0; i < 4; i++) {
        int64_t n = (int64_t)(first + start + 4 * i);
        x[i] = _mm512_loadu_si512(rows + 16 * (start + 4 * i));
        x[i] = _mm512_xor_si512(_mm512_xor_si512(x[i], offset), _mm512_setr_epi64(n, 0, n + 1, 0, n + 2, 0, n + 3, 0));
        state[i] = _mm512_xor_si512(x[i], _mm512_broadcast_i32x4(key[0]));
    }
    for (int round = 1; round < ROUNDS; round++)
        for (int i = 0; i < 4; i++) state[i] = _mm512_aesenc_epi128(state[i], _mm512_broadcast_i32x4(key[round]));
    for (int i = 0; i < 4; i++)
        state[i] = _mm512_xor_si512(_mm512_aesenclast_epi128(state[i], _mm512_broadcast_i32x4(key[ROUNDS])), x[i]);
    if (words == 1)
        for (int i = 0; i < 4; i++)
            _mm_storeu_si128((__m128i *)(pads + start + 4 * i),
                             _mm512_castsi512_si128(_mm512_permutexvar_epi32(lowest, state[i])));
    else
        for (int i = 0; i < TOGETHER; i++) memcpy(pads + words * (start + i), (const __m128i *)state + i, 4 * words);
}
#else
enum { TOGETHER = 8 };

static void pads_together(const uint8_t *rows, int64_t start, uint64_t first, __m128i shift, const __m128i *key,
                          int64_t words, uint32_t *pads) {
    pads_of(rows, start, TOGETHER, first, shift, key, words, pads);
}
#endif

void ot_pads(const uint8_t *rows, int64_t count, uint64_t first, const uint8_t *offset, const uint8_t *schedules,
             int64_t words, uint32_t *pads) {
    const __m128i *key = (const __m128i *)schedules;
    __m128i shift = _mm_loadu_si128((const __m128i *)offset);
    int64_t start = 0;
    for (; start + TOGETHER <= count; start += TOGETHER) pads_together(rows, start, first, shift, key, words, pads);
    for (; start < count; start += 8)
        pads_of(rows, start, count - start < 8 ? count - start : 8, first, shift, key, words, pads);
}
#else
int ot_accelerated(void) { return 0; }

void bit_rows(const uint8_t *columns, int64_t octets, uint8_t *rows) { bit_rows_portable(columns, octets, rows); }
#endif
