/* Arithmetic modulo primes below 2^48 on polynomials of Z[X] / (X^n + 1), in double precision.
 *
 * A residue is a double that holds an integer. a * w mod p is exact: the product is split into a rounded part and its
 * error by a fused multiply-add, and the nearest integer to a * (w / p) is off by less than 0.35 for |a| < 2^51.6, so that
 * the result is below 0.85 p in magnitude. LANES polynomials lie side by side, [n][LANES].
 */
#include <stdint.h>
#include <string.h>

#include "lanes.h"
#include "packing.h"
#include "residue_octets.h"

/* Blocks of a transform, of n / PARTS rows each, that stay in the nearest cache while their layers are worked on. */
enum { PARTS = 16 };

/* Two layers at a time, half the traffic, of the blocks [start, stop) among `blocks`. */
static void forward_pair(double *data, int64_t n, int64_t blocks, int64_t start, int64_t stop, const double *roots,
                         const double *ratios, wide p) {
    for (int64_t block = start; block < stop; block++) {
        int64_t first = blocks + block, quarter = n / (4 * blocks) / ROWS;
        wide w = spread_wide(roots[first]), w_ratio = spread_wide(ratios[first]);
        wide even = spread_wide(roots[2 * first]), even_ratio = spread_wide(ratios[2 * first]);
        wide odd = spread_wide(roots[2 * first + 1]), odd_ratio = spread_wide(ratios[2 * first + 1]);
        wide *x = (wide *)data + 4 * block * quarter;
        for (int64_t j = 0; j < quarter; j++) {
            wide product = times_wide(x[j + 2 * quarter], w, w_ratio, p);
            wide low = x[j] + product, high = x[j] - product;
            product = times_wide(x[j + 3 * quarter], w, w_ratio, p);
            wide second = x[j + quarter] + product, fourth = x[j + quarter] - product;
            product = times_wide(second, even, even_ratio, p);
            x[j] = low + product;
            x[j + quarter] = low - product;
            product = times_wide(fourth, odd, odd_ratio, p);
            x[j + 2 * quarter] = high + product;
            x[j + 3 * quarter] = high - product;
        }
    }
}

/* The last layer, neighbours with each other, and all of it reduced. */
static void forward_last(lanes *a, int64_t start, int64_t stop, const double *roots, const double *ratios, lanes p,
                         lanes inverse_p) {
    for (int64_t block = start; block < stop; block++) {
        lanes product = times(a[2 * block + 1], spread(roots[block]), spread(ratios[block]), p), x = a[2 * block];
        a[2 * block] = reduce(x + product, p, inverse_p);
        a[2 * block + 1] = reduce(x - product, p, inverse_p);
    }
}

/* Negacyclic transform; `roots` [n] are the powers of a 2n-th root in bit-reversed order, `ratios` the same over p; n is
 * twice a power of four. |a| <= p before, |a| <= p / 2 + 1 after. Thirteen layers without reduction stay below 2^51.6. */
void lattice_forward(double *data, int64_t n, const double *roots, const double *ratios, double prime) {
    wide p = spread_wide(prime);
    int64_t half = n / 2;
    for (int64_t blocks = 1; blocks < PARTS; blocks *= 4) forward_pair(data, n, blocks, 0, blocks, roots, ratios, p);
    for (int64_t part = 0; part < PARTS; part++) {
        for (int64_t blocks = PARTS; blocks < half; blocks *= 4)
            forward_pair(data, n, blocks, part * blocks / PARTS, (part + 1) * blocks / PARTS, roots, ratios, p);
        forward_last((lanes *)data, part * half / PARTS, (part + 1) * half / PARTS, roots + half, ratios + half,
                     spread(prime), spread(1 / prime));
    }
}

/* Two layers at a time, of `blocks` blocks and then of half as many, of which [start, stop) are made. |a| <= 1.7 p before
 * and after: a sum of sums is reduced, and differences of sums stay below 2^51.6. */
