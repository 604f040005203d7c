// Shares modulo 2^64 of `masked`: where they lie, and local operations on them.
#include "tile.h"

namespace rrnet {

namespace {

// Adds `factor` times the words of one input that a result's element reads.
Status accumulate(const Tile& tile, const WideWords& x, uint64_t factor, uint32_t channel, uint32_t row,
                  uint32_t column, uint64_t& sum) {
    const uint32_t taps = window_taps(tile.op);
    for (uint32_t tap = 0; tap < taps; ++tap) {
#pragma HLS PIPELINE II = 1
        uint64_t place = 0;
        if (!find_tap(tile, channel, row, column, tap, place)) continue;
        RRNET_REQUIRE(x.low.span(place, 1) && x.high.span(place, 1), buffer);
        sum += factor * x.read(place);
    }
    return Status::done;
}

uint64_t sign_extended(uint32_t word) { return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(word))); }

}  // namespace

Status tile_wide(Chip& chip, const Tile& tile, uint64_t offset, uint64_t count, WideWords& view) {
    RRNET_TRY(tile_words(chip, tile, offset, count, view.low));
    return tile_words(chip, tile, offset + 4 * count, count, view.high);
}

Status load_wide(Chip& chip, uint32_t address, uint64_t elements, const Runs& runs, const WideWords& out) {
    RRNET_TRY(load_runs(*chip.memory, address, runs, out.low));
    return load_runs(*chip.memory, address + half_words(elements), runs, out.high);
}

Status store_wide(Chip& chip, uint32_t address, uint64_t elements, const Runs& runs, const WideWords& in) {
    RRNET_TRY(store_runs(*chip.memory, address, runs, in.low));
    return store_runs(*chip.memory, address + half_words(elements), runs, in.high);
}

// Affine, sums over windows and padding on wide shares; coefficients are signed.
Status wide_local(Chip& chip, const Tile& tile) {
    const rrnet_operation& op = tile.op;
    const uint64_t needed = tile.needed_elements();
    const bool affine = op.kind == RRNET_KIND_AFFINE;
    WideWords result;
    RRNET_TRY(tile_wide(chip, tile, local_places(tile).share_result, tile.elements, result));
    uint64_t index = 0;
    for (uint32_t channel = 0; channel < tile.region.channels(); ++channel) {
        const uint64_t first = op.first_coefficient + uint64_t{tile.region.channel_begin} + channel;
        uint32_t addend = 0;
        if (affine) RRNET_TRY(chip.program->coefficients(first + uint64_t{op.inputs} * op.out_channels, 1, &addend));
        for (uint32_t row = tile.region.row_begin; row < tile.region.row_end; ++row) {
            for (uint32_t column = 0; column < op.out_width; ++column) {
                uint64_t sum = affine && chip.party == 0 ? sign_extended(addend) : 0;
                for (uint32_t input = 0; input < op.inputs; ++input) {
                    WideWords x;
                    uint32_t factor = 1;
                    RRNET_TRY(tile_wide(chip, tile, 8 * needed * input, needed, x));
                    const uint64_t place = first + uint64_t{input} * op.out_channels;
                    if (affine) RRNET_TRY(chip.program->coefficients(place, 1, &factor));
                    RRNET_TRY(accumulate(tile, x, sign_extended(factor), channel, row, column, sum));
                }
                result.write(index++, sum);
            }
        }
    }
    return Status::done;
}

}  // namespace rrnet
