/* Elementwise and bit-plane kernels of masked wires; plain C, vectorised by the compiler for the CPU that runs it.
 *
 * The first element of a plane is in the highest bit. Unsigned words wrap.
 */
#include "../shared/bit_planes.h"

#define BLOCK 256 /* elements whose bits are spread to words together */

/* Shares of [m < r] and [m = r] of one digit, from the planes of m's bits and of the one-hot share of r's digit. */
static inline void digit(const uint8_t *onehot, const uint8_t *bits, int width, int64_t plane, int64_t count,
                         octets *less, octets *equal) {
    octets below[ENTRIES / 2], same[ENTRIES / 2], sum[ENTRIES / 2];
    int pairs = 1 << (width - 1);
    octets bit = load(bits, count);
    for (int i = 0; i < pairs; i++) {
        octets low = load(onehot + 2 * i * plane, count), high = load(onehot + (2 * i + 1) * plane, count);
        below[i] = high & ~bit;
        same[i] = low ^ ((low ^ high) & bit);
        sum[i] = low ^ high;
    }
    for (int level = 1; level < width; level++) {
        bit = load(bits + level * plane, count);
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

/* onehot [images, 8 + 16 * upper_digits, plane], bits of m [images, 3 + 4 * upper_digits, plane]
 * -> leaves [images, 1 + 2 * upper_digits, plane]. */
void plane_leaves(const uint8_t *onehot, const uint8_t *bits, int64_t images, int64_t plane, int64_t upper_digits,
                  uint8_t *leaves) {
    for (int64_t image = 0; image < images; image++) {
        for (int64_t start = 0; start < plane; start += OCTETS) {
            int64_t count = plane - start < OCTETS ? plane - start : OCTETS;
            octets less, equal;
            digit(onehot + start, bits + start, LOWEST_BITS, plane, count, &less, &equal);
            store(leaves + start, less, count);
            for (int upper = 0; upper < upper_digits; upper++) {
                int64_t entry = LOWEST_ENTRIES + upper * ENTRIES, bit = LOWEST_BITS + upper * DIGIT_BITS;
                digit(onehot + entry * plane + start, bits + bit * plane + start, DIGIT_BITS, plane, count, &less,
                      &equal);
                store(leaves + (1 + 2 * upper) * plane + start, less, count);
                store(leaves + (2 + 2 * upper) * plane + start, equal, count);
            }
        }
        onehot += (LOWEST_ENTRIES + upper_digits * ENTRIES) * plane;
        bits += (LOWEST_BITS + upper_digits * DIGIT_BITS) * plane;
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

/* A form of a share where the public bits t choose between two: `other` is null where there is one. */
static inline uint32_t chosen(const uint32_t *form, const uint32_t *other, const uint32_t *t, int64_t i) {
    return other ? form[i] ^ ((form[i] ^ other[i]) & (0 - t[i])) : form[i];
}

/* Share of s x for x = A - rho_t and the opened masked sign: (1 - 2s)(A bit - product_t) - s rho_t, and s A once. */
void plane_select(const uint8_t *sign, const uint32_t *public_word, const uint32_t *t, const uint32_t *bit,
                  const uint32_t *const *products, const uint32_t *const *masks, int64_t images, int64_t elements,
                  int first, uint32_t *result) {
    int64_t plane = (elements + 7) / 8;
    for (int64_t image = 0; image < images; image++) {
        const uint8_t *signs = sign + image * plane;
        for (int64_t start = 0; start < elements; start += BLOCK) {
            int64_t count = elements - start < BLOCK ? elements - start : BLOCK, base = image * elements + start;
            uint32_t s[BLOCK];
            for (int64_t i = 0; i < count; i++) s[i] = (signs[(start + i) / 8] >> (7 - i % 8)) & 1;
            for (int64_t i = 0; i < count; i++) {
                uint32_t a = public_word[base + i];
                uint32_t product = chosen(products[0], products[1], t, base + i);
                uint32_t mask = chosen(masks[0], masks[1], t, base + i);
                uint32_t value = (1 - 2 * s[i]) * (a * bit[base + i] - product) - s[i] * mask;
                result[base + i] = first ? value + s[i] * a : value;
            }
        }
    }
}

/* z = A - rho_t from the opened word y + r on `width` bits, without its `bits` low bits: A, t, and a share of z. */
#define LIFT(WORD, NAME)                                                                                             \
    void NAME(const uint32_t *opened, const WORD *zero, const WORD *one, int64_t count, int bits, int width,         \
              int first, WORD *public_word, uint32_t *t, WORD *share) {                                              \
        WORD offset = (WORD)1 << (width - 2 - bits);                                                                 \
        uint32_t added = (uint32_t)1 << (width - 2), ring = ~(uint32_t)0 >> (32 - width);                            \
        for (int64_t i = 0; i < count; i++) {                                                                        \
            uint32_t word = (opened[i] + added) & ring, top = word >> (width - 1);                                   \
            WORD a = (WORD)(word >> bits) - offset, selected = 0 - (WORD)top;                                        \
            WORD mask = zero[i] ^ ((zero[i] ^ one[i]) & selected);                                                   \
            public_word[i] = a;                                                                                      \
            t[i] = top;                                                                                              \
            share[i] = first ? a - mask : 0 - mask;                                                                  \
        }                                                                                                            \
    }
LIFT(uint32_t, plane_lift)
LIFT(uint64_t, plane_lift_wide)

/* q = [first] A^2 - 2 A rho_t + (rho_t^2), modulo 2^64. */
void plane_square_wide(const uint64_t *public_word, const uint32_t *t, const uint64_t *const *masks,
                       const uint64_t *const *squares, int64_t count, int first, uint64_t *result) {
    for (int64_t i = 0; i < count; i++) {
        uint64_t a = public_word[i], selected = 0 - (uint64_t)t[i];
        uint64_t mask = masks[0][i] ^ ((masks[0][i] ^ masks[1][i]) & selected);
        uint64_t square = squares[0][i] ^ ((squares[0][i] ^ squares[1][i]) & selected);
        result[i] = first ? square - 2 * a * mask + a * a : square - 2 * a * mask;
    }
}

/* Eight words take `width` octets; with a constant width, loops over them have no branches left. */
#define GROUP 8

static inline __attribute__((always_inline)) void pack_group(const uint32_t *words, int width, uint8_t *packed) {
    uint64_t pending = 0;
    int filled = 0;
    for (int i = 0; i < GROUP; i++) {
        pending |= (uint64_t)(words[i] & (~(uint32_t)0 >> (32 - width))) << filled;
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
        words[i] = (words[i] + (uint32_t)pending) & (~(uint32_t)0 >> (32 - width));
        pending >>= width;
        filled -= width;
    }
}

static inline __attribute__((always_inline)) void pack_image(const uint32_t *words, int64_t elements, int width,
                                                             uint8_t *packed) {
    int64_t whole = elements / GROUP;
    for (int64_t i = 0; i < whole; i++) pack_group(words + GROUP * i, width, packed + width * i);
    if (elements % GROUP) {
        uint32_t rest[GROUP] = {0};
        uint8_t octets[32];
        memcpy(rest, words + GROUP * whole, 4 * (size_t)(elements % GROUP));
        pack_group(rest, width, octets);
        memcpy(packed + width * whole, octets, (size_t)((elements % GROUP * width + 7) / 8));
    }
}

static inline __attribute__((always_inline)) void add_image(const uint8_t *packed, int64_t elements, int width,
                                                            uint32_t *words) {
    int64_t whole = elements / GROUP;
    for (int64_t i = 0; i < whole; i++) add_group(packed + width * i, width, words + GROUP * i);
    if (elements % GROUP) {
        uint32_t rest[GROUP] = {0};
        uint8_t octets[32] = {0};
        memcpy(rest, words + GROUP * whole, 4 * (size_t)(elements % GROUP));
        memcpy(octets, packed + width * whole, (size_t)((elements % GROUP * width + 7) / 8));
        add_group(octets, width, rest);
        memcpy(words + GROUP * whole, rest, 4 * (size_t)(elements % GROUP));
    }
}

/* One case per width, so that each is compiled for its constant. */
#define WIDTHS(CASE)                                                                                                 \
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13)      \
    CASE(14) CASE(15) CASE(16) CASE(17) CASE(18) CASE(19) CASE(20) CASE(21) CASE(22) CASE(23) CASE(24) CASE(25)      \
    CASE(26) CASE(27) CASE(28) CASE(29) CASE(30) CASE(31) CASE(32)
#define PACK(WIDTH) case WIDTH: pack_image(words, elements, WIDTH, packed); break;
#define ADD(WIDTH) case WIDTH: add_image(packed, elements, WIDTH, words); break;

/* The `width` low bits of the words of each image, one after the other, the lowest bit of the first word first. */
void pack_words(const uint32_t *words, int64_t images, int64_t elements, int width, uint8_t *packed) {
    for (int64_t image = 0; image < images; image++) {
        switch (width) { WIDTHS(PACK) }
        words += elements;
        packed += (elements * width + 7) / 8;
    }
}

/* A share without `bits` low bits, as party 0 (`first`) or party 1 drops them, and a mask: the words, and packed. */
#define MASK(WORD, NAME)                                                                                             \
    void NAME(const WORD *share, const uint32_t *mask, int64_t images, int64_t elements, int bits, int first,        \
              int width, uint32_t *words, uint8_t *octets) {                                                         \
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
                    pack_words(words + start, 1, count, width, octets);                                              \
                    octets += (count * width + 7) / 8;                                                               \
                }                                                                                                    \
            }                                                                                                        \
        }                                                                                                            \
    }
MASK(uint32_t, mask_words)
MASK(uint64_t, mask_wide_words)

/* The words that `pack_words` packed are added to the words given, modulo 2^width. */
void add_packed(const uint8_t *packed, int64_t images, int64_t elements, int width, uint32_t *words) {
    for (int64_t image = 0; image < images; image++) {
        switch (width) { WIDTHS(ADD) }
        words += elements;
        packed += (elements * width + 7) / 8;
    }
}
