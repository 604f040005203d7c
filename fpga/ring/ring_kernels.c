/* Ring kernels on Z_2^32: convolution as a register-tiled product of NHWC windows, depthwise convolution.
 *
 * Unsigned words wrap by definition of the language, so every sum is exact modulo 2^32. The vector width follows the
 * target of the compiler (VECTOR_BYTES); the file needs GCC's vector extensions, nothing of one CPU.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "geometry.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES (VECTOR_BYTES / 4)
#define PANEL (2 * LANES) /* output channels of one tile */
#define ROWS 6            /* output pixels of one tile */
#define BLOCK 96          /* output pixels whose windows stay in the cache while the panels pass */

typedef uint32_t vector __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

int ring_panel(void) { return PANEL; }

static int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

/* Words that the packed form of one group's weights takes. */
int64_t ring_packed_words(int64_t outputs, int64_t depth) { return round_up(outputs, PANEL) * depth; }

/* weights [outputs, inputs, taps] -> [outputs / PANEL][taps][inputs][PANEL], zeros beyond the last output. */
void ring_pack(const uint32_t *weights, int64_t outputs, int64_t inputs, int64_t taps, uint32_t *packed) {
    int64_t depth = inputs * taps;
    for (int64_t base = 0; base < outputs; base += PANEL) {
        uint32_t *panel = packed + base * depth;
        int64_t filled = outputs - base < PANEL ? outputs - base : PANEL;
        for (int64_t input = 0; input < inputs; input++)
            for (int64_t tap = 0; tap < taps; tap++) {
                uint32_t *row = panel + (tap * inputs + input) * PANEL;
                for (int64_t lane = 0; lane < filled; lane++)
                    row[lane] = weights[(base + lane) * depth + input * taps + tap];
                for (int64_t lane = filled; lane < PANEL; lane++) row[lane] = 0;
            }
    }
}

/* Where the left factor's rows begin, and how each goes on: `segments` runs of `length` words, `step` words apart. */
typedef struct {
    const uint32_t *const *rows;
    int64_t segments, length, step;
} factor;

#define TILE(COUNT)                                                                                              \
    static void tile_##COUNT(const factor *a, int64_t row_index, const uint32_t *b, uint32_t *c,                 \
                             int64_t c_stride) {                                                                 \
        vector low[COUNT], high[COUNT];                                                                          \
        const uint32_t *rows[COUNT];                                                                             \
        for (int row = 0; row < COUNT; row++) {                                                                  \
            low[row] = *(const vector *)(c + row * c_stride);                                                    \
            high[row] = *(const vector *)(c + row * c_stride + LANES);                                           \
            rows[row] = a->rows[row_index + row];                                                                \
        }                                                                                                        \
        for (int64_t segment = 0; segment < a->segments; segment++) {                                            \
            for (int64_t k = 0; k < a->length; k++, b += PANEL) {                                                \
                vector b_low = *(const vector *)b, b_high = *(const vector *)(b + LANES);                        \
                _Pragma("GCC unroll 6") for (int row = 0; row < COUNT; row++) {                                  \
                    uint32_t value = rows[row][k];                                                               \
                    low[row] += value * b_low;                                                                   \
                    high[row] += value * b_high;                                                                 \
                }                                                                                                \
            }                                                                                                    \
            for (int row = 0; row < COUNT; row++) rows[row] += a->step;                                          \
        }                                                                                                        \
        for (int row = 0; row < COUNT; row++) {                                                                  \
            *(vector *)(c + row * c_stride) = low[row];                                                          \
            *(vector *)(c + row * c_stride + LANES) = high[row];                                                 \
        }                                                                                                        \
    }

TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

