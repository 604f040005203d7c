/* Ring convolution on Z_2^32 by 8-bit limbs on matrix tiles (AMX): a word is four octets, and a product modulo 2^32
 * needs the ten pairs of octets whose places add up to less than four.
 *
 * A tile of sums is kept per place; each holds 32-bit words that wrap, so that the result is exact. Without such tiles
 * (another CPU, another system, no permission) `tile_available` says so and nothing else may be called.
 */
#include "geometry.h"

#if defined(__AMX_INT8__) && defined(__AVX512BW__) && defined(__AVX512VBMI__) && defined(__AVX512VL__) && \
    defined(__linux__)
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIMBS 4
#define SIDE 16                      /* rows and columns of a tile of sums */
#define CHUNK 64                     /* octets of a row: terms of a product that one instruction adds up */
#define TILE (SIDE * CHUNK)          /* octets of a tile */
#define IMAGE_OCTETS (3 << 18)       /* images whose windows are read together stay in the cache */
#define BLOCK_OCTETS (1 << 20)       /* so do the windows, while the panels of weights pass */
#define MOST_ROWS 512
#define REQUEST_PERMISSION 0x1023    /* ARCH_REQ_XCOMP_PERM */
#define TILE_DATA 18                 /* XFEATURE_XTILEDATA */

/* Whether this process may use tiles; asks the system for them. */
int tile_available(void) { return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0; }

static int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

static void configure(void) {
    struct __attribute__((packed)) {
        uint8_t palette, start, reserved[14];
        uint16_t columns[16];
        uint8_t rows[16];
    } shapes;
    memset(&shapes, 0, sizeof shapes);
    shapes.palette = 1;
    for (int tile = 0; tile < 8; tile++) {
        shapes.columns[tile] = CHUNK;
        shapes.rows[tile] = SIDE;
    }
    _tile_loadconfig(&shapes);
}

/* Octets that the packed form of one group's weights takes. */
int64_t tile_packed_octets(int64_t outputs, int64_t depth) {
    return round_up(outputs, SIDE) * round_up(depth, CHUNK) * LIMBS;
}

/* weights [outputs, inputs, taps] -> [outputs / SIDE][depth / CHUNK][limb] tiles, depth = (tap, input); four terms of
 * an output lie side by side. Zeros fill the last tiles. */
void tile_pack(const uint32_t *weights, int64_t outputs, int64_t inputs, int64_t taps, uint8_t *packed) {
    int64_t depth = inputs * taps, chunks = round_up(depth, CHUNK) / CHUNK;
    memset(packed, 0, (size_t)tile_packed_octets(outputs, depth));
    for (int64_t output = 0; output < outputs; output++)
        for (int64_t input = 0; input < inputs; input++)
            for (int64_t tap = 0; tap < taps; tap++) {
                uint32_t word = weights[output * depth + input * taps + tap];
                int64_t k = tap * inputs + input;
                uint8_t *tile = packed + (output / SIDE * chunks + k / CHUNK) * LIMBS * TILE;
                int64_t place = k % CHUNK / 4 * CHUNK + output % SIDE * 4 + k % 4;
                for (int limb = 0; limb < LIMBS; limb++) tile[limb * TILE + place] = (uint8_t)(word >> 8 * limb);
            }
}

/* One image's channels as its windows need them: per limb octets [rows][columns][inputs], of the padded image's rows
 * [top, top + rows). `plane` octets lie between limbs; the image was zeroed. */
