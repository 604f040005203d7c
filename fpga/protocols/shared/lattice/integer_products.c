/* Products of ciphertexts with weights for all primes of q, on 52-bit integers: where the processor multiplies them
 * (`integer_accelerated`), these do the work of `lattice_convolve` in a third of its time.
 *
 * A weight polynomial has few coefficients that are not zero, and its first four layers are a product of these with a
 * small matrix: modulo X^ROWS - z, coefficient j is the sum of z^k a_(j + ROWS k). The rest of a transform and the sums
 * over all inputs then stay in the nearest caches, block by block. Of a residue the low 52 bits of a word count; what
 * lies above is not looked at. LANES polynomials lie side by side, [rows][LANES]; vectors take two rows.
 */
#include <stdint.h>
#include <string.h>

#include "packing.h"

/* DEGREE = BLOCKS * ROWS. PASS blocks of SUMMED inputs are made and then summed up; a block
 * in memory ends with a line that is not used, lest all blocks' rows meet in one set of a cache. */
enum { LANES = 4, DEGREE = 8192, BLOCKS = 16, ROWS = DEGREE / BLOCKS, PASS = 4, SUMMED = 16 };
enum { BLOCK_WORDS = ROWS * LANES + 8 };

/* A prime's tables: `roots` [DEGREE] of the transform and floor(roots 2^52 / p); `corners` [BLOCKS][BLOCKS] are the
 * z^k 2^104 of all k and blocks, the k slowest; `negative` is -p modulo 2^52, `inverse` 1 / p modulo 2^52. */
typedef struct {
    const uint64_t *roots, *ratios, *corners;
    uint64_t value, negative, inverse;
} table;

/* Which coefficients may differ from zero, row by row: `rows` [ROWS] in an order of which a processor can predict the
 * `counts` [ROWS], `blocks` [size] (the k), and the entry of each place, channel and tap in `entries`. */
typedef struct {
    int64_t size;
    const uint16_t *rows, *counts;
    const uint8_t *blocks;
    const int32_t *entries;
} layout;

/* The weights of input polynomial `input` for output polynomials [first, last), by entries, [size][LANES]; 0 if none. */
static int arrange(const packing *as, const layout *at, const int32_t *weights, int64_t input, int64_t first,
                   int64_t last, int32_t *arranged) {
    int met = 0;
    memset(arranged, 0, (size_t)(at->size * LANES) * sizeof *arranged);
    for (int64_t output = first; output < last; output++)
        for (int64_t place = 0; place < as->outputs; place++) {
            int64_t made = output * as->outputs + place;
            if (made >= as->out_channels) break;
            met_channels read = meet(as, weights, input, made);
            const int32_t *entry = at->entries + (place * as->inputs + read.first) * as->taps;
            for (int64_t k = 0; k < read.count * as->taps; k++)
                arranged[entry[k] * LANES + output - first] = read.weights[k];
            met |= read.count > 0;
        }
    return met;
}

#if defined(__AVX512IFMA__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>
typedef __m512i wide;

int integer_accelerated(void) { return 1; }

static inline wide spread(uint64_t x) { return _mm512_set1_epi64((int64_t)x); }
static inline wide low_product(wide sum, wide a, wide b) { return _mm512_madd52lo_epu64(sum, a, b); }
static inline wide high_product(wide sum, wide a, wide b) { return _mm512_madd52hi_epu64(sum, a, b); }
static inline wide plus(wide a, wide b) { return _mm512_add_epi64(a, b); }
static inline wide minus(wide a, wide b) { return _mm512_sub_epi64(a, b); }

/* high + low / 2^52 modulo p, where the sum of low 2^0 and high 2^52 was meant (Montgomery), the carries of `low` being
 * above its 52nd bit. Between -p and the sum of high and those carries. */
static inline wide shrunk(wide low, wide high, wide p, wide inverse) {
    wide zero = _mm512_setzero_si512();
    wide multiple = low_product(zero, low, inverse);
    return minus(plus(high, _mm512_srli_epi64(low, 52)), high_product(zero, multiple, p));
}

static inline wide butterfly_product(wide y, wide root, wide ratio, wide negative) {
    wide zero = _mm512_setzero_si512(), quotient = high_product(zero, y, ratio);
    return low_product(low_product(zero, y, root), quotient, negative);
}

/* What the layers of a prime below 2^45 may add up needs no reduction; for longer ones (`tight`) words are kept below
 * 14 p < 2^52, and what is above 52 bits is cleared, so that they can be compared. */
static inline wide lowered(wide x, wide p8, int tight) { return tight ? _mm512_min_epu64(x, minus(x, p8)) : x; }

static inline void butterfly(wide *x, wide *y, wide root, wide ratio, const table *prime, int tight) {
    wide product = butterfly_product(*y, root, ratio, spread(prime->negative));
    if (tight) product = _mm512_and_si512(product, spread((1ull << 52) - 1));
    wide raised = plus(*x, spread(2 * prime->value));
    *x = plus(*x, product);
    *y = minus(raised, product);
}

