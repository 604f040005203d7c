// Operations of `masked` (fpga/protocols/masked_party.py): a wire's word M = x + r is opened once and serves all that
// read it. A tile has M in its first words; its result, where it keeps M, behind.
#include "tile.h"

namespace rrnet {

namespace {

constexpr uint32_t CHUNK = 256;
constexpr uint32_t OPENING_PHASES = 2;

uint32_t first_phase(const Tile& tile) { return tile.opens_input() ? OPENING_PHASES : 0; }

// M from the two masked shares, which goes to memory where operations read it later; its octets are the store's.
Status keep_opened(Chip& chip, const Tile& tile, Words& opened) {
    RRNET_TRY(tile_words(chip, tile, 0, tile.elements, opened));
    if (!tile.opens_input()) return Status::done;
    RRNET_TRY(open_input(chip, tile));
    return tile.keeps() ? store_runs(*chip.memory, tile.op.opened, tile.runs, opened) : Status::done;
}

void put(const WideWords& words, bool wide, uint64_t index, uint64_t value) {
    words.low.data[index] = static_cast<uint32_t>(value);
    if (wide) words.high.data[index] = static_cast<uint32_t>(value >> 32);
}

// The result of a tile behind its opened words: low words, and high ones of a wide share.
Status result_words(Chip& chip, const Tile& tile, WideWords& result) {
    const uint64_t octets = 4 * uint64_t{tile.elements};
    RRNET_TRY(tile_words(chip, tile, octets, tile.elements, result.low));
    return tile.wide() ? tile_words(chip, tile, 2 * octets, tile.elements, result.high) : Status::done;
}

// One opened word is the truncated value in the lifted form, z = A − ρ_t, and a share of it.
Status lift(Chip& chip, const Tile& tile) {
    Words opened;
    WideWords share;
    RRNET_TRY(keep_opened(chip, tile, opened));
    RRNET_TRY(result_words(chip, tile, share));
    MaskForms forms;
    forms.lifted = true;
    forms.wide = tile.wide();
    forms.material = material_of(chip, tile);
    forms.own_base = tile.opens_input() ? 4 * tile.output_elements() : 0;
    return for_pieces(tile.runs, 0, tile.elements, CHUNK, [&](uint32_t first, uint32_t count, uint64_t place) {
        uint64_t masks[2][CHUNK];
        for (int t = 0; t < 2; ++t) RRNET_TRY(forms.read(t, tile.output_elements(), place, count, masks[t]));
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            uint32_t form = 0;
            const uint64_t open = lifted_public(opened.data[first + i], tile.op.bits, form);
            put(share, tile.wide(), first + i, (chip.party == 0 ? open : 0) - masks[form][i]);
        }
        return Status::done;
    });
}

// Drops bits of a wide share; nothing is opened. The shares then sum to the floor or one more.
Status reduce_share(Chip& chip, const Tile& tile) {
    WideWords share;
    RRNET_TRY(tile_wide(chip, tile, 0, tile.elements, share));
    for (uint32_t i = 0; i < tile.elements; ++i) {
#pragma HLS PIPELINE II = 1
        const uint64_t value = share.read(i);
        share.write(i, chip.party == 0 ? value >> tile.op.bits : 0 - ((0 - value) >> tile.op.bits));
    }
    return Status::done;
}

// q_i = [i = 0]·A² − 2A·ρ_t,i + (ρ_t²)_i; where the square lifts its input, a share of that too.
Status masked_square(Chip& chip, const Tile& tile) {
    Words opened;
    WideWords result, lifted;
    MaskForms forms, squares;
    const uint64_t whole = tile.output_elements();
    RRNET_TRY(keep_opened(chip, tile, opened));
    RRNET_TRY(result_words(chip, tile, result));
    RRNET_TRY(find_forms(chip, tile, forms));
    if (tile.lifts()) RRNET_TRY(tile_wide(chip, tile, 12 * uint64_t{tile.elements}, tile.elements, lifted));
    squares.lifted = true;  // party 0 expands what party 1 is dealt
    squares.wide = tile.wide();
    squares.material = material_of(chip, tile);
    squares.dealt_base = tile.lifts() ? 16 * whole : 0;
    squares.own_base = (tile.opens_input() ? 4 * whole : 0) + squares.dealt_base;
    return for_pieces(tile.runs, 0, tile.elements, CHUNK, [&](uint32_t first, uint32_t count, uint64_t place) {
        uint64_t masks[2][CHUNK] = {}, dealt[2][CHUNK] = {};
        for (int t = 0; t < forms.count(); ++t) {
            RRNET_TRY(forms.read(t, whole, place, count, masks[t]));
            RRNET_TRY(squares.read(t, whole, place, count, dealt[t]));
        }
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            uint32_t form = 0;
            const uint32_t word = opened.data[first + i];
            const uint64_t open = forms.lifted ? lifted_public(word, forms.bits, form) : word;
            const uint64_t square = dealt[form][i] - 2 * open * masks[form][i];
            put(result, tile.wide(), first + i, chip.party == 0 ? square + open * open : square);
            if (tile.lifts()) lifted.write(first + i, (chip.party == 0 ? open : 0) - masks[form][i]);
        }
        return Status::done;
    });
}

}  // namespace