static void to_limbs(const uint32_t *channels, const geometry *g, int64_t inputs, int64_t top, int64_t rows,
                     int64_t columns, int64_t plane, uint8_t *image) {
    /* octet `limb` of word i goes to place 16 limb + i */
    uint8_t order[64];
    for (int i = 0; i < 64; i++) order[i] = (uint8_t)(i % 16 * 4 + i / 16);
    __m512i split = _mm512_loadu_si512(order);
    int64_t width = columns - g->pad_left < g->width ? columns - g->pad_left : g->width;
    for (int64_t row = 0; row < rows; row++) {
        int64_t y = top + row - g->pad_top;
        if (y < 0 || y >= g->height) continue;
        for (int64_t c0 = 0; c0 < inputs; c0 += 16) {
            int64_t count = inputs - c0 < 16 ? inputs - c0 : 16;
            __mmask16 kept = (__mmask16)((1u << count) - 1);
            for (int64_t x0 = 0; x0 < width; x0 += 16) {
                int64_t pixels = width - x0 < 16 ? width - x0 : 16;
                __mmask16 read = (__mmask16)((1u << pixels) - 1);
                const uint32_t *from = channels + (c0 * g->height + y) * g->width + x0;
                __m512i a[16], b[16];
                for (int c = 0; c < 16; c++)
                    a[c] = c < count ? _mm512_permutexvar_epi8(split, _mm512_maskz_loadu_epi32(
                                                                          read, from + c * g->height * g->width))
                                     : _mm512_setzero_si512();
                /* 16 x 16 octets of each limb are transposed: four rounds that interleave rows i and i + 8 */
                for (int pair = 0; pair < 2; pair++) {
                    for (int i = 0; i < 8; i++) {
                        b[2 * i] = _mm512_unpacklo_epi8(a[i], a[i + 8]);
                        b[2 * i + 1] = _mm512_unpackhi_epi8(a[i], a[i + 8]);
                    }
                    for (int i = 0; i < 8; i++) {
                        a[2 * i] = _mm512_unpacklo_epi8(b[i], b[i + 8]);
                        a[2 * i + 1] = _mm512_unpackhi_epi8(b[i], b[i + 8]);
                    }
                }
                uint8_t *to = image + (row * columns + g->pad_left + x0) * inputs + c0;
                for (int64_t x = 0; x < pixels; x++, to += inputs) {
                    _mm_mask_storeu_epi8(to, kept, _mm512_castsi512_si128(a[x]));
                    _mm_mask_storeu_epi8(to + plane, kept, _mm512_extracti32x4_epi32(a[x], 1));
                    _mm_mask_storeu_epi8(to + 2 * plane, kept, _mm512_extracti32x4_epi32(a[x], 2));
                    _mm_mask_storeu_epi8(to + 3 * plane, kept, _mm512_extracti32x4_epi32(a[x], 3));
                }
            }
        }
    }
}

static inline void copy_run(uint8_t *to, const uint8_t *from, int64_t count) {
    for (; count >= 64; count -= 64, to += 64, from += 64) _mm512_storeu_si512(to, _mm512_loadu_si512(from));
    if (count) {
        __mmask64 kept = ((__mmask64)1 << count) - 1;
        _mm512_mask_storeu_epi8(to, kept, _mm512_maskz_loadu_epi8(kept, from));
    }
}

/* The sums of SIDE windows (limbs `plane` octets apart, rows `stride` apart) and SIDE outputs' weights. */
static inline void multiply(const uint8_t *a, int64_t stride, int64_t plane, const uint8_t *b, int64_t chunks,
                            uint32_t sums[LIMBS][SIDE][SIDE]) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t chunk = 0; chunk < chunks; chunk++, a += CHUNK, b += LIMBS * TILE) {
        _tile_loadd(7, b, CHUNK);
        _tile_loadd(4, a, stride);
        _tile_dpbuud(0, 4, 7);
        _tile_loadd(5, a + plane, stride);
        _tile_dpbuud(1, 5, 7);
        _tile_loadd(6, a + 3 * plane, stride);
        _tile_dpbuud(3, 6, 7);
        _tile_loadd(6, a + 2 * plane, stride);
        _tile_dpbuud(2, 6, 7);
        _tile_loadd(7, b + TILE, CHUNK);
        _tile_dpbuud(1, 4, 7);
        _tile_dpbuud(2, 5, 7);
        _tile_dpbuud(3, 6, 7);
        _tile_loadd(6, b + 2 * TILE, CHUNK);
        _tile_dpbuud(2, 4, 6);
        _tile_dpbuud(3, 5, 6);
        _tile_loadd(5, b + 3 * TILE, CHUNK);
        _tile_dpbuud(3, 4, 5);
    }
    _tile_stored(0, sums[0], CHUNK);
    _tile_stored(1, sums[1], CHUNK);
    _tile_stored(2, sums[2], CHUNK);
    _tile_stored(3, sums[3], CHUNK);
}