typedef void (*tile_function)(const factor *, int64_t, const uint32_t *, uint32_t *, int64_t);
static const tile_function TILES[ROWS + 1] = {0, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

/* c [count, panels * PANEL] += rows of a * packed b [panels][depth][PANEL]. */
static void multiply(factor a, int64_t count, const uint32_t *b, int64_t panels, uint32_t *c) {
    int64_t depth = a.segments * a.length, c_stride = panels * PANEL;
    for (int64_t panel = 0; panel < panels; panel++)
        for (int64_t row = 0; row < count; row += ROWS) {
            int64_t filled = count - row < ROWS ? count - row : ROWS;
            TILES[filled](&a, row, b + panel * depth * PANEL, c + row * c_stride + panel * PANEL, c_stride);
        }
}

/* a [rows, depth] x packed b -> out [rows, outputs]; 0, or -1 without memory. */
int ring_matmul(const uint32_t *a, int64_t rows, int64_t depth, const uint32_t *b, int64_t outputs, uint32_t *out,
                int accumulate) {
    int64_t columns = round_up(outputs, PANEL);
    uint32_t *c = calloc((size_t)(rows * columns), sizeof(uint32_t));
    const uint32_t **starts = malloc((size_t)rows * sizeof *starts);
    if (!c || !starts) {
        free(c);
        free(starts);
        return -1;
    }
    for (int64_t row = 0; row < rows; row++) starts[row] = a + row * depth;
    multiply((factor){starts, 1, depth, 0}, rows, b, columns / PANEL, c);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < outputs; column++) {
            uint32_t value = c[row * columns + column];
            out[row * outputs + column] = accumulate ? out[row * outputs + column] + value : value;
        }
    free(c);
    free(starts);
    return 0;
}

/* [channels, pixels] -> [pixels, channels], in blocks that stay in the cache. */
static void to_pixels(const uint32_t *planes, int64_t channels, int64_t pixels, uint32_t *image) {
    for (int64_t p0 = 0; p0 < pixels; p0 += 16)
        for (int64_t c0 = 0; c0 < channels; c0 += 16) {
            int64_t p1 = p0 + 16 < pixels ? p0 + 16 : pixels, c1 = c0 + 16 < channels ? c0 + 16 : channels;
            for (int64_t p = p0; p < p1; p++)
                for (int64_t c = c0; c < c1; c++) image[p * channels + c] = planes[c * pixels + p];
        }
}

/* One group's image [rows][columns][inputs] as its windows need it: with the padding, without what none reaches. */
static void to_padded(const uint32_t *planes, const geometry *g, int64_t inputs, int64_t rows, int64_t columns,
                      uint32_t *image) {
    int64_t width = columns - g->pad_left < g->width ? columns - g->pad_left : g->width;
    memset(image, 0, (size_t)(rows * columns * inputs) * 4);
    for (int64_t y = 0; y < g->height && y + g->pad_top < rows; y++) {
        uint32_t *row = image + ((y + g->pad_top) * columns + g->pad_left) * inputs;
        for (int64_t x0 = 0; x0 < width; x0 += 16)
            for (int64_t c0 = 0; c0 < inputs; c0 += 16) {
                int64_t x1 = x0 + 16 < width ? x0 + 16 : width, c1 = c0 + 16 < inputs ? c0 + 16 : inputs;
                for (int64_t x = x0; x < x1; x++)
                    for (int64_t c = c0; c < c1; c++)
                        row[x * inputs + c] = planes[(c * g->height + y) * g->width + x];
            }
    }
}

static void store(const uint32_t *c, int64_t count, int64_t columns, int64_t outputs, int64_t pixels, int64_t first,
                  uint32_t *out, int accumulate) {
    for (int64_t o0 = 0; o0 < outputs; o0 += 16) {
        int64_t o1 = o0 + 16 < outputs ? o0 + 16 : outputs;
        for (int64_t p0 = 0; p0 < count; p0 += 16) {
            int64_t p1 = p0 + 16 < count ? p0 + 16 : count;
            for (int64_t o = o0; o < o1; o++) {
                uint32_t *row = out + o * pixels + first;
                if (accumulate)
                    for (int64_t p = p0; p < p1; p++) row[p] += c[p * columns + o];
                else
                    for (int64_t p = p0; p < p1; p++) row[p] = c[p * columns + o];
            }
        }
    }
}

