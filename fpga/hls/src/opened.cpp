// Operations that open one masked word per element: a product's input, the square, the truncation
// (fpga/protocols/beaver_ot/products.py). The masked share is in the first words of the tile, the other party's behind.
#include "tile.h"

namespace rrnet {

namespace {

constexpr uint32_t CHUNK = 256;

Status opened_words(Chip& chip, const Tile& tile, Words& mine, Words& theirs) {
    RRNET_TRY(tile_words(chip, tile, 0, tile.elements, mine));
    return tile_words(chip, tile, 4 * uint64_t{tile.elements}, tile.elements, theirs);
}

}  // namespace

// E_i = X_i − A_i, or z_i + r_i (and 2^30 once) for a truncation; of `masked` M_i = x_i + r_i always.
Status mask_input(Chip& chip, const Tile& tile) {
    Words x;
    RRNET_TRY(tile_words(chip, tile, 0, tile.elements, x));
    const Material material = material_of(chip, tile);
    const bool truncates = tile.op.kind == RRNET_KIND_TRUNCATE && !chip.masked, adds = truncates || chip.masked;
    const uint32_t bound = truncates && chip.party == 0 ? TRUNCATION_BOUND : 0;
    return for_pieces(tile.runs, 0, tile.elements, CHUNK, [&](uint32_t first, uint32_t count, uint64_t place) {
        uint32_t mask[CHUNK];
        RRNET_TRY(material.own.read_words(0, place, count, mask));
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            x.data[first + i] += adds ? mask[i] + bound : 0 - mask[i];
        }
        return Status::done;
    });
}

Status send_opened(Chip& chip, const Tile& tile, Sender& sender) {
    Words mine;
    RRNET_TRY(tile_words(chip, tile, 0, tile.elements, mine));
    for (uint32_t i = 0; i < tile.elements; ++i) {
#pragma HLS PIPELINE II = 1
        sender.put_word(mine.data[i]);
    }
    return Status::done;
}

Status receive_opened(Chip& chip, const Tile& tile, Receiver& receiver) {
    Words mine, theirs;
    RRNET_TRY(opened_words(chip, tile, mine, theirs));
    for (uint32_t i = 0; i < tile.elements; ++i) {
#pragma HLS PIPELINE II = 1
        RRNET_TRY(receiver.take_word(theirs.data[i]));
    }
    return Status::done;
}

Status open_input(Chip& chip, const Tile& tile) {
    Words mine, theirs;
    RRNET_TRY(opened_words(chip, tile, mine, theirs));
    for (uint32_t i = 0; i < tile.elements; ++i) {
#pragma HLS PIPELINE II = 1
        mine.data[i] += theirs.data[i];
    }
    return Status::done;
}

// Eq. 3: R_i = Z_i + 2 E ⊙ A_i, and E ⊙ E is added by party 0 alone.
Status beaver_square(Chip& chip, const Tile& tile) {
    Words mine, theirs;
    RRNET_TRY(opened_words(chip, tile, mine, theirs));
    const Material material = material_of(chip, tile);
    const uint64_t whole = 4 * tile.output_elements();
    return for_pieces(tile.runs, 0, tile.elements, CHUNK, [&](uint32_t first, uint32_t count, uint64_t place) {
        uint32_t a[CHUNK], z[CHUNK];
        RRNET_TRY(material.own.read_words(0, place, count, a));
        RRNET_TRY(material.read_words(whole, 0, place, count, z));
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            const uint32_t opened = mine.data[first + i] + theirs.data[first + i];
            const uint32_t factor = chip.party == 0 ? a[i] + a[i] + opened : a[i] + a[i];
            mine.data[first + i] = z[i] + opened * factor;
        }
        return Status::done;
    });
}

// z >> s from the opened M = z + 2^30 + r: (M >> s) − (r >> s) + w·2^(32−s) − 2^(30−s), w where the sum wrapped.
Status truncate(Chip& chip, const Tile& tile) {
    Words mine, theirs;
    RRNET_TRY(opened_words(chip, tile, mine, theirs));
    const Material material = material_of(chip, tile);
    const uint64_t whole = 4 * tile.output_elements();
    const uint32_t bits = tile.op.bits;
    return for_pieces(tile.runs, 0, tile.elements, CHUNK, [&](uint32_t first, uint32_t count, uint64_t place) {
        uint32_t shifted[CHUNK], top[CHUNK];
        RRNET_TRY(material.read_words(whole, 0, place, count, shifted));
        RRNET_TRY(material.read_words(2 * whole, whole, place, count, top));
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            const uint32_t opened = mine.data[first + i] + theirs.data[first + i];
            const uint32_t may_wrap = (opened >> 31) ^ 1;
            uint32_t result = may_wrap * (top[i] << (32 - bits)) - shifted[i];
            if (chip.party == 0) result += (opened >> bits) - (TRUNCATION_BOUND >> bits);
            mine.data[first + i] = result;
        }
        return Status::done;
    });
}

}  // namespace rrnet
