/* Bit planes: one bit of all elements, eight to an octet; and the digits into which a compared word is cut.
 *
 * The lowest digit has 3 bits, all others 4.
 */
#ifndef RRNET_BIT_PLANES_H
#define RRNET_BIT_PLANES_H

#include <stdint.h>
#include <string.h>

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

#endif
