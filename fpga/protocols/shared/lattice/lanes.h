/* Residues side by side in double precision: LANES polynomials lie in a row, and vectors take ROWS rows at a time. */
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

static inline lanes spread(double x) { return (lanes){x, x, x, x}; }

/* ROWS rows of LANES polynomials at a time, where the processor's vectors hold as much. */
#if defined(__AVX512F__) && defined(__FMA__)
#define ROWS 2
typedef double wide __attribute__((vector_size(8 * LANES * ROWS), aligned(8), may_alias));
static inline wide fused_wide(wide a, wide b, wide c) { return _mm512_fmadd_pd(a, b, c); }
static inline wide nearest_wide(wide a) { return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline wide spread_wide(double x) { return _mm512_set1_pd(x); }
static inline wide spread_rows(const double *x) {
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_broadcast_sd(x)), _mm256_broadcast_sd(x + 1), 1);
}
#else
#define ROWS 1
typedef lanes wide;
static inline wide fused_wide(wide a, wide b, wide c) { return fused(a, b, c); }
static inline wide nearest_wide(wide a) { return nearest(a); }
static inline wide spread_wide(double x) { return spread(x); }
static inline wide spread_rows(const double *x) { return spread(*x); }
#endif

/* a * w - quotient * p; the quotient is near a * w / p. */
static inline lanes remainder_of(lanes a, lanes w, lanes quotient, lanes p) {
    lanes high = a * w;
    lanes low = fused(a, w, -high);
    return fused(-quotient, p, high) + low;
}

static inline wide remainder_wide(wide a, wide w, wide quotient, wide p) {
    wide high = a * w;
    wide low = fused_wide(a, w, -high);
    return fused_wide(-quotient, p, high) + low;
}

static inline lanes times(lanes a, lanes w, lanes w_over_p, lanes p) {
    return remainder_of(a, w, nearest(a * w_over_p), p);
}

static inline wide times_wide(wide a, wide w, wide w_over_p, wide p) {
    return remainder_wide(a, w, nearest_wide(a * w_over_p), p);
}

static inline lanes reduce(lanes a, lanes p, lanes inverse_p) { return fused(-nearest(a * inverse_p), p, a); }

static inline wide reduce_wide(wide a, wide p, wide inverse_p) { return fused_wide(-nearest_wide(a * inverse_p), p, a); }
