// A tile at work on the chip: what an instruction names, and what every kernel is given.
#ifndef RRNET_TILE_H
#define RRNET_TILE_H

#include "comparison.h"
#include "geometry.h"
#include "message.h"
#include "source.h"
#include "tables.h"

namespace rrnet {

// Where a tile stands between its load and its store.
struct TileState {
    uint32_t address = 0;  // of its buffer on the chip
    uint32_t size = 0;     // octets that the schedule gave it
    uint16_t next_phase = 0;
    uint8_t moved = 0;     // directions of the exchange under way that are done
    bool loaded = false;
};

// Weights of one band of output channels on the chip.
struct BandState {
    uint32_t address = 0;
    bool loaded = false;
};

// Everything of one accelerator that its kernels share.
struct Chip {
    int party = 0;
    bool masked = false;     // the protocol: `masked` or `masked-dcf`, not `beaver-ot`
    bool functions = false;  // `masked-dcf`
    AesKey image_key, weight_key;
    DcfKeys dcf_keys;
    Port* memory = nullptr;
    Port* material = nullptr;
    const Program* program = nullptr;
    Buffer buffer;
    TileState tiles[RRNET_MAX_TILES];
    BandState bands[RRNET_MAX_BANDS];
    uint64_t array_cycles = 0;  // of products
};

// One tile of one stage, as the operand table describes it.
struct Tile {
    uint32_t index = 0;  // of the operation
    rrnet_operation op = {};
    rrnet_stage stage = {};
    uint32_t band = RRNET_NO_BAND;  // index into the bands, where the stage multiplies
    Region region, needed;
    Runs runs;              // of the region in the stage's tensor
    uint32_t elements = 0;  // of the region
    TileState* state = nullptr;

    bool opens() const { return stage.opens != 0; }
    // `masked` (see rrnet_flag).
    bool opens_input() const { return op.flags & RRNET_FLAG_OPENS; }
    bool lifted() const { return op.flags & RRNET_FLAG_LIFTED; }
    bool lifts() const { return op.flags & RRNET_FLAG_LIFTS; }
    bool wide() const { return op.flags & RRNET_FLAG_WIDE; }
    bool reduces() const { return op.flags & RRNET_FLAG_REDUCES; }
    bool keeps() const { return op.flags & RRNET_FLAG_KEEPS; }
    bool local() const {
        return op.kind == RRNET_KIND_AFFINE || op.kind == RRNET_KIND_SUMPOOL || op.kind == RRNET_KIND_PAD ||
               op.kind == RRNET_KIND_CONCAT;
    }
    // Octets of an element that a store of the result takes.
    uint32_t stored_octets() const { return opens() ? 4 : word_octets() + (lifts() ? 8 : 0) + (keeps() ? 4 : 0); }
    uint32_t word_octets() const { return wide() ? 8 : 4; }
    bool product() const { return op.kind == RRNET_KIND_CONV || op.kind == RRNET_KIND_LINEAR; }
    uint64_t input_elements() const { return uint64_t{op.channels} * op.height * op.width; }
    uint64_t output_elements() const { return uint64_t{op.out_channels} * op.out_height * op.out_width; }
    uint64_t needed_elements() const { return uint64_t{needed.channels()} * needed.rows() * op.width; }
    Runs needed_runs() const { return region_runs(needed, op.height, op.width); }
    // Words of one output channel's weights.
    uint64_t filter_words() const { return uint64_t{op.channels} / op.groups * op.kernel_h * op.kernel_w; }
};

// Words and planes of the tile's own part of the buffer, from octet `offset` of it.
inline Status tile_words(Chip& chip, const Tile& tile, uint64_t offset, uint64_t count, Words& view) {
    RRNET_REQUIRE(offset + 4 * count <= tile.state->size, buffer);
    return chip.buffer.words(tile.state->address + offset, count, view);
}
inline Status tile_octets(Chip& chip, const Tile& tile, uint64_t offset, uint64_t count, Octets& view) {
    RRNET_REQUIRE(offset + count <= tile.state->size, buffer);
    return chip.buffer.octets(tile.state->address + offset, count, view);
}

inline Material material_of(const Chip& chip, const Tile& tile) {
    return {Keystream(chip.image_key, tile.index),
            Corrections(*chip.material, tile.op.corrections, tile.op.corrections_bytes), chip.party == 0};
}

// share_io.cpp: shares between the board's memory and the chip.
Status load_runs(const Port& port, uint32_t address, const Runs& runs, const Words& out);
Status store_runs(Port& port, uint32_t address, const Runs& runs, const Words& in);
Status load_tile(Chip& chip, const Tile& tile);
Status store_tile(Chip& chip, const Tile& tile);
Status load_weights(Chip& chip, const Tile& tile, uint32_t band, uint32_t address, uint32_t begin, uint32_t octets);

// opened.cpp: operations that open one masked word per element.
Status mask_input(Chip& chip, const Tile& tile);
Status send_opened(Chip& chip, const Tile& tile, Sender& sender);
Status receive_opened(Chip& chip, const Tile& tile, Receiver& receiver);
Status open_input(Chip& chip, const Tile& tile);
Status beaver_square(Chip& chip, const Tile& tile);
Status truncate(Chip& chip, const Tile& tile);

// masked.cpp: the same operations of `masked`, on words that are open once for all their readers.
Status load_masked(Chip& chip, const Tile& tile);
Status store_masked(Chip& chip, const Tile& tile);
Status masked_compute(Chip& chip, const Tile& tile, uint32_t phase);
Status find_forms(const Chip& chip, const Tile& tile, MaskForms& forms);
// Wide shares: the low words of all elements, then the high ones.
struct WideWords {
    Words low, high;

