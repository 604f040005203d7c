/* Trees of noise and sums of rows: what silent transfers spend their time on. The trees need AES instructions
 * (`silent_accelerated`); a row is 16 octets. */
#include <stdint.h>
#include <string.h>

enum { ROUNDS = 10, TERMS = 10, WIDEST = 1 << 12 };
typedef uint64_t row __attribute__((vector_size(16), aligned(8), may_alias));

/* rows_i ^= sum of the TERMS rows of `base` at `places` [n][TERMS]; the same with bits in octets where there are any. */
void add_rows(const uint16_t *places, int64_t n, const uint64_t *base, uint64_t *rows, const uint8_t *base_bits,
              uint8_t *bits) {
    const row *from = (const row *)base;
    row *to = (row *)rows;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t *at = places + TERMS * i;
        row sum = to[i];
        for (int d = 0; d < TERMS; d++) sum ^= from[at[d]];
        to[i] = sum;
        if (!bits) continue;
        uint8_t bit = bits[i];
        for (int d = 0; d < TERMS; d++) bit ^= base_bits[at[d]];
        bits[i] = bit;
    }
}

/* rows_i ^= offset where bit i of `octets` is set, the first in the top bit. */
void shift_rows(uint64_t *rows, const uint8_t *octets, int64_t n, const uint64_t *offset) {
    for (int64_t i = 0; i < n; i++) {
        uint64_t all = 0 - (uint64_t)(octets[i / 8] >> (7 - i % 8) & 1);
        rows[2 * i] ^= offset[0] & all;
        rows[2 * i + 1] ^= offset[1] & all;
    }
}

#if defined(__AES__) && defined(__SSE4_1__)
#include <immintrin.h>

int silent_accelerated(void) { return 1; }

#if defined(__VAES__) && defined(__AVX512F__)
enum { TOGETHER = 16 };

/* The children of TOGETHER parents, four to a vector. */
static void double_together(const __m128i *key, const __m128i *parents, __m128i *children) {
    const __m512i high = _mm512_setr_epi64(0, -1, 0, -1, 0, -1, 0, -1);
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    __m512i x[4], s[4], state[4];
    for (int i = 0; i < 4; i++) {
        x[i] = _mm512_loadu_si512(parents + 4 * i);
        s[i] = _mm512_xor_si512(_mm512_shuffle_epi32(x[i], 78), _mm512_and_si512(x[i], high));
        state[i] = _mm512_xor_si512(s[i], _mm512_broadcast_i32x4(_mm_loadu_si128(key)));
    }
    for (int round = 1; round < ROUNDS; round++)
        for (int i = 0; i < 4; i++)
            state[i] = _mm512_aesenc_epi128(state[i], _mm512_broadcast_i32x4(_mm_loadu_si128(key + round)));
    for (int i = 0; i < 4; i++) {
        __m512i last = _mm512_broadcast_i32x4(_mm_loadu_si128(key + ROUNDS));
        __m512i left = _mm512_xor_si512(_mm512_aesenclast_epi128(state[i], last), s[i]);
        __m512i right = _mm512_xor_si512(x[i], left);
        _mm512_storeu_si512(children + 8 * i, _mm512_permutex2var_epi64(left, first, right));
        _mm512_storeu_si512(children + 8 * i + 4, _mm512_permutex2var_epi64(left, second, right));
    }
}
#else
enum { TOGETHER = WIDEST };

static void double_together(const __m128i *key, const __m128i *parents, __m128i *children) {
    (void)key, (void)parents, (void)children; /* no level has as many parents */
}
#endif

