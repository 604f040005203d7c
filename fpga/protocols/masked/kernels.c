/* Elementwise and bit-plane kernels of masked wires; plain C, vectorised by the compiler for the CPU that runs it.
 *
 * The first element of a plane is in the highest bit. Unsigned words wrap.
 */
#include "../shared/bit_planes.h"
#include "packing.h"

#define BLOCK 256 /* elements whose bits are spread to words together */

/* Shares of [m < r] and [m = r] of one digit, from planes of the one-hot share of r's digit and octets of m's bits. */
static inline void digit(const uint8_t *onehot, int64_t plane, const uint8_t *bits, int width, int64_t count,
                         octets *less, octets *equal) {
    octets below[ENTRIES / 2], same[ENTRIES / 2], sum[ENTRIES / 2];
    int pairs = 1 << (width - 1);
    octets bit = load(bits, OCTETS);
    for (int i = 0; i < pairs; i++) {
        octets low = load(onehot + 2 * i * plane, count), high = load(onehot + (2 * i + 1) * plane, count);
        below[i] = high & ~bit;
        same[i] = low ^ ((low ^ high) & bit);
        sum[i] = low ^ high;
    }
    for (int level = 1; level < width; level++) {
        bit = load(bits + level * OCTETS, OCTETS);
        pairs /= 2;
        for (int i = 0; i < pairs; i++) {
            octets low = below[2 * i] ^ sum[2 * i + 1], high = below[2 * i + 1];
            below[i] = low ^ ((low ^ high) & bit);
            same[i] = same[2 * i] ^ ((same[2 * i] ^ same[2 * i + 1]) & bit);
            sum[i] = sum[2 * i] ^ sum[2 * i + 1];
        }
    }
    *less = below[0];
    *equal = same[0];
}

/* onehot [images, 8 + 16 * upper_digits, plane], words m [images, elements]
 * -> leaves [images, 1 + 2 * upper_digits, plane] of the comparison of their 3 + 4 * upper_digits low bits. */
void word_leaves(const uint8_t *onehot, const uint32_t *words, int64_t images, int64_t elements, int64_t upper_digits,
                 uint8_t *leaves) {
    int64_t plane = (elements + 7) / 8;
    int width = LOWEST_BITS + DIGIT_BITS * (int)upper_digits;
    for (int64_t image = 0; image < images; image++, words += elements) {
        for (int64_t start = 0; start < plane; start += OCTETS) {
            int64_t count = plane - start < OCTETS ? plane - start : OCTETS;
            uint8_t bits[31 * OCTETS];
            if (count < OCTETS) memset(bits, 0, sizeof bits);
            for (int64_t at = 8 * start; at < elements && at < 8 * (start + OCTETS); at += SPLIT)
                split_words(words + at, elements - at < SPLIT ? elements - at : SPLIT, 0, width, OCTETS,
                            bits + at / 8 - start);
            octets less, equal;
            digit(onehot + start, plane, bits, LOWEST_BITS, count, &less, &equal);
            store(leaves + start, less, count);
            for (int upper = 0; upper < upper_digits; upper++) {
                int64_t entry = LOWEST_ENTRIES + upper * ENTRIES, bit = LOWEST_BITS + upper * DIGIT_BITS;
                digit(onehot + entry * plane + start, plane, bits + bit * OCTETS, DIGIT_BITS, count, &less, &equal);
                store(leaves + (1 + 2 * upper) * plane + start, less, count);
                store(leaves + (2 + 2 * upper) * plane + start, equal, count);
            }
        }
        onehot += (LOWEST_ENTRIES + upper_digits * ENTRIES) * plane;
        leaves += (1 + 2 * upper_digits) * plane;
    }
}

/* Adds to a share of the highest digit's `greater` the products of a chain: each of some opened bits and one share, that
 * of a mask, of a product of masks behind them, or of one. opened, masks [images, bits, plane], bits 16 at most; products
 * [images, dealt, plane]; monomials [count, 2]: the opened bits, and the share's place or -1; result [images, plane]. */