    uint64_t read(uint64_t index) const { return uint64_t{high.data[index]} << 32 | low.data[index]; }
    void write(uint64_t index, uint64_t value) const {
        low.data[index] = static_cast<uint32_t>(value);
        high.data[index] = static_cast<uint32_t>(value >> 32);
    }
};
Status tile_wide(Chip& chip, const Tile& tile, uint64_t offset, uint64_t count, WideWords& view);
Status load_wide(Chip& chip, uint32_t address, uint64_t elements, const Runs& runs, const WideWords& out);
Status store_wide(Chip& chip, uint32_t address, uint64_t elements, const Runs& runs, const WideWords& in);
Status wide_local(Chip& chip, const Tile& tile);
// Bus words of the low half of a wide tensor.
inline uint32_t half_words(uint64_t elements) { return static_cast<uint32_t>((elements + BUS_WORDS - 1) / BUS_WORDS); }
Status masked_relu(Chip& chip, const Tile& tile, Comparison& comparison);
// The level and the step of a comparison in a phase; MASK_STEP and OPEN_STEP come before a later pooling level.
enum MaskedStep : uint32_t { MASK_STEP = 100, OPEN_STEP = 101 };
bool masked_phase(const Chip& chip, const Tile& tile, uint32_t phase, uint32_t& level, uint32_t& step);

// product.cpp: the ring multiplication array.
Status multiply_product(Chip& chip, const Tile& tile);
Status tile_product(Chip& chip, const Tile& tile, Words& result);
Status add_bias(Chip& chip, const Tile& tile);

// local.cpp: operations that a party does on its share alone, and on opened words that it hands on. A tile has the shares
// of its inputs, their opened words, the result's share and its opened words; a concatenation joins its inputs on the way.
struct LocalPlaces {
    uint64_t opened = 0, share_result = 0, opened_result = 0;  // octets of the tile
};
LocalPlaces local_places(const Tile& tile);
// The input's words that an element of the result adds up: itself, its window, or what padding keeps. `find_tap` says where
// one lies among those that the tile needs; false outside of the image.
uint32_t window_taps(const rrnet_operation& op);
bool find_tap(const Tile& tile, uint32_t channel, uint32_t row, uint32_t column, uint32_t tap, uint64_t& place);
Status load_local(Chip& chip, const Tile& tile);
Status store_local(Chip& chip, const Tile& tile);
Status evaluate_local(Chip& chip, const Tile& tile);

// maxpool.cpp: the tree of comparisons.
constexpr uint32_t LEVEL_PHASES = COMPARE_PHASES + 1;  // the subtraction comes first
Status begin_pool(Chip& chip, const Tile& tile);
Status pool_compute(Chip& chip, const Tile& tile, uint32_t phase);
Status pool_comparison(Chip& chip, const Tile& tile, uint32_t level, Comparison& comparison);
uint32_t pool_comparisons(const Tile& tile, uint32_t level);
Status store_pool(Chip& chip, const Tile& tile);
// `masked`: the first level's differences are open with the input, later ones are opened for themselves.
Status masked_pool_compute(Chip& chip, const Tile& tile, uint32_t level, uint32_t step);

// steps.cpp: what a phase of a tile does, whatever its operation.
Status relu_comparison(Chip& chip, const Tile& tile, Comparison& comparison);
Status make_comparison(Chip& chip, const Tile& tile, uint64_t offset, uint32_t count, Comparison& comparison);
bool is_exchange(const Chip& chip, const Tile& tile, uint32_t phase);
Status compute_phase(Chip& chip, const Tile& tile, uint32_t phase);
// Octets of the tile's message in a phase; direction 0 is from party 0 to party 1.
uint64_t message_octets(const Chip& chip, const Tile& tile, uint32_t phase, int direction);
Status send_phase(Chip& chip, const Tile& tile, uint32_t phase, Sender& sender);
Status receive_phase(Chip& chip, const Tile& tile, uint32_t phase, Receiver& receiver);

}  // namespace rrnet

#endif
