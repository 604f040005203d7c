/* Distributed comparison functions on 7 to 31 bits with AES instructions: half-tree, prefix parity, leaves of 128 bits.
 *
 * Blocks are two 64-bit words, the low one first. Both keys of a comparison have the same correction words.
 */
#include <stdint.h>

#define LEAF_BITS 7
#define ROUNDS 10
#define TOGETHER 8 /* comparisons whose blocks pass through the cipher side by side */

#if defined(__AES__) && defined(__SSE4_1__) && defined(__x86_64__)
#include <immintrin.h>

typedef __m128i block;

int dcf_available(void) { return 1; }

static inline block expanded(block key, block assist) {
    assist = _mm_shuffle_epi32(assist, 0xFF);
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    return _mm_xor_si128(key, assist);
}

#define EXPAND(ROUND, CONSTANT) \
    keys[ROUND] = expanded(keys[ROUND - 1], _mm_aeskeygenassist_si128(keys[ROUND - 1], CONSTANT))

static void schedule(const uint8_t *key, block keys[ROUNDS + 1]) {
    keys[0] = _mm_loadu_si128((const block *)key);
    EXPAND(1, 0x01);
    EXPAND(2, 0x02);
    EXPAND(3, 0x04);
    EXPAND(4, 0x08);
    EXPAND(5, 0x10);
    EXPAND(6, 0x20);
    EXPAND(7, 0x40);
    EXPAND(8, 0x80);
    EXPAND(9, 0x1B);
    EXPAND(10, 0x36);
}

static inline void encrypt(block *blocks, const block *keys) {
    for (int i = 0; i < TOGETHER; i++) blocks[i] = _mm_xor_si128(blocks[i], keys[0]);
    for (int round = 1; round < ROUNDS; round++)
        for (int i = 0; i < TOGETHER; i++) blocks[i] = _mm_aesenc_si128(blocks[i], keys[round]);
    for (int i = 0; i < TOGETHER; i++) blocks[i] = _mm_aesenclast_si128(blocks[i], keys[ROUNDS]);
}

/* H(x) = AES(sigma(x)) ^ sigma(x) with sigma(high, low) = (high ^ low, high). */
static inline void hash(const block *blocks, const block *keys, block *result) {
    block moved[TOGETHER];
    for (int i = 0; i < TOGETHER; i++) {
        block swapped = _mm_shuffle_epi32(blocks[i], 0x4E);
        moved[i] = _mm_xor_si128(swapped, _mm_slli_si128(_mm_srli_si128(blocks[i], 8), 8));
        result[i] = moved[i];
    }
    encrypt(result, keys);
    for (int i = 0; i < TOGETHER; i++) result[i] = _mm_xor_si128(result[i], moved[i]);
}

/* All ones where the bit is set. */
static inline block spread(uint64_t bit) { return _mm_set1_epi64x(-(int64_t)(bit & 1)); }

static inline uint64_t parity_bit(block value) { return (uint64_t)_mm_cvtsi128_si64(value) & 1; }

/* The lowest `count` of 128 bits. */
static inline block low_bits(uint32_t count) {
    uint64_t low = count >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << count) - 1;
    uint64_t high = count > 64 ? ((uint64_t)1 << (count - 64)) - 1 : 0;
    return _mm_set_epi64x((int64_t)high, (int64_t)low);
}

/* One cipher call on whole blocks, to be compared with published vectors. */
void dcf_encrypt(const uint8_t *key, const uint8_t *source, uint8_t *target) {
    block keys[ROUNDS + 1], blocks[TOGETHER];
    schedule(key, keys);
    for (int i = 0; i < TOGETHER; i++) blocks[i] = _mm_loadu_si128((const block *)source + i);
    encrypt(blocks, keys);
    for (int i = 0; i < TOGETHER; i++) _mm_storeu_si128((block *)target + i, blocks[i]);
}

