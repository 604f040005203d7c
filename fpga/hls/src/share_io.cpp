// Shares between the board's memory and the chip: bursts of whole runs.
#include "tile.h"

namespace rrnet {

Status load_runs(const Port& port, uint32_t address, const Runs& runs, const Words& out) {
    for (uint32_t run = 0; run < runs.count; ++run) {
        uint32_t* words = out.span(uint64_t{run} * runs.length, runs.length);
        RRNET_REQUIRE(words, buffer);
        RRNET_TRY(port.read_words(address, runs.first + run * runs.stride, runs.length, words));
    }
    return Status::done;
}

Status store_runs(Port& port, uint32_t address, const Runs& runs, const Words& in) {
    for (uint32_t run = 0; run < runs.count; ++run) {
        const uint32_t* words = in.span(uint64_t{run} * runs.length, runs.length);
        RRNET_REQUIRE(words, buffer);
        RRNET_TRY(port.write_words(address, runs.first + run * runs.stride, runs.length, words));
    }
    return Status::done;
}

// Inputs one after the other from the start of the tile's buffer; of a product, its share and then the opened input.
Status load_tile(Chip& chip, const Tile& tile) {
    if (tile.local()) return load_local(chip, tile);
    const bool gate = tile.product() || tile.op.kind == RRNET_KIND_RELU || tile.op.kind == RRNET_KIND_TRUNCATE ||
                      tile.op.kind == RRNET_KIND_SQUARE;
    if (chip.masked && (gate || tile.opens())) return load_masked(chip, tile);
    const Runs runs = tile.opens() ? tile.runs : tile.needed_runs();
    const uint64_t count = runs.elements();
    uint64_t offset = 0;
    for (uint32_t i = 0; i < tile.op.inputs; ++i) {
        rrnet_input input;
        Words words;
        RRNET_TRY(chip.program->input(tile.op.first_input + i, input));
        RRNET_TRY(tile_words(chip, tile, offset, count, words));
        RRNET_TRY(load_runs(*chip.memory, input.address, runs, words));
        offset += 4 * count;
    }
    if (tile.product() && !tile.opens()) {
        Words words;
        RRNET_TRY(tile_words(chip, tile, offset, count, words));
        RRNET_TRY(load_runs(*chip.memory, tile.op.opened, runs, words));
    }
    return tile.op.kind == RRNET_KIND_MAXPOOL ? begin_pool(chip, tile) : Status::done;
}

Status store_tile(Chip& chip, const Tile& tile) {
    if (tile.local()) return store_local(chip, tile);
    if (tile.op.kind == RRNET_KIND_MAXPOOL && !tile.opens()) return store_pool(chip, tile);
    if (tile.opens()) RRNET_TRY(open_input(chip, tile));
    const bool gate = tile.op.kind == RRNET_KIND_TRUNCATE || tile.op.kind == RRNET_KIND_SQUARE;
    if (chip.masked && gate) return store_masked(chip, tile);
    Words words;
    if (tile.product() && !tile.opens()) {
        RRNET_TRY(tile_product(chip, tile, words));
        return store_runs(*chip.memory, tile.op.output, tile.runs, words);
    }
    RRNET_TRY(tile_words(chip, tile, 0, tile.elements, words));
    return store_runs(*chip.memory, tile.opens() ? tile.op.opened : tile.op.output, tile.runs, words);
}

// Words [begin, begin + octets / 4) of the opened weights F of a band, its last ones where they are fewer; of `masked` the
// factor i·M_W − r_W,i, whose mask is expanded as fast as M_W comes in. Pieces of a band lie one behind the other.
Status load_weights(Chip& chip, const Tile& tile, uint32_t band, uint32_t address, uint32_t begin, uint32_t octets) {
    constexpr uint32_t CHUNK = 256;
    rrnet_band channels;
    RRNET_TRY(chip.program->band(band, channels));
    RRNET_REQUIRE(channels.channel_begin < channels.channel_end, buffer);
    const uint64_t filter = tile.filter_words(), first = channels.channel_begin * filter + begin;
    const uint64_t all = uint64_t{channels.channel_end - channels.channel_begin} * filter;
    RRNET_REQUIRE(begin < all && address >= 4 * uint64_t{begin}, buffer);
    const uint64_t count = octets / 4 < all - begin ? octets / 4 : all - begin;
    Words weights;
    RRNET_TRY(chip.buffer.words(address, count, weights));
    RRNET_TRY(chip.memory->read_words(tile.op.weights, first, static_cast<uint32_t>(count), weights.data));
    const Keystream own(chip.weight_key, tile.index);
    for (uint64_t done = 0; done < count && chip.masked; done += CHUNK) {
        const uint32_t length = static_cast<uint32_t>(count - done < CHUNK ? count - done : CHUNK);
        uint32_t masks[CHUNK];
        RRNET_TRY(own.read_words(0, first + done, length, masks));
        for (uint32_t i = 0; i < length; ++i) {
#pragma HLS PIPELINE II = 1
            uint32_t& weight = weights.data[done + i];
            weight = (chip.party == 1 ? weight : 0) - masks[i];
        }
    }
    chip.bands[band] = {address - 4 * begin, begin + count == all};
    return Status::done;
}

}  // namespace rrnet