bool masked_phase(const Chip& chip, const Tile& tile, uint32_t phase, uint32_t& level, uint32_t& step) {
    static const uint32_t digits[] = {LEAVES, AND0, OPEN0, AND1, OPEN1, AND2, OPEN2, SELECT, SEND_BITS, COMBINE};
    static const uint32_t functions[] = {LEAVES, SELECT, SEND_BITS, COMBINE};
    const uint32_t* steps = chip.functions ? functions : digits;
    const uint32_t count = chip.functions ? sizeof functions / sizeof *functions : sizeof digits / sizeof *digits;
    if (tile.opens() || phase < first_phase(tile)) return false;
    const uint32_t own = phase - first_phase(tile);
    level = 0;
    if (own < count) {
        step = steps[own];
        return tile.op.kind == RRNET_KIND_RELU || tile.op.kind == RRNET_KIND_MAXPOOL;
    }
    if (tile.op.kind != RRNET_KIND_MAXPOOL) return false;
    const uint32_t later = own - count, within = later % (count + OPENING_PHASES);
    level = 1 + later / (count + OPENING_PHASES);
    step = within == 0 ? MASK_STEP : within == 1 ? OPEN_STEP : steps[within - OPENING_PHASES];
    return true;
}

// An operation that opens its input has its share; any other has the words that are open.
Status load_masked(Chip& chip, const Tile& tile) {
    Words words;
    if (tile.reduces()) {
        WideWords wide;
        rrnet_input source;
        RRNET_TRY(chip.program->input(tile.op.first_input, source));
        RRNET_TRY(tile_wide(chip, tile, 0, tile.elements, wide));
        return load_wide(chip, source.address, tile.input_elements(), tile.runs, wide);
    }
    const bool product = tile.product() && !tile.opens();
    const Runs runs = tile.opens() ? tile.runs : tile.needed_runs();
    const bool share = tile.opens() || (!product && tile.opens_input());
    rrnet_input input;
    RRNET_TRY(chip.program->input(tile.op.first_input, input));
    RRNET_TRY(tile_words(chip, tile, 0, runs.elements(), words));
    return load_runs(*chip.memory, share ? input.address : tile.op.opened, runs, words);
}