void plane_chain(const uint8_t *opened, const uint8_t *masks, const uint8_t *products, int64_t images, int64_t plane,
                 int64_t bits, int64_t dealt, const int32_t *monomials, int64_t monomial_count, int first,
                 uint8_t *result) {
    for (int64_t image = 0; image < images; image++) {
        for (int64_t start = 0; start < plane; start += OCTETS) {
            int64_t count = plane - start < OCTETS ? plane - start : OCTETS;
            octets open[16], sum = load(result + start, count);
            for (int bit = 0; bit < bits; bit++) open[bit] = load(opened + bit * plane + start, count);
            for (int64_t i = 0; i < monomial_count; i++) {
                int32_t which = monomials[2 * i], place = monomials[2 * i + 1];
                if (place < 0 && !first) continue;
                octets product = ~(octets){0};
                if (place >= bits) product = load(products + (place - bits) * plane + start, count);
                else if (place >= 0) product = load(masks + place * plane + start, count);
                for (; which; which &= which - 1) product &= open[__builtin_ctz((unsigned)which)];
                sum ^= product;
            }
            store(result + start, sum, count);
        }
        opened += bits * plane, masks += bits * plane, products += dealt * plane, result += plane;
    }
}

/* z = A - rho_t follows from the word M = y + r, opened on `width` bits: z is y without its `bits` low bits. */
typedef struct {
    uint32_t added, ring;
    int bits, width;
} lifting;

static inline lifting lifting_of(int bits, int width) {
    return (lifting){(uint32_t)1 << (width - 2), ~(uint32_t)0 >> (32 - width), bits, width};
}

/* A, modulo 2^32 or 2^64, and all bits set where t is. */
#define PUBLIC(WORD, NAME)                                                                                           \
    static inline void NAME(lifting how, uint32_t opened, WORD *a, WORD *top) {                                      \
        uint32_t word = (opened + how.added) & how.ring;                                                             \
        *a = (WORD)(word >> how.bits) - ((WORD)1 << (how.width - 2 - how.bits));                                     \
        *top = 0 - (WORD)(word >> (how.width - 1));                                                                  \
    }
PUBLIC(uint32_t, public_word)
PUBLIC(uint64_t, public_wide)

/* A share of z. */
#define LIFT(WORD, NAME, OF)                                                                                         \
    void NAME(const uint32_t *opened, const WORD *zero, const WORD *one, int64_t count, int bits, int width,         \
              int first, WORD *share) {                                                                              \
        lifting how = lifting_of(bits, width);                                                                       \
        for (int64_t i = 0; i < count; i++) {                                                                        \
            WORD a, top;                                                                                             \
            OF(how, opened[i], &a, &top);                                                                            \
            WORD mask = zero[i] ^ ((zero[i] ^ one[i]) & top);                                                        \
            share[i] = first ? a - mask : 0 - mask;                                                                  \
        }                                                                                                            \
    }
LIFT(uint32_t, plane_lift, public_word)
LIFT(uint64_t, plane_lift_wide, public_wide)

/* Share of s x for the opened masked sign: (1 - 2s)(A bit - product_t) + s [x].
 *
 * x is lifted, `own` a share of it; with no second product it is M - r, `own` a share of r and A is M. */
