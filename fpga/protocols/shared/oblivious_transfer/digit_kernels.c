/* Sums of two parties' words, digit by digit, from the pads of oblivious transfers: what runs per element.
 *
 * Transfers lie by choice bit, [choices][padded], in `first` and `second` (both pads, at the sender) or `chosen`. The
 * choices of a digit are its bits at the receiver, the lowest first, and then the receiver's share of the carry.
 */
#include <stdint.h>

enum { CARRY_BIT = 16 };

static inline uint32_t low(int bits) { return bits >= 32 ? ~0u : (1u << bits) - 1; }

/* (1 + X^h) w: what a shared bit's multiple of 1 + X^h adds to a share. */
static inline uint32_t twice(uint32_t w, int h) { return w ^ w << h; }

/* Of 16 bits, without a branch or a table, so that loops over elements become vector code. */
static inline uint32_t parity(uint32_t x) {
    x ^= x >> 8;
    x ^= x >> 4;
    x ^= x >> 2;
    return (x ^ x >> 1) & 1;
}

/* The one-hot word of the digit, and the carry in bit CARRY_BIT, from a share of X^(sum of the digits). */
static inline uint32_t folded(uint32_t z, int bits) {
    uint32_t high = z >> (1 << bits);
    return ((z ^ high) & low(1 << bits)) | parity(high) << CARRY_BIT;
}

/* One step at the sender: its share z has `support` bits; returns the message under the two pads. */
static inline uint32_t send_step(uint32_t *z, uint32_t first, uint32_t second, int support, int h) {
    uint32_t message = first ^ second ^ *z;
    *z ^= twice(first & low(support), h);
    return message;
}

/* The same at the receiver; `choice` is 0 or all ones, bits of `message` beyond `support` are not looked at. */
static inline void receive_step(uint32_t *z, uint32_t chosen, uint32_t choice, uint32_t message, int support, int h) {
    uint32_t own = (chosen ^ (choice & (message ^ *z))) & low(support);
    *z ^= twice(own, h);
}

static inline uint32_t spread(uint32_t word, int bit) { return 0u - (word >> bit & 1); }

/* A lowest digit of 3 bits: `message` [n] and the shares `words` [n] (one-hot word and carry). */
void send_lowest(const uint32_t *restrict r, const uint32_t *restrict first, const uint32_t *restrict second, int64_t padded, int64_t n,
                 uint32_t *restrict message, uint32_t *restrict words) {
    for (int64_t e = 0; e < n; e++) {
        uint32_t z = 1u << (r[e] & 7);
        uint32_t m0 = send_step(&z, first[e], second[e], 8, 1);
        uint32_t m1 = send_step(&z, first[padded + e], second[padded + e], 9, 2);
        uint32_t m2 = send_step(&z, first[2 * padded + e], second[2 * padded + e], 11, 4);
        message[e] = (m0 & low(8)) | (m1 & low(9)) << 8 | m2 << 17;
        words[e] = folded(z, 3);
    }
}

void receive_lowest(const uint32_t *restrict r, const uint32_t *restrict chosen, int64_t padded, int64_t n, const uint32_t *restrict message,
                    uint32_t *restrict words) {
    for (int64_t e = 0; e < n; e++) {
        uint32_t z = 0, m = message[e];
        receive_step(&z, chosen[e], spread(r[e], 0), m, 8, 1);
        receive_step(&z, chosen[padded + e], spread(r[e], 1), m >> 8, 9, 2);
        receive_step(&z, chosen[2 * padded + e], spread(r[e], 2), m >> 17, 11, 4);
        words[e] = folded(z, 3);
    }
}