static void inverse_pair(double *data, int64_t n, int64_t blocks, int64_t start, int64_t stop, const double *roots,
                         const double *ratios, wide p, wide inverse_p) {
    int64_t quarter = n / (2 * blocks) / ROWS;
    for (int64_t block = start; block < stop; block++) {
        int64_t last = blocks / 2 + block, first = 2 * last;
        wide w = spread_wide(roots[last]), w_ratio = spread_wide(ratios[last]);
        wide even = spread_wide(roots[first]), even_ratio = spread_wide(ratios[first]);
        wide odd = spread_wide(roots[first + 1]), odd_ratio = spread_wide(ratios[first + 1]);
        wide *x = (wide *)data + 4 * block * quarter;
        for (int64_t j = 0; j < quarter; j++) {
            wide a = x[j], b = x[j + quarter], c = x[j + 2 * quarter], d = x[j + 3 * quarter];
            wide low = a + b, high = c + d;
            wide left = times_wide(a - b, even, even_ratio, p), right = times_wide(c - d, odd, odd_ratio, p);
            x[j] = reduce_wide(low + high, p, inverse_p);
            x[j + quarter] = left + right;
            x[j + 2 * quarter] = times_wide(low - high, w, w_ratio, p);
            x[j + 3 * quarter] = times_wide(left - right, w, w_ratio, p);
        }
    }
}

/* The first layer, neighbours with each other. */
static void inverse_first(lanes *a, int64_t start, int64_t stop, const double *roots, const double *ratios, lanes p,
                          lanes inverse_p) {
    for (int64_t block = start; block < stop; block++) {
        lanes x = a[2 * block], y = a[2 * block + 1];
        a[2 * block] = reduce(x + y, p, inverse_p);
        a[2 * block + 1] = times(x - y, spread(roots[block]), spread(ratios[block]), p);
    }
}

/* Inverse transform with the inverse roots; the factor 1 / n is `scale`, with `scale_ratio` = scale / p.
 * |a| <= p before, |a| <= 0.85 p after. */
void lattice_inverse(double *data, int64_t n, const double *roots, const double *ratios, double scale,
                     double scale_ratio, double prime) {
    wide p = spread_wide(prime), inverse_p = spread_wide(1 / prime);
    int64_t half = n / 2;
    for (int64_t part = 0; part < PARTS; part++) {
        inverse_first((lanes *)data, part * half / PARTS, (part + 1) * half / PARTS, roots + half, ratios + half,
                      spread(prime), spread(1 / prime));
        for (int64_t blocks = half / 2; blocks > PARTS; blocks /= 4)
            inverse_pair(data, n, blocks, part * blocks / 2 / PARTS, (part + 1) * blocks / 2 / PARTS, roots, ratios, p,
                         inverse_p);
    }
    for (int64_t blocks = PARTS / 2; blocks >= 1; blocks /= 4)
        inverse_pair(data, n, blocks, 0, blocks / 2, roots, ratios, p, inverse_p);
    wide by = spread_wide(scale), by_ratio = spread_wide(scale_ratio);
    for (int64_t j = 0; j < n / ROWS; j++) ((wide *)data)[j] = times_wide(((wide *)data)[j], by, by_ratio, p);
}

/* Terms that a sum takes before it is reduced: each is below 0.51 p in magnitude, and a double holds 2^53. */
enum { TERMS = 16 };

/* sum_k += w * c_k for the two parts c_0, c_1 [n] of one ciphertext, w and the sums [n][LANES] in the transformed
 * domain. |w|, |c| <= p / 2 + 1; the sums are reduced to as much where `last` says so, after at most TERMS terms. */
