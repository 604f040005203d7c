/* Residues in as many bits as their prime has, one after the other and the lowest first: eight of them fill whole octets. */
#include <stdint.h>
#include <string.h>

enum { GROUP = 8, GROUP_WORDS = 8 };

/* Words of as many bits as p has as residues in (-p/2, p/2], and back. A residue's sign is a coin's, which no processor
 * predicts: masks choose. */
static inline double centered(uint64_t word, uint64_t p) {
    int64_t value = (int64_t)(word >= p ? word - p : word), room = (int64_t)(p / 2) - value;
    return (double)(value - ((int64_t)p & room >> 63));
}

static inline uint64_t word_of(double residue, uint64_t p) {
    int64_t value = (int64_t)residue;
    return (uint64_t)(value + ((int64_t)p & value >> 63));
}

/* Up to GROUP residues into ceil(count * bits / 8) octets; `bits`, at most 57, is a constant where it is called. */
static inline void pack_group(const double *residues, int64_t count, uint64_t p, int bits, uint8_t *octets) {
    uint64_t words[GROUP], packed[GROUP_WORDS] = {0};
#pragma GCC unroll 8
    for (int i = 0; i < GROUP; i++) words[i] = i < count ? word_of(residues[i], p) : 0;
#pragma GCC unroll 8
    for (int i = 0; i < GROUP; i++) {
        int place = i * bits / 64, shift = i * bits % 64;
        packed[place] |= words[i] << shift;
        if (shift + bits > 64) packed[place + 1] |= words[i] >> (64 - shift);
    }
    memcpy(octets, packed, (size_t)((count * bits + 7) / 8));
}

static inline void unpack_group(const uint8_t *octets, int64_t count, uint64_t p, int bits, double *residues) {
    uint64_t words[GROUP], packed[GROUP_WORDS] = {0}, low = (1ull << bits) - 1;
    memcpy(packed, octets, (size_t)((count * bits + 7) / 8));
#pragma GCC unroll 8
    for (int i = 0; i < GROUP; i++) {
        int place = i * bits / 64, shift = i * bits % 64;
        words[i] = packed[place] >> shift;
        if (shift + bits > 64) words[i] |= packed[place + 1] << (64 - shift);
    }
    for (int i = 0; i < count; i++) residues[i] = centered(words[i] & low, p);
}

static inline void pack_row(const double *residues, int64_t n, uint64_t p, int bits, uint8_t *octets) {
    for (; n >= GROUP; n -= GROUP, residues += GROUP, octets += bits) pack_group(residues, GROUP, p, bits, octets);
    if (n) pack_group(residues, n, p, bits, octets);
}

static inline void unpack_row(const uint8_t *octets, int64_t n, uint64_t p, int bits, double *residues) {
    for (; n >= GROUP; n -= GROUP, residues += GROUP, octets += bits) unpack_group(octets, GROUP, p, bits, residues);
    if (n) unpack_group(octets, n, p, bits, residues);
}
