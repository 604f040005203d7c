/* Tables of the oblivious transfers behind a comparison, in bit planes: the sender's answer, the receiver's choice.
 *
 * The lowest digit has an entry of one bit ("greater") per value, the seven others one of two ("greater", "equal").
 */
#include "../shared/bit_planes.h"

#define UPPER_DIGITS 7
#define BITS (LOWEST_BITS + UPPER_DIGITS * DIGIT_BITS)
#define MASKS (LOWEST_ENTRIES + 2 * UPPER_DIGITS * ENTRIES)
#define MESSAGES (LOWEST_ENTRIES - 1 + 2 * UPPER_DIGITS * (ENTRIES - 1))
#define LEAVES (1 + 2 * UPPER_DIGITS)

/* One digit of the sender: per entry the comparison with the threshold under the mask that the choice exchanges here;
 * the share of entry 0 absorbs the message of value 0. */
static inline void answer_digit(const uint8_t *masks, const uint8_t *choice, const uint8_t *threshold, int width,
                                int parts, int64_t plane, int64_t count, uint8_t *messages, uint8_t *leaves) {
    octets bits[DIGIT_BITS], table[2][ENTRIES];
    int entries = 1 << width;
    table[1][0] = ~(octets){0};
    for (int bit = 0; bit < width; bit++) {
        octets value = load(threshold + bit * plane, count);
        for (int entry = (1 << bit) - 1; entry >= 0; entry--) {
            table[1][entry | 1 << bit] = table[1][entry] & value;
            table[1][entry] &= ~value;
        }
        bits[bit] = load(choice + bit * plane, count);
    }
    table[0][0] = (octets){0};
    for (int entry = 1; entry < entries; entry++) table[0][entry] = table[0][entry - 1] ^ table[1][entry - 1];
    for (int part = 0; part < parts; part++) {
        octets mask[ENTRIES];
        for (int entry = 0; entry < entries; entry++) mask[entry] = load(masks + (entry * parts + part) * plane, count);
        for (int bit = 0; bit < width; bit++)
            for (int entry = 0; entry < entries; entry++)
                if (!(entry >> bit & 1)) {
                    octets difference = (mask[entry] ^ mask[entry | 1 << bit]) & bits[bit];
                    mask[entry] ^= difference;
                    mask[entry | 1 << bit] ^= difference;
                }
        octets own = table[part][0] ^ mask[0];
        store(leaves + part * plane, own, count);
        for (int entry = 1; entry < entries; entry++)
            store(messages + ((entry - 1) * parts + part) * plane, table[part][entry] ^ mask[entry] ^ own, count);
    }
}

/* masks [images, MASKS, plane], choices and thresholds [images, BITS, plane] -> messages [images, MESSAGES, plane] and
 * the sender's leaves [images, LEAVES, plane]. */
void ot_answer(const uint8_t *masks, const uint8_t *choices, const uint8_t *thresholds, int64_t images, int64_t plane,
               uint8_t *messages, uint8_t *leaves) {
    for (int64_t image = 0; image < images; image++) {
        for (int64_t start = 0; start < plane; start += OCTETS) {
            int64_t count = plane - start < OCTETS ? plane - start : OCTETS;
            answer_digit(masks + start, choices + start, thresholds + start, LOWEST_BITS, 1, plane, count,
                         messages + start, leaves + start);
            for (int digit = 0; digit < UPPER_DIGITS; digit++) {
                int64_t bit = (LOWEST_BITS + digit * DIGIT_BITS) * plane + start;
                answer_digit(masks + (LOWEST_ENTRIES + 2 * digit * ENTRIES) * plane + start, choices + bit,
                             thresholds + bit, DIGIT_BITS, 2, plane, count,
                             messages + (LOWEST_ENTRIES - 1 + 2 * digit * (ENTRIES - 1)) * plane + start,
                             leaves + (1 + 2 * digit) * plane + start);
            }
        }
        masks += MASKS * plane;
        choices += BITS * plane;
        thresholds += BITS * plane;
        messages += MESSAGES * plane;
        leaves += LEAVES * plane;
    }
}