/* x [images, channels, height, width] * packed weights -> out [images, out_channels, out_height, out_width]. */
int ring_conv2d(const uint32_t *x, int64_t images, const geometry *g, const uint32_t *packed, uint32_t *out,
                int accumulate) {
    int64_t inputs = g->channels / g->groups, outputs = g->out_channels / g->groups;
    int64_t depth = inputs * g->kernel_h * g->kernel_w, panels = round_up(outputs, PANEL) / PANEL;
    int64_t pixels = g->out_height * g->out_width, block = pixels < BLOCK ? pixels : BLOCK;
    int64_t rows = (g->out_height - 1) * g->stride_h + g->kernel_h;
    int64_t columns = (g->out_width - 1) * g->stride_w + g->kernel_w;
    uint32_t *image = malloc((size_t)(rows * columns * inputs) * 4);
    uint32_t *c = malloc((size_t)(block * panels * PANEL) * 4);
    const uint32_t **windows = malloc((size_t)pixels * sizeof *windows);
    int status = image && c && windows ? 0 : -1;
    for (int64_t p = 0; p < pixels && !status; p++)
        windows[p] = image + (p / g->out_width * g->stride_h * columns + p % g->out_width * g->stride_w) * inputs;
    for (int64_t n = 0; n < images && !status; n++)
        for (int64_t group = 0; group < g->groups; group++) {
            to_padded(x + (n * g->channels + group * inputs) * g->height * g->width, g, inputs, rows, columns, image);
            for (int64_t first = 0; first < pixels; first += block) {
                int64_t count = pixels - first < block ? pixels - first : block;
                factor a = {windows + first, g->kernel_h, g->kernel_w * inputs, columns * inputs};
                memset(c, 0, (size_t)(count * panels * PANEL) * 4);
                multiply(a, count, packed + group * panels * PANEL * depth, panels, c);
                store(c, count, panels * PANEL, outputs, pixels, first,
                      out + (n * g->out_channels + group * outputs) * pixels, accumulate);
            }
        }
    free(image);
    free(c);
    free(windows);
    return status;
}

/* One filter per channel (groups = channels = out_channels); weights [taps, channels]. */
int ring_depthwise(const uint32_t *x, int64_t images, const geometry *g, const uint32_t *weights, uint32_t *out,
                   int accumulate) {
    int64_t channels = g->channels, in_pixels = g->height * g->width, pixels = g->out_height * g->out_width;
    uint32_t *image = malloc((size_t)(channels * in_pixels) * 4);
    uint32_t *result = malloc((size_t)(channels * pixels) * 4);
    int status = image && result ? 0 : -1;
    for (int64_t n = 0; n < images && !status; n++) {
        to_pixels(x + n * channels * in_pixels, channels, in_pixels, image);
        memset(result, 0, (size_t)(channels * pixels) * 4);
        for (int64_t p = 0; p < pixels; p++) {
            int64_t y0 = p / g->out_width * g->stride_h - g->pad_top;
            int64_t x0 = p % g->out_width * g->stride_w - g->pad_left;
            uint32_t *restrict sum = result + p * channels;
            for (int64_t ky = 0; ky < g->kernel_h; ky++)
                for (int64_t kx = 0; kx < g->kernel_w; kx++) {
                    int64_t y = y0 + ky, xx = x0 + kx;
                    if (y < 0 || y >= g->height || xx < 0 || xx >= g->width) continue;
                    const uint32_t *restrict tap = image + (y * g->width + xx) * channels;
                    const uint32_t *restrict weight = weights + (ky * g->kernel_w + kx) * channels;
                    for (int64_t channel = 0; channel < channels; channel++)
                        sum[channel] += tap[channel] * weight[channel];
                }
        }
        store(result, pixels, channels, channels, pixels, 0, out + n * channels * pixels, accumulate);
    }
    free(image);
    free(result);
    return status;
}