/* Of count parents x: the left child is H(x) = AES(s) ^ s for s = (high ^ low, high) of x, the right one x ^ H(x). */
static void double_level(const __m128i *key, const __m128i *parents, int64_t count, __m128i *children) {
    const __m128i high = _mm_set_epi64x(-1, 0);
    int64_t start = 0;
    for (; start + TOGETHER <= count; start += TOGETHER)
        double_together(key, parents + start, children + 2 * start);
    for (; start < count; start += 8) {
        int64_t filled = count - start < 8 ? count - start : 8;
        __m128i x[8], s[8], state[8];
        for (int i = 0; i < 8; i++) {
            x[i] = i < filled ? _mm_loadu_si128(parents + start + i) : high;
            s[i] = _mm_xor_si128(_mm_shuffle_epi32(x[i], 78), _mm_and_si128(x[i], high));
            state[i] = _mm_xor_si128(s[i], _mm_loadu_si128(key));
        }
        for (int round = 1; round < ROUNDS; round++)
            for (int i = 0; i < 8; i++) state[i] = _mm_aesenc_si128(state[i], _mm_loadu_si128(key + round));
        for (int i = 0; i < filled; i++) {
            __m128i left = _mm_xor_si128(_mm_aesenclast_si128(state[i], _mm_loadu_si128(key + ROUNDS)), s[i]);
            _mm_storeu_si128(children + 2 * (start + i), left);
            _mm_storeu_si128(children + 2 * (start + i) + 1, _mm_xor_si128(x[i], left));
        }
    }
}

static __m128i sum_of(const __m128i *nodes, int64_t count, int64_t step) {
    __m128i sum = _mm_setzero_si128();
    for (int64_t i = 0; i < count; i += step) sum = _mm_xor_si128(sum, _mm_loadu_si128(nodes + i));
    return sum;
}

/* Whole trees: the root's children are `roots` and that plus `offset`. `leaves` [trees][2^depth], `sums` [trees][depth]
 * of the left children of each level. */
void grow_trees(const uint8_t *schedule, int64_t depth, int64_t trees, const uint64_t *roots, const uint64_t *offset,
                uint64_t *leaves, uint64_t *sums) {
    __m128i nodes[2][WIDEST], *sum = (__m128i *)sums;
    for (int64_t tree = 0; tree < trees; tree++) {
        __m128i *last = (__m128i *)leaves + (tree << depth), *level = depth == 1 ? last : nodes[1];
        __m128i root = _mm_loadu_si128((const __m128i *)roots + tree);
        _mm_storeu_si128(level, root);
        _mm_storeu_si128(level + 1, _mm_xor_si128(root, _mm_loadu_si128((const __m128i *)offset)));
        _mm_storeu_si128(sum++, root);
        for (int64_t d = 2; d <= depth; d++) {
            __m128i *next = d == depth ? last : nodes[d % 2];
            double_level((const __m128i *)schedule, level, 1 << (d - 1), next);
            _mm_storeu_si128(sum++, sum_of(next, 1 << d, 2));
            level = next;
        }
    }
}

/* The same trees without the leaf at `holes` [trees], from the sums `known` [trees][depth] of the children on the side
 * where the way to the hole does not go; the leaf at the hole becomes the sum of all others. */
void puncture_trees(const uint8_t *schedule, int64_t depth, int64_t trees, const int64_t *holes, const uint64_t *known,
                    uint64_t *leaves) {
    __m128i nodes[2][WIDEST];
    const __m128i *key = (const __m128i *)known, zero = _mm_setzero_si128();
    for (int64_t tree = 0; tree < trees; tree++) {
        __m128i *last = (__m128i *)leaves + (tree << depth), *level = depth == 1 ? last : nodes[1];
        int64_t hole = holes[tree] >> (depth - 1) & 1;
        _mm_storeu_si128(level + hole, zero);
        _mm_storeu_si128(level + (1 - hole), _mm_loadu_si128(key++));
        for (int64_t d = 2; d <= depth; d++) {
            __m128i *next = d == depth ? last : nodes[d % 2];
            double_level((const __m128i *)schedule, level, 1 << (d - 1), next);
            int64_t way = holes[tree] >> (depth - d) & 1, side = 1 - way;
            _mm_storeu_si128(next + 2 * hole, zero);
            _mm_storeu_si128(next + 2 * hole + 1, zero);
            __m128i sibling = _mm_xor_si128(_mm_loadu_si128(key++), sum_of(next + side, (1 << d) - side, 2));
            _mm_storeu_si128(next + 2 * hole + side, sibling);
            hole = 2 * hole + way;
            level = next;
        }
        _mm_storeu_si128(last + hole, sum_of(last, 1 << depth, 1));
    }
}
#else
int silent_accelerated(void) { return 0; }
#endif