/* Two layers at a time of block `block` of a transform, as `forward_pair` does them. */
static inline void integer_pair(wide *data, int64_t block, int64_t level, const table *prime, int tight) {
    int64_t parts = level / BLOCKS, quarter = DEGREE / (4 * level) / 2;
    wide p8 = spread(8 * prime->value);
    for (int64_t part = 0; part < parts; part++) {
        int64_t first = level + block * parts + part;
        wide w = spread(prime->roots[first]), w_ratio = spread(prime->ratios[first]);
        wide even = spread(prime->roots[2 * first]), even_ratio = spread(prime->ratios[2 * first]);
        wide odd = spread(prime->roots[2 * first + 1]), odd_ratio = spread(prime->ratios[2 * first + 1]);
        wide *x = data + 4 * part * quarter;
        for (int64_t j = 0; j < quarter; j++) {
            wide a = lowered(x[j], p8, tight), b = lowered(x[j + quarter], p8, tight);
            wide c = x[j + 2 * quarter], d = x[j + 3 * quarter];
            butterfly(&a, &c, w, w_ratio, prime, tight);
            butterfly(&b, &d, w, w_ratio, prime, tight);
            butterfly(&a, &b, even, even_ratio, prime, tight);
            butterfly(&c, &d, odd, odd_ratio, prime, tight);
            x[j] = a;
            x[j + quarter] = b;
            x[j + 2 * quarter] = c;
            x[j + 3 * quarter] = d;
        }
    }
}

/* Two words, each for the LANES of one row. */
static inline wide two_rows(const uint64_t *words) {
    wide both = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)words));
    return _mm512_permutexvar_epi64(_mm512_set_epi64(1, 1, 1, 1, 0, 0, 0, 0), both);
}

/* The last layer, neighbours with each other. */
static inline void integer_last(wide *data, int64_t block, const table *prime, int tight) {
    int64_t first = DEGREE / 2 + block * ROWS / 2;
    wide p8 = spread(8 * prime->value);
    for (int64_t j = 0; j < ROWS / 2; j += 2) {
        wide x = _mm512_shuffle_i64x2(data[j], data[j + 1], 0x44), y = _mm512_shuffle_i64x2(data[j], data[j + 1], 0xEE);
        x = lowered(x, p8, tight);
        butterfly(&x, &y, two_rows(prime->roots + first + j), two_rows(prime->ratios + first + j), prime, tight);
        data[j] = _mm512_shuffle_i64x2(x, y, 0x44);
        data[j + 1] = _mm512_shuffle_i64x2(x, y, 0xEE);
    }
}

/* The first four layers of PASS blocks from block `first` on. */
static void spread_weights(const layout *at, const int32_t *arranged, int64_t first, const table *prime,
                           uint64_t *blocks) {
    wide by[BLOCKS][PASS / 2], p = spread(prime->value), inverse = spread(prime->inverse);
    __m256i half_p = _mm256_set1_epi64x((int64_t)prime->value);
    for (int64_t k = 0; k < BLOCKS; k++)
        for (int64_t v = 0; v < PASS / 2; v++) by[k][v] = two_rows(prime->corners + k * BLOCKS + first + 2 * v);
    const uint8_t *block = at->blocks;
    for (int64_t place = 0; place < ROWS; place++) {
        wide low[PASS / 2], high[PASS / 2];
        for (int64_t v = 0; v < PASS / 2; v++) low[v] = high[v] = _mm512_setzero_si512();
        for (int64_t left = at->counts[place]; left; left--, arranged += LANES, block++) {
            __m256i weight = _mm256_cvtepi32_epi64(_mm_loadu_si128((const __m128i *)arranged));
            weight = _mm256_min_epu64(weight, _mm256_add_epi64(weight, half_p)); /* a negative word is a large one */
            wide both = _mm512_broadcast_i64x4(weight);
            for (int64_t v = 0; v < PASS / 2; v++) {
                low[v] = low_product(low[v], both, by[*block][v]);
                high[v] = high_product(high[v], both, by[*block][v]);
            }
        }
        for (int64_t v = 0; v < PASS / 2; v++) {
            wide made = at->counts[place] ? plus(shrunk(low[v], high[v], p, inverse), p) : low[v];
            uint64_t *to = blocks + 2 * v * BLOCK_WORDS + at->rows[place] * LANES;
            _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(made));
            _mm256_storeu_si256((__m256i *)(to + BLOCK_WORDS), _mm512_extracti64x4_epi64(made, 1));
        }
    }
}

static inline void finish_block(wide *data, int64_t block, const table *prime, int tight) {
    for (int64_t level = BLOCKS; level < DEGREE / 2; level *= 4) integer_pair(data, block, level, prime, tight);
    integer_last(data, block, prime, tight);
}

/* Where the parts of ciphertexts lie, for one tile and prime: c_0 and c_1 of used input i. */
typedef struct {
    const double *ciphertexts;
    const int32_t *used;
    int64_t part;
} operands;

