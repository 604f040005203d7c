// The ring multiplication array: X_i ⊗ F + E ⊗ B_i + Z_i, two ring products of one convolution or matrix product
// (fpga/protocols/beaver_products.py), or M ⊗ (i·M_W − r_W,i) and an offline part, one product, for `masked`. The mask
// share of a filter is expanded beside the array as it is used.
#include "tile.h"

namespace rrnet {

namespace {

// What the array reads and writes for one tile.
struct Operands {
    Words share, opened, result, weights;
    uint32_t first_weight_channel = 0;
    bool masked = false;
    int party = 0;

    // The factor of the opened input: B_i, or i·M_W − r_W,i.
    uint32_t factor(uint32_t weight, uint32_t mask) const {
        return masked ? (party == 1 ? weight : 0) - mask : mask;
    }
};

Status find_operands(Chip& chip, const Tile& tile, Operands& operands) {
    const uint64_t needed = tile.needed_elements();
    operands.masked = chip.masked;
    operands.party = chip.party;
    RRNET_TRY(tile_words(chip, tile, 0, needed, operands.share));
    RRNET_TRY(tile_words(chip, tile, 4 * needed, needed, operands.opened));
    RRNET_TRY(tile_words(chip, tile, 8 * needed, tile.elements, operands.result));
    RRNET_REQUIRE(tile.band < RRNET_MAX_BANDS && chip.bands[tile.band].loaded, order);
    rrnet_band band;
    RRNET_TRY(chip.program->band(tile.band, band));
    operands.first_weight_channel = band.channel_begin;
    const uint64_t words = uint64_t{band.channel_end - band.channel_begin} * tile.filter_words();
    return chip.buffer.words(chip.bands[tile.band].address, words, operands.weights);
}

// result[x] += share[x·step] · weight + opened[x·step] · mask along a row: the array's lanes. Without a share, the
// second product alone.
void multiply_row(uint32_t* result, const uint32_t* share, const uint32_t* opened, uint32_t count, uint32_t step,
                  uint32_t weight, uint32_t mask) {
    if (!share) {
        for (uint32_t x = 0; x < count; ++x) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = RRNET_ARRAY_LANES
            result[x] += opened[uint64_t{x} * step] * mask;
        }
        return;
    }
    if (step == 1) {
        for (uint32_t x = 0; x < count; ++x) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = RRNET_ARRAY_LANES
            result[x] += share[x] * weight + opened[x] * mask;
        }
        return;
    }
    for (uint32_t x = 0; x < count; ++x) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = RRNET_ARRAY_LANES
        result[x] += share[uint64_t{x} * step] * weight + opened[uint64_t{x} * step] * mask;
    }
}

// One filter tap of one input channel on all rows of the tile.
Status multiply_tap(const Tile& tile, const Operands& operands, uint32_t channel, uint32_t out_channel, uint32_t tap_y,
                    uint32_t tap_x, uint32_t weight, uint32_t mask) {
    const rrnet_operation& op = tile.op;
    // output columns whose tap lies inside of the image
    const int64_t shift = int64_t{tap_x} - op.pad_left;
    const int64_t begin = shift < 0 ? (-shift + op.stride_w - 1) / op.stride_w : 0;
    const int64_t last = (int64_t{op.width} - 1 - shift) / op.stride_w;
    const int64_t end = last + 1 < op.out_width ? last + 1 : op.out_width;
    if (int64_t{op.width} - 1 - shift < 0 || begin >= end) return Status::done;
    const uint64_t left = static_cast<uint64_t>(begin * op.stride_w + shift);
    const uint32_t count = static_cast<uint32_t>(end - begin);
    for (uint32_t row = tile.region.row_begin; row < tile.region.row_end; ++row) {
        const int64_t y = int64_t{row} * op.stride_h - op.pad_top + tap_y;
        if (y < 0 || y >= op.height) continue;
        const uint64_t source_row = uint64_t{channel - tile.needed.channel_begin} * tile.needed.rows() +
                                    (static_cast<uint64_t>(y) - tile.needed.row_begin);
        const uint64_t result_row = uint64_t{out_channel - tile.region.channel_begin} * tile.region.rows() + row -
                                    tile.region.row_begin;
        const uint64_t reach = uint64_t{count - 1} * op.stride_w + 1;
        const uint32_t* share = operands.share.span(source_row * op.width + left, reach);
        const uint32_t* opened = operands.opened.span(source_row * op.width + left, reach);
        uint32_t* result =
            operands.result.span(result_row * op.out_width + static_cast<uint64_t>(begin), count);
        RRNET_REQUIRE(share && opened && result, buffer);
        multiply_row(result, operands.masked ? nullptr : share, opened, count, op.stride_w, weight,
                     operands.factor(weight, mask));
    }
    return Status::done;
}

