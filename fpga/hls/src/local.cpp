// Operations that a party does on its share alone (fpga/protocols/local_operations.py): residual addition with
// alignment, the polynomial's coefficients, sums over windows, padding. A public addend enters once, at party 0.
#include "tile.h"

namespace rrnet {

namespace {

// What one evaluation works on: octets of the tile at which the inputs' words and the result's begin, and whether the
// public addend is added: to the share of party 0, and to opened words at both parties.
struct Evaluation {
    uint64_t inputs, result;
    bool adds;
};

Status affine(Chip& chip, const Tile& tile, const Evaluation& places) {
    const uint64_t count = tile.elements, row = count / tile.region.channels();
    const uint32_t channels = tile.op.out_channels;
    Words result;
    RRNET_TRY(tile_words(chip, tile, places.result, count, result));
    for (uint32_t channel = tile.region.channel_begin; channel < tile.region.channel_end; ++channel) {
        const uint64_t begin = uint64_t{channel - tile.region.channel_begin} * row;
        uint32_t* sum = result.span(begin, row);
        uint32_t coefficient = 0;
        const uint64_t addend = tile.op.first_coefficient + uint64_t{tile.op.inputs} * channels + channel;
        RRNET_TRY(chip.program->coefficients(addend, 1, &coefficient));
        RRNET_REQUIRE(sum, buffer);
        for (uint64_t i = 0; i < row; ++i) sum[i] = places.adds ? coefficient : 0;
        for (uint32_t input = 0; input < tile.op.inputs; ++input) {
            Words words;
            RRNET_TRY(tile_words(chip, tile, places.inputs + 4 * count * input, count, words));
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

// Sums over windows, and padding, whose windows have one tap.
Status sum_windows(Chip& chip, const Tile& tile, const Evaluation& places) {
    const uint32_t taps = window_taps(tile.op);
    Words x, result;
    RRNET_TRY(tile_words(chip, tile, places.inputs, tile.needed_elements(), x));
    RRNET_TRY(tile_words(chip, tile, places.result, tile.elements, result));
    uint32_t* sum = result.data;
    for (uint32_t channel = 0; channel < tile.region.channels(); ++channel) {
        for (uint32_t row = tile.region.row_begin; row < tile.region.row_end; ++row) {
            for (uint32_t column = 0; column < tile.op.out_width; ++column) {
                uint32_t total = 0;
                for (uint32_t tap = 0; tap < taps; ++tap) {
#pragma HLS PIPELINE II = 1
                    uint64_t place = 0;
                    if (!find_tap(tile, channel, row, column, tap, place)) continue;
                    const uint32_t* word = x.span(place, 1);
                    RRNET_REQUIRE(word, buffer);
                    total += *word;
                }
                *sum++ = total;
            }
        }
    }
    return Status::done;
}

Status evaluate(Chip& chip, const Tile& tile, const Evaluation& places) {
    switch (tile.op.kind) {
        case RRNET_KIND_AFFINE: return affine(chip, tile, places);
        case RRNET_KIND_SUMPOOL:
        case RRNET_KIND_PAD: return sum_windows(chip, tile, places);
        default: return Status::done;  // a concatenation is made while it is loaded
    }
}

// Which words of an input a concatenation joins.
enum class Joined { low, high, opened };

// The channels of the inputs that a tile of their concatenation has, from octet `offset` of the tile.
Status load_joined(Chip& chip, const Tile& tile, Joined words, uint64_t offset) {
    uint32_t start = 0;
    const uint64_t row = uint64_t{tile.region.rows()} * tile.op.out_width;
    for (uint32_t i = 0; i < tile.op.inputs; ++i) {
        rrnet_input input;
        RRNET_TRY(chip.program->input(tile.op.first_input + i, input));
        Region part = tile.region;
        part.channel_begin = part.channel_begin < start ? 0 : part.channel_begin - start;
        part.channel_end = part.channel_end < start ? 0 : part.channel_end - start;
        if (part.channel_end > input.channels) part.channel_end = input.channels;
        if (part.channel_begin < part.channel_end) {
            Words view;
            const uint64_t before = start + part.channel_begin - tile.region.channel_begin;
            const uint32_t half = half_words(uint64_t{input.channels} * input.height * input.width);
            const uint32_t address = words == Joined::opened ? input.opened
                                     : words == Joined::high ? input.address + half
                                                             : input.address;
            RRNET_TRY(tile_words(chip, tile, offset + 4 * before * row, part.channels() * row, view));
            RRNET_TRY(load_runs(*chip.memory, address, region_runs(part, input.height, input.width), view));
        }
        start += input.channels;
    }
    return Status::done;
}

}  // namespace

uint32_t window_taps(const rrnet_operation& op) {
    return op.kind == RRNET_KIND_SUMPOOL ? uint32_t{op.kernel_h} * op.kernel_w : 1;
}

bool find_tap(const Tile& tile, uint32_t channel, uint32_t row, uint32_t column, uint32_t tap, uint64_t& place) {
    const rrnet_operation& op = tile.op;
    const bool window = op.kind == RRNET_KIND_SUMPOOL, shifts = window || op.kind == RRNET_KIND_PAD;
    const int64_t y = int64_t{row} * (window ? op.stride_h : 1) - (shifts ? op.pad_top : 0) +
                      (window ? tap / op.kernel_w : 0);
    const int64_t x = int64_t{column} * (window ? op.stride_w : 1) - (shifts ? op.pad_left : 0) +
                      (window ? tap % op.kernel_w : 0);
    if (y < 0 || y >= op.height || x < 0 || x >= op.width) return false;
    const uint64_t line = uint64_t{channel} * tile.needed.rows() + (static_cast<uint64_t>(y) - tile.needed.row_begin);
    place = line * op.width + static_cast<uint64_t>(x);
    return true;
}

LocalPlaces local_places(const Tile& tile) {
    const uint64_t loaded = tile.op.kind == RRNET_KIND_CONCAT ? 0 : tile.needed_elements() * tile.op.inputs;
    LocalPlaces places;
    places.opened = tile.word_octets() * loaded;
    places.share_result = places.opened + (tile.keeps() ? 4 * loaded : 0);
    places.opened_result = places.share_result + tile.word_octets() * uint64_t{tile.elements};
    return places;
}

Status load_local(Chip& chip, const Tile& tile) {
    const LocalPlaces places = local_places(tile);
    if (tile.op.kind == RRNET_KIND_CONCAT) {
        RRNET_TRY(load_joined(chip, tile, Joined::low, 0));
        if (tile.wide()) RRNET_TRY(load_joined(chip, tile, Joined::high, 4 * uint64_t{tile.elements}));
        return tile.keeps() ? load_joined(chip, tile, Joined::opened, places.opened_result) : Status::done;
    }
    const Runs runs = tile.needed_runs();
    const uint64_t count = runs.elements();
    for (uint32_t i = 0; i < tile.op.inputs; ++i) {
        rrnet_input input;
        Words words;
        WideWords wide;
        RRNET_TRY(chip.program->input(tile.op.first_input + i, input));
        if (tile.wide()) {
            RRNET_TRY(tile_wide(chip, tile, 8 * count * i, count, wide));
            RRNET_TRY(load_wide(chip, input.address, tile.input_elements(), runs, wide));
        } else {
            RRNET_TRY(tile_words(chip, tile, 4 * count * i, count, words));
            RRNET_TRY(load_runs(*chip.memory, input.address, runs, words));
        }
        if (!tile.keeps()) continue;
        RRNET_TRY(tile_words(chip, tile, places.opened + 4 * count * i, count, words));
        RRNET_TRY(load_runs(*chip.memory, input.opened, runs, words));
    }
    return Status::done;
}

Status store_local(Chip& chip, const Tile& tile) {
    const LocalPlaces places = local_places(tile);
    Words words;
    WideWords wide;
    if (tile.wide()) {
        RRNET_TRY(tile_wide(chip, tile, places.share_result, tile.elements, wide));
        RRNET_TRY(store_wide(chip, tile.op.output, tile.output_elements(), tile.runs, wide));
    } else {
        RRNET_TRY(tile_words(chip, tile, places.share_result, tile.elements, words));
        RRNET_TRY(store_runs(*chip.memory, tile.op.output, tile.runs, words));
    }
    if (!tile.keeps()) return Status::done;
    RRNET_TRY(tile_words(chip, tile, places.opened_result, tile.elements, words));
    return store_runs(*chip.memory, tile.op.opened, tile.runs, words);
}

Status evaluate_local(Chip& chip, const Tile& tile) {
    const LocalPlaces places = local_places(tile);
    if (tile.wide() && tile.op.kind != RRNET_KIND_CONCAT) RRNET_TRY(wide_local(chip, tile));
    if (!tile.wide()) RRNET_TRY(evaluate(chip, tile, {0, places.share_result, chip.party == 0}));
    return tile.keeps() ? evaluate(chip, tile, {places.opened, places.opened_result, true}) : Status::done;
}

}  // namespace rrnet