/* One digit of the receiver: the entry that its bits name; value 0 has no message. */
static inline void choose_digit(const uint8_t *messages, const uint8_t *own, int width, int parts, int64_t plane,
                                int64_t count, uint8_t *chosen) {
    for (int part = 0; part < parts; part++) {
        octets entry[ENTRIES];
        entry[0] = (octets){0};
        for (int value = 1; value < 1 << width; value++)
            entry[value] = load(messages + ((value - 1) * parts + part) * plane, count);
        for (int bit = 0; bit < width; bit++) {
            octets right = load(own + bit * plane, count);
            for (int pair = 0; pair < 1 << (width - bit - 1); pair++)
                entry[pair] = entry[2 * pair] ^ ((entry[2 * pair] ^ entry[2 * pair + 1]) & right);
        }
        store(chosen + part * plane, entry[0], count);
    }
}

/* messages [images, MESSAGES, plane], the receiver's digits [images, BITS, plane] -> chosen [images, LEAVES, plane]. */
void ot_choose(const uint8_t *messages, const uint8_t *own, int64_t images, int64_t plane, uint8_t *chosen) {
    for (int64_t image = 0; image < images; image++) {
        for (int64_t start = 0; start < plane; start += OCTETS) {
            int64_t count = plane - start < OCTETS ? plane - start : OCTETS;
            choose_digit(messages + start, own + start, LOWEST_BITS, 1, plane, count, chosen + start);
            for (int digit = 0; digit < UPPER_DIGITS; digit++)
                choose_digit(messages + (LOWEST_ENTRIES - 1 + 2 * digit * (ENTRIES - 1)) * plane + start,
                             own + (LOWEST_BITS + digit * DIGIT_BITS) * plane + start, DIGIT_BITS, 2, plane, count,
                             chosen + (1 + 2 * digit) * plane + start);
        }
        messages += MESSAGES * plane;
        own += BITS * plane;
        chosen += LEAVES * plane;
    }
}

#define BLOCK 256 /* elements whose bits are spread to words together */

static inline void spread(const uint8_t *plane, int64_t start, int64_t count, uint32_t *bits) {
    for (int64_t i = 0; i < count; i++) bits[i] = plane[(start + i) / 8] >> (7 - i % 8) & 1;
}

/* A party's message of the multiplexer: x (1 - 2 b) + step (2 a - 1), of its own bits b and the asked ones a, planes. */
void multiplex_message(const uint32_t *x, const uint32_t *step, const uint8_t *own, const uint8_t *asked,
                       int64_t images, int64_t elements, uint32_t *message) {
    for (int64_t image = 0; image < images; image++, x += elements, step += elements, message += elements) {
        const uint8_t *own_plane = own + image * ((elements + 7) / 8), *asked_plane = asked + image * ((elements + 7) / 8);
        for (int64_t start = 0; start < elements; start += BLOCK) {
            int64_t count = elements - start < BLOCK ? elements - start : BLOCK;
            uint32_t b[BLOCK], a[BLOCK];
            spread(own_plane, start, count, b);
            spread(asked_plane, start, count, a);
            for (int64_t i = 0; i < count; i++)
                message[start + i] = x[start + i] * (1 - 2 * b[i]) + step[start + i] * (2 * a[i] - 1);
        }
    }
}

/* Its share of the product: x b - (base + a step) + received + b answer; `answer` is overwritten with it. */
void multiplex_result(const uint32_t *x, const uint32_t *step, const uint32_t *base, const uint32_t *received,
                      const uint8_t *own, const uint8_t *asked, int64_t images, int64_t elements, uint32_t *answer) {
    for (int64_t image = 0; image < images; image++) {
        int64_t first = image * elements, plane = image * ((elements + 7) / 8);
        for (int64_t start = 0; start < elements; start += BLOCK) {
            int64_t count = elements - start < BLOCK ? elements - start : BLOCK;
            uint32_t b[BLOCK], a[BLOCK];
            spread(own + plane, start, count, b);
            spread(asked + plane, start, count, a);
            for (int64_t i = 0; i < count; i++) {
                int64_t at = first + start + i;
                answer[at] = b[i] * (x[at] + answer[at]) - base[at] - a[i] * step[at] + received[at];
            }
        }
    }
}

/* A share of z >> bits from M = z + 2^30 + r, opened, and shares of r >> bits and of r's top bit (see products.py). */
void truncate_opened(const uint32_t *opened, const uint32_t *shifted, const uint32_t *top, int64_t count, int bits,
                     int first, uint32_t *result) {
    uint32_t offset = first ? (uint32_t)1 << (30 - bits) : 0, public = first ? ~(uint32_t)0 : 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t may_wrap = (opened[i] >> 31) ^ 1;
        result[i] = may_wrap * (top[i] << (32 - bits)) - shifted[i] + ((opened[i] >> bits & public) - offset);
    }
}
