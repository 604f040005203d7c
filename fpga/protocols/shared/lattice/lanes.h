/* Residues side by side in double precision: LANES polynomials lie in a row, and vectors take ROWS rows at a time. */
#define LANES 4
typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

#if defined(__AVX__) && defined(__FMA__)
#include <immintrin.h>
static inline lanes fused(lanes a, lanes b, lanes c) { return _mm256_fmadd_pd(a, b, c); }
#else
static inline lanes fused(lanes a, lanes b, lanes c) {
    lanes result;
    for (int i = 0; i < LANES; i++) result[i] = __builtin_fma(a[i], b[i], c[i]);
    return result;
}
#endif

static inline lanes spread(double x) { return (lanes){x, x, x, x}; }

/* ROWS rows of LANES polynomials at a time, where the processor's vectors hold as much. */
#if defined(__AVX512F__) && defined(__FMA__)
#define ROWS 2
typedef double wide __attribute__((vector_size(8 * LANES * ROWS), aligned(8), may_alias));
static inline wide fused_wide(wide a, wide b, wide c) { return _mm512_fmadd_pd(a, b, c); }
static inline wide spread_wide(double x) { return _mm512_set1_pd(x); }
static inline wide spread_rows(const double *x) {
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_broadcast_sd(x)), _mm256_broadcast_sd(x + 1), 1);
}
#else
#define ROWS 1
typedef lanes wide;
static inline wide fused_wide(wide a, wide b, wide c) { return fused(a, b, c); }
static inline wide spread_wide(double x) { return spread(x); }
static inline wide spread_rows(const double *x) { return spread(*x); }
#endif

/* The integer nearest to a * ratio, for |a * ratio| < 2^51: a sum with this number has no room for fractions. */
#define NO_FRACTION 0x1.8p52
static inline lanes quotient_of(lanes a, lanes ratio) {
    return fused(a, ratio, spread(NO_FRACTION)) - spread(NO_FRACTION);
}

static inline wide quotient_wide(wide a, wide ratio) {
    return fused_wide(a, ratio, spread_wide(NO_FRACTION)) - spread_wide(NO_FRACTION);
}

static inline lanes times(lanes a, lanes w, lanes w_over_p, lanes p) {
    lanes high = a * w, low = fused(a, w, -high);
    return fused(-quotient_of(a, w_over_p), p, high) + low;
}

static inline wide times_wide(wide a, wide w, wide w_over_p, wide p) {
    wide high = a * w, low = fused_wide(a, w, -high);
    return fused_wide(-quotient_wide(a, w_over_p), p, high) + low;
}

/* The same where neither factor is known before. */
static inline wide product_wide(wide a, wide w, wide p, wide inverse_p) {
    wide high = a * w, low = fused_wide(a, w, -high);
    return fused_wide(-quotient_wide(high, inverse_p), p, high) + low;
}

static inline lanes reduce(lanes a, lanes p, lanes inverse_p) { return fused(-quotient_of(a, inverse_p), p, a); }

static inline wide reduce_wide(wide a, wide p, wide inverse_p) { return fused_wide(-quotient_wide(a, inverse_p), p, a); }
