/* X2act in normalized bases, in training mode: its moments, its value and its gradient, each in one pass over the data.
 *
 * Activations lie as rows of `width` columns, of which each has coefficients of its own: the channels of tensors that
 * lie as N, H, W, C, or several pixels' channels side by side. Sums run in float over a block of rows and in double
 * over the blocks. Loops are over columns and independent of each other, so that compilers vectorize them as they are.
 */
#include <stdint.h>
#include <string.h>

#define BLOCK 128 /* rows whose sums are float */
#define TILE 256  /* columns that are worked at together: their sums and coefficients stay in the nearest cache */

typedef struct {
    const void *x, *above; /* [rows, width]: input, and gradient of the value */
    void *out;             /* [rows, width]: value, or gradient of the input */
    int64_t rows, width;
    const float *mean, *inverse; /* [width]: z = (x - mean) * inverse */
    const float *coefficients;   /* [count, width] */
    float bound;                 /* of z, beyond which it is in excess */
    double *sums;                /* [count, width], added to */
} work;

static inline float from_float(float value) { return value; }
static inline float to_float(float value) { return value; }

/* bfloat16 is the upper half of a float. */
static inline float from_bfloat(uint16_t half) {
    uint32_t word = (uint32_t)half << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* Rounds to the nearest, ties to even. */
static inline uint16_t to_bfloat(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return (uint16_t)((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

/* What lies beyond +-bound, with its sign. */
static inline float beyond(float z, float bound) {
    float high = z - bound, low = z + bound;
    return (high > 0 ? high : 0) + (low < 0 ? low : 0);
}

static void add(const work *w, int64_t count, int64_t column, int64_t columns, float sums[][TILE]) {
    for (int64_t part = 0; part < count; part++)
        for (int64_t i = 0; i < columns; i++) w->sums[part * w->width + column + i] += sums[part][i];
}

/* The loops that all kernels share: STEP for column i of a row, with its z, between START and END of a block. */
#define SWEEP(TYPE, LOAD, START, STEP, END)                                                       \
    for (int64_t column = 0; column < w->width; column += TILE) {                                 \
        const int64_t columns = w->width - column < TILE ? w->width - column : TILE;              \
        const float *restrict mean = w->mean + column, *restrict inverse = w->inverse + column;   \
        const float *restrict c = w->coefficients + column;                                       \
        const int64_t width = w->width;                                                           \
        const float bound = w->bound;                                                             \
        for (int64_t start = 0; start < w->rows; start += BLOCK) {                                \
            const int64_t stop = w->rows - start < BLOCK ? w->rows : start + BLOCK;               \
            START;                                                                                \
            for (int64_t row = start; row < stop; row++) {                                        \
                const TYPE *restrict x = (const TYPE *)w->x + row * width + column;               \
                const TYPE *restrict above = (const TYPE *)w->above + row * width + column;       \
                TYPE *restrict out = (TYPE *)w->out + row * width + column;                       \
                for (int64_t i = 0; i < columns; i++) {                                           \
                    const float z = (LOAD(x[i]) - mean[i]) * inverse[i];                          \
                    STEP;                                                                         \
                }                                                                                 \
                (void)x, (void)above, (void)out;                                                  \
            }                                                                                     \
            END;                                                                                  \
        }                                                                                         \
        (void)c, (void)bound;                                                                     \
    }

#define KERNELS(NAME, TYPE, LOAD, STORE)                                                          \
    /* sums [2]: z, z^2. */                                                                       \
    void NAME##_low_powers(const work *w) {                                                       \
        SWEEP(TYPE, LOAD, float s[2][TILE] = {{0}},                                               \
              { s[0][i] += z; s[1][i] += z * z; },                                                \
              add(w, 2, column, columns, s))                                                      \
    }                                                                                             \
    /* sums [2]: z^3, z^4. */                                                                     \
    void NAME##_high_powers(const work *w) {                                                      \
        SWEEP(TYPE, LOAD, float s[2][TILE] = {{0}},                                               \
              { const float square = z * z; s[0][i] += square * z; s[1][i] += square * square; }, \
              add(w, 2, column, columns, s))                                                      \
    }                                                                                             \
    /* out = c0 + c1 z + c2 z^2; sums [3]: e^2, e, e z of the excess e. */                        \
    void NAME##_value(const work *w) {                                                            \
        SWEEP(TYPE, LOAD, float s[3][TILE] = {{0}},                                               \
              {                                                                                   \
                  const float e = beyond(z, bound);                                               \
                  out[i] = STORE((c[2 * width + i] * z + c[width + i]) * z + c[i]);               \
                  s[0][i] += e * e; s[1][i] += e; s[2][i] += e * z;                               \
              },                                                                                  \
              add(w, 3, column, columns, s))                                                      \
    }                                                                                             \
    /* sums [3]: g, g z, g z^2 of the gradient g from above. */                                   \
    void NAME##_gradient_sums(const work *w) {                                                    \
        SWEEP(TYPE, LOAD, float s[3][TILE] = {{0}},                                               \
              {                                                                                   \
                  const float g = LOAD(above[i]);                                                 \
                  s[0][i] += g; s[1][i] += g * z; s[2][i] += g * z * z;                           \
              },                                                                                  \
              add(w, 3, column, columns, s))                                                      \
    }                                                                                             \
    /* out = g (c0 + c1 z) + c2 + c3 z + c4 z^3 + c5 e. */                                        \
    void NAME##_gradient(const work *w) {                                                         \
        SWEEP(TYPE, LOAD, {},                                                                     \
              {                                                                                   \
                  const float own = (c[4 * width + i] * z * z + c[3 * width + i]) * z             \
                                    + c[2 * width + i] + c[5 * width + i] * beyond(z, bound);     \
                  out[i] = STORE(LOAD(above[i]) * (c[width + i] * z + c[i]) + own);               \
              },                                                                                  \
              {})                                                                                 \
    }

KERNELS(float32, float, from_float, to_float)
KERNELS(bfloat16, uint16_t, from_bfloat, to_bfloat)