/* A digit of 4 bits from bit `shift` on; `below` [n] are the words of the digit below it. `message` is [3][n]. */
void send_upper(const uint32_t *restrict r, int64_t shift, const uint32_t *restrict below, const uint32_t *restrict first, const uint32_t *restrict second,
                int64_t padded, int64_t n, uint32_t *restrict message, uint32_t *restrict words) {
    const uint32_t *restrict first_carry = first + 4 * padded, *second_carry = second + 4 * padded;
    for (int64_t e = 0; e < n; e++) {
        uint32_t own = 1u << (r[e] >> shift & 15), carry = below[e] >> CARRY_BIT & 1;
        uint32_t z = own << carry;
        uint32_t mc = first_carry[e] ^ second_carry[e] ^ own;
        z ^= twice(first_carry[e] & low(16), 1);
        uint32_t m0 = send_step(&z, first[e], second[e], 17, 1);
        uint32_t m1 = send_step(&z, first[padded + e], second[padded + e], 18, 2);
        uint32_t m2 = send_step(&z, first[2 * padded + e], second[2 * padded + e], 20, 4);
        uint32_t m3 = send_step(&z, first[3 * padded + e], second[3 * padded + e], 24, 8);
        message[e] = (mc & low(16)) | m0 << 16;
        message[n + e] = (m0 >> 16 & 1) | (m1 & low(18)) << 1 | m2 << 19;
        message[2 * n + e] = (m2 >> 13 & low(7)) | m3 << 7;
        words[e] = folded(z, 4);
    }
}

void receive_upper(const uint32_t *restrict r, int64_t shift, const uint32_t *restrict below, const uint32_t *restrict chosen, int64_t padded,
                   int64_t n, const uint32_t *restrict message, uint32_t *words) {
    for (int64_t e = 0; e < n; e++) {
        uint32_t a = message[e], b = message[n + e], c = message[2 * n + e], digit = r[e] >> shift, z = 0;
        receive_step(&z, chosen[4 * padded + e], spread(below[e], CARRY_BIT), a, 16, 1);
        receive_step(&z, chosen[e], spread(digit, 0), a >> 16 | b << 16, 17, 1);
        receive_step(&z, chosen[padded + e], spread(digit, 1), b >> 1, 18, 2);
        receive_step(&z, chosen[2 * padded + e], spread(digit, 2), b >> 19 | c << 13, 20, 4);
        receive_step(&z, chosen[3 * padded + e], spread(digit, 3), c >> 7, 24, 8);
        words[e] = folded(z, 4);
    }
}

/* Entry v of a table: bit v of a word, masked by one bit of each transfer's pad, the one of the choice bit's value in v. */
static const uint32_t SET[5] = {0xAAAAAAAAu, 0xCCCCCCCCu, 0xF0F0F0F0u, 0xFF00FF00u, 0xFFFF0000u};

/* The carry out of a digit of `bits` bits for each value of it at the receiver, and of its share of the carry where
 * there is one (`below` [n], octets 0 or 1): `message` [n]. `share` [n] is the sender's share, 0 or 1, given. */
void send_carry(const uint32_t *r, int64_t shift, int64_t bits, const uint8_t *below, const uint32_t *first,
                const uint32_t *second, int64_t padded, int64_t n, const uint8_t *share, uint32_t *message) {
    int values = 1 << bits;
    int64_t choices = bits + (below != 0);
    for (int64_t e = 0; e < n; e++) {
        uint32_t mask = 0;
        for (int64_t k = 0; k < choices; k++)
            mask ^= (first[k * padded + e] & ~SET[k]) | (second[k * padded + e] & SET[k]);
        uint32_t digit = r[e] >> shift & (values - 1), all = low(values);
        uint32_t without = ~low(values - digit) & all; /* values v with v + digit >= 2^bits */
        uint32_t with = ~low(values - 1 - digit) & all;
        uint32_t own = 0u - share[e], table = without ^ (own & all);
        if (below) {
            uint32_t carry = 0u - below[e], change = without ^ with;
            table = (without ^ (carry & change)) | (with ^ (carry & change)) << values;
            table ^= own & low(2 * values);
        }
        message[e] = mask ^ table;
    }
}

void receive_carry(const uint32_t *r, int64_t shift, int64_t bits, const uint8_t *below, const uint32_t *chosen,
                   int64_t padded, int64_t n, const uint32_t *message, uint8_t *share) {
    int64_t choices = bits + (below != 0);
    for (int64_t e = 0; e < n; e++) {
        uint32_t word = message[e], place = r[e] >> shift & low(bits);
        for (int64_t k = 0; k < choices; k++) word ^= chosen[k * padded + e];
        if (below) place |= (uint32_t)below[e] << bits;
        share[e] = (uint8_t)(word >> place & 1);
    }
}