static void accumulate(wide *sum0, wide *sum1, const wide *w, const double *c0, const double *c1, int64_t n, int last,
                       double prime) {
    wide p = spread_wide(prime), inverse_p = spread_wide(1 / prime);
    for (int64_t j = 0; j < n / ROWS; j++) {
        wide x = spread_rows(c0 + ROWS * j), y = spread_rows(c1 + ROWS * j);
        wide first = sum0[j] + product_wide(w[j], x, p, inverse_p);
        wide second = sum1[j] + product_wide(w[j], y, p, inverse_p);
        sum0[j] = last ? reduce_wide(first, p, inverse_p) : first;
        sum1[j] = last ? reduce_wide(second, p, inverse_p) : second;
    }
}

void lattice_multiply_add(double *first, double *second, const double *factor, const double *c0, const double *c1,
                          int64_t n, double prime) {
    accumulate((wide *)first, (wide *)second, (const wide *)factor, c0, c1, n, 1, prime);
}

void lattice_multiply_one(double *total, const double *factor, const double *c, int64_t n, double prime) {
    wide *sum = (wide *)total, p = spread_wide(prime), inverse_p = spread_wide(1 / prime);
    for (int64_t j = 0; j < n / ROWS; j++) {
        wide product = product_wide(((const wide *)factor)[j], spread_rows(c + ROWS * j), p, inverse_p);
        sum[j] = reduce_wide(sum[j] + product, p, inverse_p);
    }
}

/* The polynomials that input polynomial `input` meets for output polynomials [first, last), [n][LANES]; 0 if all zero. */
static int place_weights(const packing *as, const int32_t *weights, const int64_t *tap, int64_t input, int64_t first,
                         int64_t last, int64_t n, double *polynomial) {
    int met = 0;
    memset(polynomial, 0, (size_t)(n * LANES) * sizeof *polynomial);
    for (int64_t output = first; output < last; output++)
        for (int64_t place = 0; place < as->outputs; place++) {
            int64_t made = output * as->outputs + place;
            if (made >= as->out_channels) break;
            met_channels read = meet(as, weights, input, made);
            const int32_t *w = read.weights;
            for (int64_t channel = read.first; channel < read.first + read.count; channel++, w += as->taps) {
                double *at = polynomial + output - first;
                at += (as->offset + (place * as->inputs - channel) * as->pixels) * LANES;
                for (int64_t k = 0; k < as->taps; k++) at[-tap[k] * LANES] = w[k];
                met = 1;
            }
        }
    return met;
}

/* Products of all input ciphertexts with the weights of output polynomials [first, last), for one prime.
 *
 * `ciphertexts` point at c_0 of the first one; c_1 lies `part` doubles behind it, the next input's 2 * part behind, and
 * those of the next of `held` tiles behind all `inputs`. `sums`: the same with two parts per tile, LANES wide, zeros
 * before. `polynomial` [n][LANES] is working memory. */
void lattice_convolve(const packing *as, const int32_t *weights, const int64_t *tap, int64_t first, int64_t last,
                      const double *ciphertexts, int64_t inputs, int64_t held, int64_t part, double *sums, int64_t n,
                      const double *roots, const double *ratios, double prime, double *polynomial) {
    int64_t terms = 0;
    for (int64_t input = 0; input < inputs; input++) {
        int met = place_weights(as, weights, tap, input, first, last, n, polynomial);
        int reduces = ++terms % TERMS == 0 || input + 1 == inputs;
        if (met) lattice_forward(polynomial, n, roots, ratios, prime);
        if (!met && !reduces) continue;
        for (int64_t tile = 0; tile < held; tile++) {
            const double *c = ciphertexts + 2 * part * (tile * inputs + input);
            double *sum = sums + 2 * part * LANES * tile;
            accumulate((wide *)sum, (wide *)(sum + part * LANES), (const wide *)polynomial, c, c + part, n, reduces,
                       prime);
        }
    }
}

static inline double times_one(double a, double w, double p) {
    double high = a * w, quotient = __builtin_rint(a * (w / p));
    return __builtin_fma(-quotient, p, high) + __builtin_fma(a, w, -high);
}

