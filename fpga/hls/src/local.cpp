// Operations that a party does on its share alone (fpga/protocols/local_operations.py): residual addition with
// alignment, the polynomial's coefficients, sums over windows, padding. A public addend enters once, at party 0.
#include "tile.h"

namespace rrnet {

namespace {

Status affine(Chip& chip, const Tile& tile) {
    const uint64_t count = tile.elements, row = count / tile.region.channels();
    const uint32_t channels = tile.op.out_channels;
    Words result;
    RRNET_TRY(tile_words(chip, tile, 4 * count * tile.op.inputs, count, result));
    for (uint32_t channel = tile.region.channel_begin; channel < tile.region.channel_end; ++channel) {
        const uint64_t begin = uint64_t{channel - tile.region.channel_begin} * row;
        uint32_t* sum = result.span(begin, row);
        uint32_t coefficient = 0;
        const uint64_t addend = tile.op.first_coefficient + uint64_t{tile.op.inputs} * channels + channel;
        RRNET_TRY(chip.program->coefficients(addend, 1, &coefficient));
        RRNET_REQUIRE(sum, buffer);
        for (uint64_t i = 0; i < row; ++i) sum[i] = chip.party == 0 ? coefficient : 0;
        for (uint32_t input = 0; input < tile.op.inputs; ++input) {
            Words words;
            RRNET_TRY(tile_words(chip, tile, 4 * count * input, count, words));
            const uint64_t place = tile.op.first_coefficient + uint64_t{input} * channels + channel;
            RRNET_TRY(chip.program->coefficients(place, 1, &coefficient));
            const uint32_t* values = words.span(begin, row);
            RRNET_REQUIRE(values, buffer);
            for (uint64_t i = 0; i < row; ++i) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = RRNET_ALU_LANES
                sum[i] += coefficient * values[i];
            }
        }
    }
    return Status::done;
}

Status sum_pool(Chip& chip, const Tile& tile) {
    const rrnet_operation& op = tile.op;
    Words x, result;
    RRNET_TRY(tile_words(chip, tile, 0, tile.needed_elements(), x));
    RRNET_TRY(tile_words(chip, tile, 4 * tile.needed_elements(), tile.elements, result));
    uint32_t* sum = result.data;
    for (uint32_t channel = 0; channel < tile.region.channels(); ++channel) {
        for (uint32_t row = tile.region.row_begin; row < tile.region.row_end; ++row) {
            for (uint32_t column = 0; column < op.out_width; ++column) {
                uint32_t total = 0;
                for (uint32_t tap = 0; tap < uint32_t{op.kernel_h} * op.kernel_w; ++tap) {
#pragma HLS PIPELINE II = 1
                    const int64_t y = int64_t{row} * op.stride_h - op.pad_top + tap / op.kernel_w;
                    const int64_t column_in = int64_t{column} * op.stride_w - op.pad_left + tap % op.kernel_w;
                    if (y < 0 || y >= op.height || column_in < 0 || column_in >= op.width) continue;
                    const uint64_t source = uint64_t{channel} * tile.needed.rows() + (y - tile.needed.row_begin);
                    const uint32_t* word = x.span(source * op.width + column_in, 1);
                    RRNET_REQUIRE(word, buffer);
                    total += *word;
                }
                *sum++ = total;
            }
        }
    }
    return Status::done;
}

Status pad(Chip& chip, const Tile& tile) {
    const rrnet_operation& op = tile.op;
    Words x, result;
    RRNET_TRY(tile_words(chip, tile, 0, tile.needed_elements(), x));
    RRNET_TRY(tile_words(chip, tile, 4 * tile.needed_elements(), tile.elements, result));
    uint32_t* out = result.data;
    for (uint32_t channel = 0; channel < tile.region.channels(); ++channel) {
        for (uint32_t row = tile.region.row_begin; row < tile.region.row_end; ++row) {
            for (uint32_t column = 0; column < op.out_width; ++column) {
#pragma HLS PIPELINE II = 1
                const int64_t y = int64_t{row} - op.pad_top, inner = int64_t{column} - op.pad_left;
                const bool inside = y >= 0 && y < op.height && inner >= 0 && inner < op.width;
                const uint64_t source = uint64_t{channel} * tile.needed.rows() + (y - tile.needed.row_begin);
                const uint32_t* word = inside ? x.span(source * op.width + inner, 1) : nullptr;
                RRNET_REQUIRE(word || !inside, buffer);
                *out++ = word ? *word : 0;
            }
        }
    }
    return Status::done;
}

}  // namespace

Status evaluate_local(Chip& chip, const Tile& tile) {
    switch (tile.op.kind) {
        case RRNET_KIND_AFFINE: return affine(chip, tile);
        case RRNET_KIND_SUMPOOL: return sum_pool(chip, tile);
        case RRNET_KIND_PAD: return pad(chip, tile);
        default: return Status::done;  // a concatenation is made while it is loaded
    }
}

}  // namespace rrnet