// Every input channel of the filter's group, or the one channel of a depthwise filter.
Status multiply_filter(const Tile& tile, const Operands& operands, uint32_t out_channel, const Keystream& masks) {
    const rrnet_operation& op = tile.op;
    const uint32_t inputs = op.channels / op.groups, outputs = op.out_channels / op.groups;
    const uint32_t first_channel = out_channel / outputs * inputs, taps = uint32_t{op.kernel_h} * op.kernel_w;
    const uint64_t place = uint64_t{out_channel} * tile.filter_words();
    uint32_t mask[RRNET_MAX_TAPS];
    RRNET_REQUIRE(taps <= RRNET_MAX_TAPS, unsupported);
    for (uint32_t i = 0; i < inputs; ++i) {
        const uint64_t own = (uint64_t{out_channel} - operands.first_weight_channel) * tile.filter_words();
        const uint32_t* weights = operands.weights.span(own + uint64_t{i} * taps, taps);
        RRNET_REQUIRE(weights, buffer);
        RRNET_TRY(masks.read_words(0, place + uint64_t{i} * taps, taps, mask));
        for (uint32_t tap = 0; tap < taps; ++tap) {
            RRNET_TRY(multiply_tap(tile, operands, first_channel + i, out_channel, tap / op.kernel_w,
                                   tap % op.kernel_w, weights[tap], mask[tap]));
        }
    }
    return Status::done;
}

// A row of the matrix against the whole input: the array's lanes along the depth.
Status multiply_matrix_row(const Tile& tile, const Operands& operands, uint32_t out_feature, const Keystream& masks) {
    constexpr uint32_t CHUNK = 256;
    const uint64_t depth = tile.filter_words();
    uint32_t* result = operands.result.span(out_feature - tile.region.channel_begin, 1);
    RRNET_REQUIRE(result, buffer);
    uint32_t mask[CHUNK];
    for (uint64_t first = 0; first < depth; first += CHUNK) {
        const uint32_t count = static_cast<uint32_t>(depth - first < CHUNK ? depth - first : CHUNK);
        const uint64_t own = (uint64_t{out_feature} - operands.first_weight_channel) * depth + first;
        const uint32_t* weights = operands.weights.span(own, count);
        const uint32_t* share = operands.share.span(first, count);
        const uint32_t* opened = operands.opened.span(first, count);
        RRNET_REQUIRE(weights && share && opened, buffer);
        RRNET_TRY(masks.read_words(0, uint64_t{out_feature} * depth + first, count, mask));
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = RRNET_ARRAY_LANES
            *result += (operands.masked ? 0 : share[i] * weights[i]) + opened[i] * operands.factor(weights[i], mask[i]);
        }
    }
    return Status::done;
}

}  // namespace

Status beaver_product(Chip& chip, const Tile& tile) {
    Operands operands;
    RRNET_TRY(find_operands(chip, tile, operands));
    const Material material = material_of(chip, tile);
    if (chip.masked) RRNET_TRY(masked_offline_part(chip, tile, operands.result));
    for (uint32_t run = 0; run < tile.runs.count && !chip.masked; ++run) {  // Z_i
        uint32_t* words = operands.result.span(uint64_t{run} * tile.runs.length, tile.runs.length);
        RRNET_REQUIRE(words, buffer);
        RRNET_TRY(material.read_words(4 * tile.input_elements(), 0, tile.runs.first + run * tile.runs.stride,
                                      tile.runs.length, words));
    }
    const Keystream masks(chip.weight_key, tile.index);
    for (uint32_t channel = tile.region.channel_begin; channel < tile.region.channel_end; ++channel) {
        const bool matrix = tile.op.kind == RRNET_KIND_LINEAR;
        RRNET_TRY(matrix ? multiply_matrix_row(tile, operands, channel, masks)
                         : multiply_filter(tile, operands, channel, masks));
    }
    return Status::done;
}

Status add_bias(Chip& chip, const Tile& tile) {
    if (!(tile.op.flags & RRNET_FLAG_BIAS)) return Status::done;
    Words result;
    RRNET_TRY(tile_words(chip, tile, 8 * tile.needed_elements(), tile.elements, result));
    const uint32_t count = tile.elements / tile.region.channels();
    for (uint32_t channel = tile.region.channel_begin; channel < tile.region.channel_end; ++channel) {
        uint32_t bias = 0;
        RRNET_TRY(chip.memory->read_words(tile.op.bias, channel, 1, &bias));
        uint32_t* row = result.span(uint64_t{channel - tile.region.channel_begin} * count, count);
        RRNET_REQUIRE(row, buffer);
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            row[i] += bias;
        }
    }
    return Status::done;
}

}  // namespace rrnet
