/* How weights lie in polynomials; see `ConvPacking`. */
#include <stdint.h>

typedef struct {
    int64_t channels, out_channels, group_inputs, group_outputs, taps;
    int64_t inputs, outputs, pixels, offset; /* channels per polynomial, a tile's pixels, the first coefficient wanted */
} packing;

/* Channels of one input polynomial that one output channel reads: the place of the first in the polynomial, how many,
 * and the weights [count][taps]. */
typedef struct {
    int64_t first, count;
    const int32_t *weights;
} met_channels;

static inline met_channels meet(const packing *as, const int32_t *weights, int64_t input, int64_t output_channel) {
    int64_t start = input * as->inputs, stop = start + as->inputs < as->channels ? start + as->inputs : as->channels;
    int64_t group = output_channel / as->group_outputs * as->group_inputs, behind = group + as->group_inputs;
    int64_t from = start > group ? start : group, to = stop < behind ? stop : behind;
    if (from >= to) return (met_channels){0, 0, 0};
    return (met_channels){from - start, to - from, weights + (output_channel * as->group_inputs + from - group) * as->taps};
}