/* Sums over `count` inputs, whose blocks lie PASS blocks apart, into two sums [ROWS][LANES], or added to what is there. */
static void sum_block(const uint64_t *blocks, const operands *of, int64_t count, int64_t row, int adds,
                      const table *prime, double *sum0, double *sum1) {
    /* residues are raised by p, lest they be negative, and by 2^52, so that their low 52 bits are the integer */
    __m512d raised = _mm512_set1_pd((double)((1ull << 52) + prime->value)), value = _mm512_set1_pd((double)prime->value);
    __m512d ratio = _mm512_set1_pd(1 / (double)prime->value);
    wide p = spread(prime->value), inverse = spread(prime->inverse);
    for (int64_t group = 0; group < ROWS / 8; group++) {
        wide low[2][4], high[2][4];
        for (int64_t v = 0; v < 4; v++) low[0][v] = low[1][v] = high[0][v] = high[1][v] = _mm512_setzero_si512();
        for (int64_t input = 0; input < count; input++) {
            const wide *w = (const wide *)(blocks + input * PASS * BLOCK_WORDS) + 4 * group;
            const double *c = of->ciphertexts + 2 * of->part * of->used[input] + row + 8 * group;
            for (int64_t v = 4; v < 8; v++) _mm_prefetch((const char *)(w + v), _MM_HINT_T0); /* the next group's */
            wide first = _mm512_castpd_si512(_mm512_add_pd(_mm512_loadu_pd(c), raised));
            wide second = _mm512_castpd_si512(_mm512_add_pd(_mm512_loadu_pd(c + of->part), raised));
#pragma GCC unroll 4
            for (int64_t v = 0; v < 4; v++) {
                wide place = plus(_mm512_set_epi64(1, 1, 1, 1, 0, 0, 0, 0), spread((uint64_t)(2 * v)));
                wide x = _mm512_permutexvar_epi64(place, first), y = _mm512_permutexvar_epi64(place, second);
                low[0][v] = low_product(low[0][v], w[v], x);
                high[0][v] = high_product(high[0][v], w[v], x);
                low[1][v] = low_product(low[1][v], w[v], y);
                high[1][v] = high_product(high[1][v], w[v], y);
            }
        }
#pragma GCC unroll 4
        for (int64_t v = 0; v < 4; v++) {
            double *to[2] = {sum0 + 32 * group + 8 * v, sum1 + 32 * group + 8 * v};
            for (int part = 0; part < 2; part++) {
                __m512d made = _mm512_cvtepi64_pd(shrunk(low[part][v], high[part][v], p, inverse));
                if (adds) made = _mm512_add_pd(made, _mm512_loadu_pd(to[part]));
                __m512d multiple = _mm512_roundscale_pd(_mm512_mul_pd(made, ratio), _MM_FROUND_TO_NEAREST_INT);
                _mm512_storeu_pd(to[part], _mm512_fnmadd_pd(multiple, value, made));
            }
        }
    }
}

/* The same as `lattice_convolve` for `count` primes.
 *
 * `arranged` [inputs][entries][LANES], `used` [inputs] and `blocks` [SUMMED][PASS][BLOCK_WORDS] are working memory.
 * Ciphertexts [held][inputs][2][count][DEGREE] are transformed; `sums` [held][2][count][DEGREE][LANES] are overwritten. */
void integer_convolve(const packing *as, const layout *at, const int32_t *weights, int64_t first, int64_t last,
                      const double *ciphertexts, int64_t inputs, int64_t held, const table *primes, int64_t count,
                      double *sums, int32_t *arranged, int32_t *used, uint64_t *blocks) {
    int64_t met = 0, part = count * DEGREE;
    for (int64_t input = 0; input < inputs; input++)
        if (arrange(as, at, weights, input, first, last, arranged + met * at->size * LANES)) used[met++] = (int32_t)input;
    if (!met) memset(sums, 0, (size_t)(2 * held * part * LANES) * sizeof *sums);
    for (int64_t index = 0; index < count; index++)
        for (int64_t block = 0; block < BLOCKS; block += PASS)
            for (int64_t start = 0; start < met; start += SUMMED) {
                const table *prime = primes + index;
                int64_t summed = met - start < SUMMED ? met - start : SUMMED;
                for (int64_t i = 0; i < summed; i++) {
                    uint64_t *made = blocks + i * PASS * BLOCK_WORDS;
                    spread_weights(at, arranged + (start + i) * at->size * LANES, block, prime, made);
                    for (int64_t b = 0; b < PASS; b++)
                        if (prime->value >> 45)
                            finish_block((wide *)(made + b * BLOCK_WORDS), block + b, prime, 1);
                        else
                            finish_block((wide *)(made + b * BLOCK_WORDS), block + b, prime, 0);
                }
                for (int64_t tile = 0; tile < held; tile++) {
                    operands of = {ciphertexts + 2 * part * inputs * tile + index * DEGREE, used + start, part};
                    double *sum = sums + 2 * part * LANES * tile + index * DEGREE * LANES;
                    for (int64_t b = 0; b < PASS; b++) {
                        int64_t row = (block + b) * ROWS;
                        sum_block(blocks + b * BLOCK_WORDS, &of, summed, row, start > 0, prime, sum + row * LANES,
                                  sum + part * LANES + row * LANES);
                    }
                }
            }
}
#else
int integer_accelerated(void) { return 0; }

void integer_convolve(void) {}
#endif