/* Sums per place [window][output] -> words [output][window]. */
static inline void combine(uint32_t sums[LIMBS][SIDE][SIDE], __m512i words[SIDE]) {
    __m512i a[SIDE], b[SIDE];
    for (int i = 0; i < SIDE; i++) {
        __m512i low = _mm512_add_epi32(_mm512_load_si512(sums[0][i]),
                                       _mm512_slli_epi32(_mm512_load_si512(sums[1][i]), 8));
        __m512i high = _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(sums[2][i]), 16),
                                        _mm512_slli_epi32(_mm512_load_si512(sums[3][i]), 24));
        a[i] = _mm512_add_epi32(low, high);
    }
    for (int i = 0; i < SIDE; i += 4) {
        __m512i p = _mm512_unpacklo_epi32(a[i], a[i + 1]), q = _mm512_unpackhi_epi32(a[i], a[i + 1]);
        __m512i r = _mm512_unpacklo_epi32(a[i + 2], a[i + 3]), s = _mm512_unpackhi_epi32(a[i + 2], a[i + 3]);
        b[i] = _mm512_unpacklo_epi64(p, r);
        b[i + 1] = _mm512_unpackhi_epi64(p, r);
        b[i + 2] = _mm512_unpacklo_epi64(q, s);
        b[i + 3] = _mm512_unpackhi_epi64(q, s);
    }
    for (int i = 0; i < 4; i++) {
        __m512i p = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88), q = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xdd);
        __m512i r = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88);
        __m512i s = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xdd);
        words[i] = _mm512_shuffle_i32x4(p, r, 0x88);
        words[i + 8] = _mm512_shuffle_i32x4(p, r, 0xdd);
        words[i + 4] = _mm512_shuffle_i32x4(q, s, 0x88);
        words[i + 12] = _mm512_shuffle_i32x4(q, s, 0xdd);
    }
}

/* Words [output][window] of the windows from `first` on to where they belong in out [images, out_channels, pixels]. */
static void put(const __m512i words[SIDE], int64_t first, int64_t count, int64_t pixels, int64_t outputs,
                int64_t out_channels, uint32_t *out, int accumulate) {
    for (int64_t lane = 0; lane < count;) {
        int64_t image = (first + lane) / pixels, pixel = (first + lane) % pixels;
        int64_t run = pixels - pixel < count - lane ? pixels - pixel : count - lane;
        __mmask16 kept = (__mmask16)(((1u << run) - 1) << lane);
        uint32_t *to = out + image * out_channels * pixels + pixel - lane;
        for (int64_t output = 0; output < outputs; output++, to += pixels) {
            __m512i value = words[output];
            if (accumulate) value = _mm512_add_epi32(value, _mm512_maskz_loadu_epi32(kept, to));
            _mm512_mask_storeu_epi32(to, kept, value);
        }
        lane += run;
    }
}

typedef struct {
    uint8_t *images, *windows;
    int64_t image_octets, window_octets;
} scratch;