/* Correction words [levels + 1, count] of the thresholds; roots are the two keys' first blocks. */
void dcf_generate(const uint8_t *tree_key, const uint8_t *leaf_key, const uint32_t *thresholds, const block *root_zero,
                  const block *root_one, int64_t count, int levels, block *corrections) {
    block tree[ROUNDS + 1], leaf[ROUNDS + 1];
    schedule(tree_key, tree);
    schedule(leaf_key, leaf);
    for (int64_t start = 0; start < count; start += TOGETHER) {
        int filled = count - start < TOGETHER ? (int)(count - start) : TOGETHER;
        block zero[TOGETHER] = {0}, one[TOGETHER] = {0}, delta[TOGETHER], hashed_zero[TOGETHER], hashed_one[TOGETHER];
        uint32_t threshold[TOGETHER] = {0};
        for (int i = 0; i < filled; i++) {
            zero[i] = _mm_loadu_si128(root_zero + start + i);
            one[i] = _mm_loadu_si128(root_one + start + i);
            threshold[i] = thresholds[start + i];
        }
        for (int i = 0; i < TOGETHER; i++) delta[i] = _mm_xor_si128(zero[i], one[i]);
        for (int level = 0; level < levels; level++) {
            hash(zero, tree, hashed_zero);
            hash(one, tree, hashed_one);
            for (int i = 0; i < TOGETHER; i++) {
                uint64_t bit = threshold[i] >> (levels + LEAF_BITS - 1 - level);
                block both = _mm_xor_si128(hashed_zero[i], hashed_one[i]);
                block correction = _mm_xor_si128(both, _mm_and_si128(delta[i], spread(~bit)));
                if (i < filled) _mm_storeu_si128(corrections + level * count + start + i, correction);
                block own_zero = _mm_and_si128(zero[i], spread(bit)), own_one = _mm_and_si128(one[i], spread(bit));
                block used_zero = _mm_and_si128(correction, spread(parity_bit(zero[i])));
                block used_one = _mm_and_si128(correction, spread(parity_bit(one[i])));
                zero[i] = _mm_xor_si128(hashed_zero[i], _mm_xor_si128(own_zero, used_zero));
                one[i] = _mm_xor_si128(hashed_one[i], _mm_xor_si128(own_one, used_one));
            }
        }
        hash(zero, leaf, hashed_zero);
        hash(one, leaf, hashed_one);
        for (int i = 0; i < filled; i++) {
            block both = _mm_xor_si128(hashed_zero[i], hashed_one[i]);
            block vector = low_bits(threshold[i] & ((1 << LEAF_BITS) - 1));
            _mm_storeu_si128(corrections + levels * count + start + i, _mm_xor_si128(both, vector));
        }
    }
}

/* A key's share (0 or 1) of [point < threshold]. */
void dcf_evaluate(const uint8_t *tree_key, const uint8_t *leaf_key, const uint32_t *points, const block *roots,
                  const block *corrections, int64_t count, int levels, uint8_t *shares) {
    block tree[ROUNDS + 1], leaf[ROUNDS + 1];
    schedule(tree_key, tree);
    schedule(leaf_key, leaf);
    for (int64_t start = 0; start < count; start += TOGETHER) {
        int filled = count - start < TOGETHER ? (int)(count - start) : TOGETHER;
        block node[TOGETHER] = {0}, hashed[TOGETHER];
        uint32_t point[TOGETHER] = {0};
        uint64_t parity[TOGETHER] = {0};
        for (int i = 0; i < filled; i++) {
            node[i] = _mm_loadu_si128(roots + start + i);
            point[i] = points[start + i];
        }
        for (int level = 0; level <= levels; level++) {
            const block *words = corrections + level * count + start;
            hash(node, level < levels ? tree : leaf, hashed);
            for (int i = 0; i < filled; i++) {
                block used = _mm_and_si128(_mm_loadu_si128(words + i), spread(parity_bit(node[i])));
                block left = _mm_xor_si128(hashed[i], used);
                if (level == levels) {
                    uint32_t place = point[i] & ((1 << LEAF_BITS) - 1);
                    uint64_t word = (uint64_t)(place < 64 ? _mm_cvtsi128_si64(left) : _mm_extract_epi64(left, 1));
                    parity[i] ^= word >> (place % 64);
                    continue;
                }
                uint64_t bit = point[i] >> (levels + LEAF_BITS - 1 - level);
                block right = _mm_xor_si128(left, node[i]);
                parity[i] ^= ~bit & parity_bit(right);
                node[i] = _mm_xor_si128(left, _mm_and_si128(node[i], spread(bit)));
            }
        }
        for (int i = 0; i < filled; i++) shares[start + i] = parity[i] & 1;
    }
}
#else
int dcf_available(void) { return 0; }
#endif