/* The low `bits` of words as residues; returns how many are no residues, which a sampler draws again. */
int64_t lattice_residues(const uint64_t *words, int64_t n, double prime, int64_t bits, double *residues) {
    uint64_t p = (uint64_t)prime, low = (1ull << bits) - 1;
    int64_t rejected = 0;
    for (int64_t j = 0; j < n; j++) {
        uint64_t word = words[j] & low;
        rejected += word >= p;
        residues[j] = centered(word, p);
    }
    return rejected;
}

/* Octets but 255 modulo 3, less 1; returns how many are 255, which a sampler draws again. */
int64_t lattice_ternary(const uint8_t *octets, int64_t n, double *values) {
    int64_t rejected = 0;
    for (int64_t j = 0; j < n; j++) {
        rejected += octets[j] == 255;
        values[j] = (double)(octets[j] % 3 - 1);
    }
    return rejected;
}

/* The ones among the low `bits` of each word less those among as many from bit 32 on. */
void lattice_errors(const uint64_t *words, int64_t n, int64_t bits, double *values) {
    uint64_t low = (1ull << bits) - 1;
    for (int64_t j = 0; j < n; j++)
        values[j] = (double)(__builtin_popcountll(words[j] & low) - __builtin_popcountll(words[j] >> 32 & low));
}

/* Rows of residues as octets and back; the sizes of primes that are in use are constants in the loops. */
void lattice_pack(const double *residues, int64_t rows, int64_t n, double prime, int64_t bits, uint8_t *octets) {
    for (; rows; rows--, residues += n, octets += (n * bits + 7) / 8)
        if (bits == 44)
            pack_row(residues, n, (uint64_t)prime, 44, octets);
        else
            pack_row(residues, n, (uint64_t)prime, 48, octets);
}

void lattice_unpack(const uint8_t *octets, int64_t rows, int64_t n, double prime, int64_t bits, double *residues) {
    for (; rows; rows--, residues += n, octets += (n * bits + 7) / 8)
        if (bits == 44)
            unpack_row(octets, n, (uint64_t)prime, 44, residues);
        else
            unpack_row(octets, n, (uint64_t)prime, 48, residues);
}

/* a += sum of limb_i * 2^(48 i) - half modulo p, for the uniform masks limbs [count][n]; result in (-p/2, p/2].
 * `powers` are 2^48, 2^96, ... and half the masks' interval, modulo p. */
void lattice_add_masks(double *a, const uint64_t *limbs, int64_t n, int64_t count, const double *powers, double p) {
    for (int64_t j = 0; j < n; j++) {
        double sum = a[j] + (double)limbs[j] - powers[count - 1];
        for (int64_t i = 1; i < count; i++) sum += times_one((double)limbs[i * n + j], powers[i - 1], p);
        a[j] = sum - __builtin_rint(sum / p) * p;
    }
}

/* Drop the prime P, whose residues c are `dropped`: (a - d) / P modulo p with d = c modulo P and d = 0 modulo 2^32, so
 * that a message in the low 32 bits is only divided by P. `negative_inverse` is -1 / P modulo 2^32, `difference` is
 * P - p, `inverse` is 1 / P modulo p. |a|, |c| <= 0.85 of their primes before, |a| <= p / 2 + 1 after. */
void lattice_switch(double *a, const double *dropped, int64_t n, double dropped_prime, uint32_t negative_inverse,
                    double difference, double inverse, double p) {
    for (int64_t j = 0; j < n; j++) {
        double c = dropped[j] - __builtin_rint(dropped[j] / dropped_prime) * dropped_prime;
        double multiple = (double)(int32_t)((uint32_t)(int64_t)c * negative_inverse);
        double x = times_one(a[j] - c - multiple * difference, inverse, p);
        a[j] = x - __builtin_rint(x / p) * p;
    }
}
