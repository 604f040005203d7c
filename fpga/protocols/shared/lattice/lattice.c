/* Arithmetic modulo primes below 2^48 on polynomials of Z[X] / (X^n + 1), in double precision.
 *
 * A residue is a double that holds an integer. a * w mod p is exact: the product is split into a rounded part and its
 * error by a fused multiply-add, and the quotient rint(a * (w / p)) is off by less than 0.35 for |a| < 2^51.6, so that
 * the result is below 0.85 p in magnitude. LANES polynomials lie side by side, [n][LANES].
 */
#include <stdint.h>
#include <string.h>

#define LANES 4
typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

#if defined(__AVX__) && defined(__FMA__)
#include <immintrin.h>
static inline lanes fused(lanes a, lanes b, lanes c) { return _mm256_fmadd_pd(a, b, c); }
static inline lanes nearest(lanes a) { return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
#else
static inline lanes fused(lanes a, lanes b, lanes c) {
    lanes result;
    for (int i = 0; i < LANES; i++) result[i] = __builtin_fma(a[i], b[i], c[i]);
    return result;
}
static inline lanes nearest(lanes a) {
    lanes result;
    for (int i = 0; i < LANES; i++) result[i] = __builtin_rint(a[i]);
    return result;
}
#endif

int lattice_lanes(void) { return LANES; }

static inline lanes spread(double x) { return (lanes){x, x, x, x}; }

/* a * w - quotient * p; the quotient is near a * w / p. */
static inline lanes remainder_of(lanes a, lanes w, lanes quotient, lanes p) {
    lanes high = a * w;
    lanes low = fused(a, w, -high);
    return fused(-quotient, p, high) + low;
}

static inline lanes times(lanes a, lanes w, lanes w_over_p, lanes p) {
    return remainder_of(a, w, nearest(a * w_over_p), p);
}

static inline lanes reduce(lanes a, lanes p, lanes inverse_p) { return fused(-nearest(a * inverse_p), p, a); }

/* Negacyclic transform; `roots` [n] are the powers of a 2n-th root in bit-reversed order, `ratios` the same over p.
 * |a| <= p before, |a| <= p / 2 + 1 after. Thirteen layers without reduction stay below 2^51.6. */
void lattice_forward(double *data, int64_t n, const double *roots, const double *ratios, double prime) {
    lanes *a = (lanes *)data, p = spread(prime), inverse_p = spread(1 / prime);
    int64_t blocks = 1;
    for (; 4 * blocks <= n; blocks *= 4) /* two layers at a time: half the traffic */
        for (int64_t block = 0; block < blocks; block++) {
            int64_t first = blocks + block, quarter = n / (4 * blocks);
            lanes w = spread(roots[first]), w_ratio = spread(ratios[first]);
            lanes even = spread(roots[2 * first]), even_ratio = spread(ratios[2 * first]);
            lanes odd = spread(roots[2 * first + 1]), odd_ratio = spread(ratios[2 * first + 1]);
            lanes *x = a + 4 * block * quarter;
            for (int64_t j = 0; j < quarter; j++) {
                lanes product = times(x[j + 2 * quarter], w, w_ratio, p);
                lanes low = x[j] + product, high = x[j] - product;
                product = times(x[j + 3 * quarter], w, w_ratio, p);
                lanes second = x[j + quarter] + product, fourth = x[j + quarter] - product;
                product = times(second, even, even_ratio, p);
                x[j] = low + product;
                x[j + quarter] = low - product;
                product = times(fourth, odd, odd_ratio, p);
                x[j + 2 * quarter] = high + product;
                x[j + 3 * quarter] = high - product;
            }
        }
    for (; blocks < n; blocks *= 2)
        for (int64_t block = 0; block < blocks; block++) {
            lanes w = spread(roots[blocks + block]), ratio = spread(ratios[blocks + block]);
            lanes *x = a + block * (n / blocks), *y = x + n / (2 * blocks);
            for (int64_t j = 0; j < n / (2 * blocks); j++) {
                lanes product = times(y[j], w, ratio, p);
                y[j] = x[j] - product;
                x[j] = x[j] + product;
            }
        }
    for (int64_t j = 0; j < n; j++) a[j] = reduce(a[j], p, inverse_p);
}

/* Inverse transform with the inverse roots; the factor 1 / n is `scale`, with `scale_ratio` = scale / p.
 * |a| <= p before, |a| <= 0.85 p after. */
void lattice_inverse(double *data, int64_t n, const double *roots, const double *ratios, double scale,
                     double scale_ratio, double prime) {
    lanes *a = (lanes *)data, p = spread(prime), inverse_p = spread(1 / prime);
    int64_t half = 1;
    for (int64_t blocks = n / 2; blocks >= 1; blocks /= 2, half *= 2)
        for (int64_t block = 0; block < blocks; block++) {
            lanes w = spread(roots[blocks + block]), ratio = spread(ratios[blocks + block]);
            lanes *x = a + 2 * block * half, *y = x + half;
            for (int64_t j = 0; j < half; j++) {
                lanes difference = x[j] - y[j];
                x[j] = reduce(x[j] + y[j], p, inverse_p);
                y[j] = times(difference, w, ratio, p);
            }
        }
    for (int64_t j = 0; j < n; j++) a[j] = times(a[j], spread(scale), spread(scale_ratio), p);
}

/* sum_k += w * c_k for the two parts c_0, c_1 [n] of one ciphertext, w and the sums [n][LANES] in the transformed
 * domain. |w|, |c|, |sum| <= p / 2 + 1 before and after. */
void lattice_multiply_add(double *first, double *second, const double *factor, const double *c0, const double *c1,
                          int64_t n, double prime) {
    lanes *sum0 = (lanes *)first, *sum1 = (lanes *)second, p = spread(prime), inverse_p = spread(1 / prime);
    const lanes *w = (const lanes *)factor;
    for (int64_t j = 0; j < n; j++) {
        lanes x = spread(c0[j]), y = spread(c1[j]);
        sum0[j] = reduce(sum0[j] + remainder_of(w[j], x, nearest(w[j] * x * inverse_p), p), p, inverse_p);
        sum1[j] = reduce(sum1[j] + remainder_of(w[j], y, nearest(w[j] * y * inverse_p), p), p, inverse_p);
    }
}

/* Terms that a sum takes before it is reduced: each is below 0.51 p in magnitude, and a double holds 2^53. */
enum { TERMS = 16 };

/* As `lattice_multiply_add`, but sums are only reduced where `last` says so. */
static void accumulate(lanes *sum0, lanes *sum1, const lanes *w, const double *c0, const double *c1, int64_t n, int last,
                       double prime) {
    lanes p = spread(prime), inverse_p = spread(1 / prime);
    for (int64_t j = 0; j < n; j++) {
        lanes x = spread(c0[j]), y = spread(c1[j]);
        lanes first = sum0[j] + remainder_of(w[j], x, nearest(w[j] * x * inverse_p), p);
        lanes second = sum1[j] + remainder_of(w[j], y, nearest(w[j] * y * inverse_p), p);
        sum0[j] = last ? reduce(first, p, inverse_p) : first;
        sum1[j] = last ? reduce(second, p, inverse_p) : second;
    }
}

/* How weights lie in polynomials; see `ConvPacking`. */
typedef struct {
    int64_t channels, out_channels, group_inputs, group_outputs, taps;
    int64_t inputs, outputs, pixels, offset; /* channels per polynomial, a tile's pixels, the first coefficient wanted */
} packing;

/* The polynomials that input polynomial `input` meets for output polynomials [first, last), [n][LANES]; 0 if all zero. */
static int place_weights(const packing *as, const int32_t *weights, const int64_t *tap, int64_t input, int64_t first,
                         int64_t last, int64_t n, double *polynomial) {
    int64_t start = input * as->inputs, stop = start + as->inputs < as->channels ? start + as->inputs : as->channels;
    int met = 0;
    for (int64_t j = 0; j < n * LANES; j++) polynomial[j] = 0;
    for (int64_t output = first; output < last; output++)
        for (int64_t place = 0; place < as->outputs; place++) {
            int64_t made = output * as->outputs + place;
            if (made >= as->out_channels) break;
            for (int64_t channel = start; channel < stop; channel++) {
                if (channel / as->group_inputs != made / as->group_outputs) continue;
                const int32_t *w = weights + (made * as->group_inputs + channel % as->group_inputs) * as->taps;
                int64_t base = as->offset + (place * as->inputs - (channel - start)) * as->pixels;
                for (int64_t k = 0; k < as->taps; k++) polynomial[(base - tap[k]) * LANES + output - first] = w[k];
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
            lanes *sum = (lanes *)sums + 2 * part * tile;
            accumulate(sum, sum + part, (const lanes *)polynomial, c, c + part, n, reduces, prime);
        }
    }
}

static inline double times_one(double a, double w, double p) {
    double high = a * w, quotient = __builtin_rint(a * (w / p));
    return __builtin_fma(-quotient, p, high) + __builtin_fma(a, w, -high);
}

/* Words below 2^48 as residues in (-p/2, p/2]; p is above 2^47. */
static inline double centered(uint64_t word, uint64_t p) {
    int64_t value = (int64_t)(word >= p ? word - p : word);
    return (double)(value > (int64_t)(p / 2) ? value - (int64_t)p : value);
}

/* The low 48 bits of words as residues; returns how many are no residues, which a sampler draws again. */
int64_t lattice_residues(const uint64_t *words, int64_t n, double prime, double *residues) {
    uint64_t p = (uint64_t)prime;
    int64_t rejected = 0;
    for (int64_t j = 0; j < n; j++) {
        uint64_t word = words[j] & 0xFFFFFFFFFFFFull;
        rejected += word >= p;
        residues[j] = centered(word, p);
    }
    return rejected;
}

/* Residues as six octets each, the lowest first, and back. */
void lattice_pack(const double *residues, int64_t n, double prime, uint8_t *octets) {
    for (int64_t j = 0; j < n; j++) {
        uint64_t word = (uint64_t)(int64_t)(residues[j] < 0 ? residues[j] + prime : residues[j]);
        for (int k = 0; k < 6; k++) octets[6 * j + k] = (uint8_t)(word >> 8 * k);
    }
}

void lattice_unpack(const uint8_t *octets, int64_t n, double prime, double *residues) {
    uint64_t p = (uint64_t)prime;
    for (int64_t j = 0; j < n; j++) {
        uint32_t low;
        uint16_t high;
        memcpy(&low, octets + 6 * j, 4);
        memcpy(&high, octets + 6 * j + 4, 2);
        residues[j] = centered((uint64_t)high << 32 | low, p);
    }
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