// Behind the opened words, the result and what a square lifted; a reduced share in its own place.
Status store_masked(Chip& chip, const Tile& tile) {
    WideWords result, lifted;
    if (tile.reduces()) {
        RRNET_TRY(tile_wide(chip, tile, 0, tile.elements, result));
    } else {
        RRNET_TRY(result_words(chip, tile, result));
    }
    if (tile.lifts()) {
        RRNET_TRY(tile_wide(chip, tile, 12 * uint64_t{tile.elements}, tile.elements, lifted));
        RRNET_TRY(store_wide(chip, tile.op.prepared, tile.input_elements(), tile.runs, lifted));
    }
    if (tile.wide()) return store_wide(chip, tile.op.output, tile.output_elements(), tile.runs, result);
    return store_runs(*chip.memory, tile.op.output, tile.runs, result.low);
}

Status masked_compute(Chip& chip, const Tile& tile, uint32_t phase) {
    uint32_t level = 0, step = 0;
    if (tile.opens()) return phase == 0 ? mask_input(chip, tile) : Status::done;
    if (masked_phase(chip, tile, phase, level, step)) {
        if (tile.op.kind == RRNET_KIND_MAXPOOL) return masked_pool_compute(chip, tile, level, step);
        Words opened;
        if (step == LEAVES) RRNET_TRY(keep_opened(chip, tile, opened));
        Comparison comparison;
        RRNET_TRY(masked_relu(chip, tile, comparison));
        return comparison.compute(step);
    }
    if (tile.product()) return phase == tile.stage.first_phase ? multiply_product(chip, tile) : Status::done;
    const bool gate = tile.op.kind == RRNET_KIND_RELU || tile.op.kind == RRNET_KIND_TRUNCATE ||
                      tile.op.kind == RRNET_KIND_SQUARE;
    if (!gate) {
        if (phase != 0) return Status::done;
        return evaluate_local(chip, tile);
    }
    if (tile.opens_input() && phase == 0) return mask_input(chip, tile);
    if (phase != first_phase(tile)) return Status::done;
    if (tile.op.kind == RRNET_KIND_SQUARE) return masked_square(chip, tile);
    return tile.reduces() ? reduce_share(chip, tile) : lift(chip, tile);
}

// Whose masks the input of an elementwise gate has: those of the operation that lifted it, this one's, or an open wire's.
Status find_forms(const Chip& chip, const Tile& tile, MaskForms& forms) {
    const uint64_t whole = 4 * tile.output_elements();
    forms.material = material_of(chip, tile);
    if (tile.lifted()) {
        rrnet_operation producer;
        RRNET_TRY(chip.program->operation(tile.op.producer, producer));
        const bool square = producer.kind == RRNET_KIND_SQUARE;
        RRNET_REQUIRE(square || producer.kind == RRNET_KIND_TRUNCATE, operands);
        forms.lifted = true;
        forms.wide = square || producer.flags & RRNET_FLAG_WIDE;
        forms.bits = square ? 0 : producer.bits;
        forms.own_base = producer.flags & RRNET_FLAG_OPENS ? whole : 0;
        forms.material = {Keystream(chip.image_key, tile.op.producer),
                          Corrections(*chip.material, producer.corrections, producer.corrections_bytes),
                          chip.party == 0};
    } else if (tile.lifts()) {
        forms.lifted = forms.wide = true;
        forms.own_base = tile.opens_input() ? whole : 0;
    } else if (!tile.opens_input()) {
        forms.memory = chip.memory;
        forms.address = tile.op.prepared;
    }
    return Status::done;
}

Status masked_relu(Chip& chip, const Tile& tile, Comparison& comparison) {
    const uint64_t whole = 4 * tile.output_elements();
    comparison.masked = true;
    comparison.whole = tile.output_elements();
    comparison.runs = tile.runs;
    comparison.functions = chip.functions;
    comparison.at = CompareOffsets::masked(chip.party, comparison.whole, tile.opens_input() ? whole : 0, 0,
                                           tile.lifted() ? 2 : 1, chip.functions);
    RRNET_TRY(find_forms(chip, tile, comparison.forms));
    return make_comparison(chip, tile, 0, tile.elements, comparison);
}

}  // namespace rrnet