void plane_select(const uint8_t *sign, const uint32_t *opened, int bits, int width, const uint32_t *own,
                  const uint32_t *bit, const uint32_t *const *products, int64_t images, int64_t elements, int first,
                  uint32_t *result) {
    int64_t plane = (elements + 7) / 8;
    lifting how = lifting_of(bits, width);
    for (int64_t image = 0; image < images; image++) {
        const uint8_t *signs = sign + image * plane;
        for (int64_t start = 0; start < elements; start += BLOCK) {
            int64_t count = elements - start < BLOCK ? elements - start : BLOCK, base = image * elements + start;
            const uint32_t *words = opened + base, *mine = own + base, *r_d = bit + base, *zero = products[0] + base;
            uint32_t s[BLOCK]; /* all bits of a word are the sign */
            for (int64_t octet = 0; 8 * octet < count; octet++)
                for (int i = 0; i < 8; i++) s[8 * octet + i] = 0 - ((uint32_t)signs[start / 8 + octet] >> (7 - i) & 1);
            if (products[1]) {
                const uint32_t *one = products[1] + base;
                for (int64_t i = 0; i < count; i++) {
                    uint32_t a, top;
                    public_word(how, words[i], &a, &top);
                    uint32_t product = zero[i] ^ ((zero[i] ^ one[i]) & top);
                    result[base + i] = ((a * r_d[i] - product) ^ s[i]) - s[i] + (mine[i] & s[i]);
                }
            } else
                for (int64_t i = 0; i < count; i++) {
                    uint32_t share = (first ? words[i] : 0) - mine[i];
                    result[base + i] = ((words[i] * r_d[i] - zero[i]) ^ s[i]) - s[i] + (share & s[i]);
                }
        }
    }
}

/* q = 2 A [z] - [first] A^2 + (rho_t^2), modulo 2^64, of a share of the lifted z. */
void plane_square_wide(const uint32_t *opened, int bits, int width, const uint64_t *own,
                       const uint64_t *const *squares, int64_t count, int first, uint64_t *result) {
    lifting how = lifting_of(bits, width);
    for (int64_t i = 0; i < count; i++) {
        uint64_t a, top;
        public_wide(how, opened[i], &a, &top);
        uint64_t square = squares[0][i] ^ ((squares[0][i] ^ squares[1][i]) & top);
        result[i] = first ? square + a * (2 * own[i] - a) : square + 2 * a * own[i];
    }
}

/* The `width` low bits of the words of each image. */
void pack_words(const uint32_t *words, int64_t images, int64_t elements, int width, uint8_t *packed) {
    packing how = packing_of(width);
    for (int64_t image = 0; image < images; image++, words += elements, packed += packed_octets(elements, width))
        pack_block(&how, words, elements, packed);
}

/* A share without `bits` low bits, as party 0 (`first`) or party 1 drops them, and a mask: the words, and packed. */
#define MASK(WORD, NAME)                                                                                             \
    void NAME(const WORD *share, const uint32_t *mask, int64_t images, int64_t elements, int bits, int first,        \
              int width, uint32_t *words, uint8_t *octets) {                                                         \
        packing how = packing_of(width);                                                                             \
        for (int64_t image = 0; image < images; image++, share += elements, mask += elements, words += elements) {   \
            for (int64_t start = 0; start < elements; start += BLOCK) {                                              \
                int64_t count = elements - start < BLOCK ? elements - start : BLOCK;                                 \
                if (first)                                                                                           \
                    for (int64_t i = start; i < start + count; i++)                                                  \
                        words[i] = (uint32_t)(share[i] >> bits) + mask[i];                                           \
                else                                                                                                 \
                    for (int64_t i = start; i < start + count; i++)                                                  \
                        words[i] = mask[i] - (uint32_t)((0 - share[i]) >> bits);                                     \
                if (width < 32) {                                                                                    \
                    pack_block(&how, words + start, count, octets);                                                  \
                    octets += packed_octets(count, width);                                                           \
                }                                                                                                    \
            }                                                                                                        \
        }                                                                                                            \
    }
MASK(uint32_t, mask_words)
MASK(uint64_t, mask_wide_words)

/* The words that `pack_words` packed are added to the words given, modulo 2^width. */
void add_packed(const uint8_t *packed, int64_t images, int64_t elements, int width, uint32_t *words) {
    packing how = packing_of(width);
    for (int64_t image = 0; image < images; image++, words += elements, packed += packed_octets(elements, width))
        add_block(&how, packed, elements, words);
}
