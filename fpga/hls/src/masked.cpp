// Operations of `masked` (fpga/protocols/masked_party.py): a wire's word M = x + r is opened once and serves all that
// read it. A tile has M in its first words; its result, where it keeps M, behind.
#include "tile.h"

namespace rrnet {

namespace {

constexpr uint32_t BOUND = uint32_t{1} << 30;
constexpr uint32_t CHUNK = 256;
constexpr uint32_t OPENING_PHASES = 2;

uint32_t first_phase(const Tile& tile) { return tile.opens_input() ? OPENING_PHASES : 0; }

// M from the two masked shares, kept in memory for the operations that read it later.
Status keep_opened(Chip& chip, const Tile& tile, Words& opened) {
    RRNET_TRY(tile_words(chip, tile, 0, tile.elements, opened));
    if (!tile.opens_input()) return Status::done;
    RRNET_TRY(open_input(chip, tile));
    return store_runs(*chip.memory, tile.op.opened, tile.runs, opened);
}

// One opened word is the truncated value in the lifted form, z = A − ρ_t, and a share of it.
Status lift(Chip& chip, const Tile& tile) {
    Words opened, share;
    RRNET_TRY(keep_opened(chip, tile, opened));
    RRNET_TRY(tile_words(chip, tile, 4 * uint64_t{tile.elements}, tile.elements, share));
    const Material material = material_of(chip, tile);
    const uint64_t whole = 4 * tile.output_elements(), own = tile.opens_input() ? whole : 0;
    const uint32_t bits = tile.op.bits;
    for (uint32_t done = 0, left = 0; done < tile.elements; done += left) {
        const uint64_t place = tile.runs.place(done, left);
        if (left > tile.elements - done) left = tile.elements - done;
        if (left > CHUNK) left = CHUNK;
        uint32_t forms[2][CHUNK];
        RRNET_TRY(material.read_words(own, 0, place, left, forms[0]));
        RRNET_TRY(material.read_words(own + whole, whole, place, left, forms[1]));
        for (uint32_t i = 0; i < left; ++i) {
#pragma HLS PIPELINE II = 1
            const uint32_t word = opened.data[done + i] + BOUND;
            const uint32_t open = chip.party == 0 ? (word >> bits) - (BOUND >> bits) : 0;
            share.data[done + i] = open - forms[word >> 31][i];
        }
    }
    return Status::done;
}

}  // namespace

bool masked_phase(const Tile& tile, uint32_t phase, uint32_t& level, uint32_t& step) {
    static const uint32_t steps[] = {LEAVES, AND0, OPEN0, AND1, OPEN1, AND2, OPEN2, SELECT, SEND_BITS, COMBINE};
    constexpr uint32_t STEPS = sizeof steps / sizeof *steps;
    if (tile.opens() || phase < first_phase(tile)) return false;
    const uint32_t own = phase - first_phase(tile);
    level = 0;
    if (own < STEPS) {
        step = steps[own];
        return tile.op.kind == RRNET_KIND_RELU || tile.op.kind == RRNET_KIND_MAXPOOL;
    }
    if (tile.op.kind != RRNET_KIND_MAXPOOL) return false;
    const uint32_t later = own - STEPS, within = later % (STEPS + OPENING_PHASES);
    level = 1 + later / (STEPS + OPENING_PHASES);
    step = within == 0 ? MASK_STEP : within == 1 ? OPEN_STEP : steps[within - OPENING_PHASES];
    return true;
}

// An operation that opens its input has its share; any other has the words that are open.
Status load_masked(Chip& chip, const Tile& tile) {
    Words words;
    const bool product = tile.product() && !tile.opens();
    const Runs runs = tile.opens() ? tile.runs : tile.needed_runs();
    const uint64_t offset = product ? 4 * tile.needed_elements() : 0;
    const bool share = tile.opens() || (!product && tile.opens_input());
    rrnet_input input;
    RRNET_TRY(chip.program->input(tile.op.first_input, input));
    RRNET_TRY(tile_words(chip, tile, offset, runs.elements(), words));
    return load_runs(*chip.memory, share ? input.address : tile.op.opened, runs, words);
}

Status masked_compute(Chip& chip, const Tile& tile, uint32_t phase) {
    uint32_t level = 0, step = 0;
    if (tile.opens()) return phase == 0 ? mask_input(chip, tile) : Status::done;
    if (masked_phase(tile, phase, level, step)) {
        if (tile.op.kind == RRNET_KIND_MAXPOOL) return masked_pool_compute(chip, tile, level, step);
        Words opened;
        if (step == LEAVES) RRNET_TRY(keep_opened(chip, tile, opened));
        Comparison comparison;
        RRNET_TRY(masked_relu(chip, tile, comparison));
        return comparison.compute(step);
    }
    if (tile.product()) return phase == tile.stage.first_phase ? beaver_product(chip, tile) : Status::done;
    if (tile.op.kind != RRNET_KIND_RELU && tile.op.kind != RRNET_KIND_TRUNCATE) {
        return phase == 0 ? evaluate_local(chip, tile) : Status::done;
    }
    if (tile.opens_input() && phase == 0) return mask_input(chip, tile);
    if (tile.op.kind == RRNET_KIND_TRUNCATE && phase == first_phase(tile)) return lift(chip, tile);
    return Status::done;
}

// pre_i = c_i − M_W ⊗ r_x,i and the bias: the host has it ready before the input is known.
Status masked_offline_part(Chip& chip, const Tile& tile, const Words& result) {
    return load_runs(*chip.memory, tile.op.prepared, tile.runs, result);
}

Status masked_relu(Chip& chip, const Tile& tile, Comparison& comparison) {
    const uint64_t whole = 4 * tile.output_elements();
    comparison.masked = true;
    comparison.whole = tile.output_elements();
    comparison.runs = tile.runs;
    comparison.at = CompareOffsets::masked(chip.party, comparison.whole, tile.opens_input() ? whole : 0, 0,
                                           tile.lifted() ? 2 : 1);
    MaskForms& forms = comparison.forms;
    forms.material = material_of(chip, tile);
    if (tile.lifted()) {
        rrnet_operation producer;
        RRNET_TRY(chip.program->operation(tile.op.producer, producer));
        RRNET_REQUIRE(producer.kind == RRNET_KIND_TRUNCATE, operands);
        forms.lifted = true;
        forms.bits = producer.bits;
        forms.own_base = producer.flags & RRNET_FLAG_OPENS ? whole : 0;
        forms.material = {Keystream(chip.image_key, tile.op.producer),
                          Corrections(*chip.material, producer.corrections, producer.corrections_bytes),
                          chip.party == 0};
    } else if (!tile.opens_input()) {
        forms.memory = chip.memory;
        forms.address = tile.op.prepared;
    }
    return make_comparison(chip, tile, 0, tile.elements, comparison);
}

}  // namespace rrnet