/* One group of channels: the windows [from, to) of all images, the outputs of the panels [panel, last_panel). */
static int convolve_group(const uint32_t *x, const geometry *g, int64_t group, const uint8_t *packed, int64_t from,
                          int64_t to, int64_t panel_from, int64_t panel_to, uint32_t *out, int accumulate,
                          scratch *s) {
    int64_t inputs = g->channels / g->groups, outputs = g->out_channels / g->groups;
    int64_t run = g->kernel_w * inputs, depth = g->kernel_h * run, chunks = round_up(depth, CHUNK) / CHUNK;
    int64_t stride = (chunks | 1) * CHUNK; /* an odd number of cache lines: rows do not meet in the same sets */
    int64_t pixels = g->out_height * g->out_width, columns = (g->out_width - 1) * g->stride_w + g->kernel_w;
    int64_t rows_of_image = (g->out_height - 1) * g->stride_h + g->kernel_h;
    int64_t block = BLOCK_OCTETS / (LIMBS * stride) / SIDE * SIDE;
    block = block < SIDE ? SIDE : block > MOST_ROWS ? MOST_ROWS : block;
    int64_t together = IMAGE_OCTETS / (rows_of_image * columns * inputs * LIMBS);
    if (together < 1) together = 1;
    for (int64_t start = from; start < to;) {
        int64_t image = start / pixels, end = (image + together) * pixels < to ? (image + together) * pixels : to;
        /* of one image, what these windows reach; of several, all rows */
        int single = (end - 1) / pixels == image;
        int64_t first_row = single ? start % pixels / g->out_width * g->stride_h : 0;
        int64_t last_row = single ? (end - 1) % pixels / g->out_width * g->stride_h + g->kernel_h : rows_of_image;
        int64_t rows = last_row - first_row, count = (end - 1) / pixels - image + 1;
        int64_t one = rows * columns * inputs, plane = round_up(count * one + CHUNK, CHUNK);
        int64_t window_plane = block * stride;
        if (LIMBS * plane > s->image_octets) {
            free(s->images);
            s->images = aligned_alloc(CHUNK, (size_t)(LIMBS * plane));
            s->image_octets = s->images ? LIMBS * plane : 0;
        }
        /* not zeroed: beyond their depth, windows meet weights that are zero */
        if (LIMBS * window_plane > s->window_octets) {
            free(s->windows);
            s->windows = aligned_alloc(CHUNK, (size_t)(LIMBS * window_plane));
            s->window_octets = s->windows ? LIMBS * window_plane : 0;
        }
        if (!s->images || !s->windows) return -1;
        memset(s->images, 0, (size_t)(LIMBS * plane));
        for (int64_t n = 0; n < count; n++)
            to_limbs(x + ((image + n) * g->channels + group * inputs) * g->height * g->width, g, inputs, first_row,
                     rows, columns, plane, s->images + n * one);
        for (int64_t first = start; first < end; first += block) {
            int64_t filled = end - first < block ? end - first : block;
            for (int64_t row = 0; row < filled; row++) {
                int64_t n = (first + row) / pixels - image, pixel = (first + row) % pixels;
                int64_t y = pixel / g->out_width * g->stride_h - first_row, left = pixel % g->out_width * g->stride_w;
                const uint8_t *corner = s->images + n * one + (y * columns + left) * inputs;
                uint8_t *window = s->windows + row * stride;
                for (int limb = 0; limb < LIMBS; limb++)
                    for (int64_t ky = 0; ky < g->kernel_h; ky++)
                        copy_run(window + limb * window_plane + ky * run, corner + limb * plane + ky * columns * inputs,
                                 run);
            }
            for (int64_t panel = panel_from; panel < panel_to; panel++) {
                int64_t o = outputs - panel * SIDE < SIDE ? outputs - panel * SIDE : SIDE;
                for (int64_t row = 0; row < filled; row += SIDE) {
                    uint32_t sums[LIMBS][SIDE][SIDE] __attribute__((aligned(64)));
                    __m512i words[SIDE];
                    multiply(s->windows + row * stride, stride, window_plane, packed + panel * chunks * LIMBS * TILE,
                             chunks, sums);
                    combine(sums, words);
                    put(words, first + row, filled - row < SIDE ? filled - row : SIDE, pixels, o, g->out_channels,
                        out + (group * outputs + panel * SIDE) * pixels, accumulate);
                }
            }
        }
        start = end;
    }
    return 0;
}

/* x [images, channels, height, width] * packed weights -> out [images, out_channels, out_height, out_width]: of it the
 * windows [from, to) of all images together, and the panels of SIDE outputs [panel_from, panel_to) of every group.
 * 0, or -1 without memory. */
int tile_conv2d(const uint32_t *x, const geometry *g, const uint8_t *packed, int64_t from, int64_t to,
                int64_t panel_from, int64_t panel_to, uint32_t *out, int accumulate) {
    int64_t inputs = g->channels / g->groups, outputs = g->out_channels / g->groups;
    int64_t octets = tile_packed_octets(outputs, inputs * g->kernel_h * g->kernel_w);
    scratch s = {0};
    int status = 0;
    configure();
    for (int64_t group = 0; group < g->groups && !status; group++)
        status = convolve_group(x, g, group, packed + group * octets, from, to, panel_from, panel_to, out, accumulate,
                                &s);
    _tile_release();
    free(s.images);
    free(s.windows);
    return status;
}
#else
int tile_available(void) { return 0; }
#endif
