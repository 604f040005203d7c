/* Transpose of a bit matrix: 128 columns of packed bits become rows of 16 octets.
 *
 * Works on 8 columns of 8 octets at a time, three rounds of exchanges for the octets and three for the bits of each.
 */
#include <stdint.h>
#include <string.h>

enum { COLUMNS = 128, ROW_OCTETS = COLUMNS / 8 };

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

/* columns [128][stride] octets, of which `octets` are used (a multiple of 8), the first element in the top bit of an
 * octet -> rows [8 * octets][16]; bit c % 8 of octet c / 8 belongs to column c. */
void bit_rows(const uint8_t *columns, int64_t stride, int64_t octets, uint8_t *rows) {
    for (int64_t start = 0; start < octets; start += 8)
        for (int group = 0; group < ROW_OCTETS; group++) {
            uint64_t x[8];
            for (int column = 0; column < 8; column++)
                memcpy(x + column, columns + (group * 8 + column) * stride + start, 8);
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
