// What a phase of a tile does, whatever its operation: the order of steps that fpga/protocols/beaver_ot.py lists.
#include "tile.h"

namespace rrnet {

namespace {

// Phases of an operation that opens one masked word per element.
enum OpenedPhase : uint32_t { MASK = 0, OPEN = 1, FINISH = 2, BIAS = 3 };

bool opens_words(const Tile& tile) {
    return tile.opens() || tile.op.kind == RRNET_KIND_SQUARE || tile.op.kind == RRNET_KIND_TRUNCATE;
}

// The phase within one comparison, and whether there is one.
bool compare_phase(const Tile& tile, uint32_t phase, uint32_t& level, uint32_t& step) {
    if (tile.op.kind == RRNET_KIND_RELU) {
        level = 0;
        step = phase;
        return phase < COMPARE_PHASES;
    }
    level = phase / LEVEL_PHASES;
    step = phase % LEVEL_PHASES - 1;
    return tile.op.kind == RRNET_KIND_MAXPOOL && phase % LEVEL_PHASES != 0;
}

// The same for both protocols; a later pooling level of `masked` has steps before its comparison.
bool phase_of(const Chip& chip, const Tile& tile, uint32_t phase, uint32_t& level, uint32_t& step) {
    return chip.masked ? masked_phase(chip, tile, phase, level, step) : compare_phase(tile, phase, level, step);
}

Status find_comparison(Chip& chip, const Tile& tile, uint32_t level, Comparison& comparison) {
    if (tile.op.kind == RRNET_KIND_MAXPOOL) return pool_comparison(chip, tile, level, comparison);
    return chip.masked ? masked_relu(chip, tile, comparison) : relu_comparison(chip, tile, comparison);
}

bool opens_in(const Chip& chip, const Tile& tile) {
    return tile.opens() || (chip.masked ? tile.opens_input() && !tile.product() : opens_words(tile));
}

}  // namespace

// Differences, planes and the other party's words of `count` comparisons, from octet `offset` of the tile.
Status make_comparison(Chip& chip, const Tile& tile, uint64_t offset, uint32_t count, Comparison& comparison) {
    const Material material = material_of(chip, tile);
    Octets planes;
    const uint64_t plane = plane_octets(count);
    RRNET_TRY(tile_words(chip, tile, offset, count, comparison.x));
    RRNET_TRY(tile_octets(chip, tile, offset + 4 * uint64_t{count}, STATE_PLANES * plane, planes));
    RRNET_TRY(tile_words(chip, tile, offset + 4 * uint64_t{count}, count, comparison.answer));
    comparison.party = chip.party;
    comparison.elements = count;
    comparison.own = material.own;
    comparison.dealt = material.dealt;
    comparison.keys = &chip.dcf_keys;
    comparison.planes = PlaneStore(planes, count);
    return Status::done;
}

Status relu_comparison(Chip& chip, const Tile& tile, Comparison& comparison) {
    comparison.whole = tile.output_elements();
    comparison.runs = tile.runs;
    comparison.at = CompareOffsets(chip.party, comparison.whole, 0, 0);
    return make_comparison(chip, tile, 0, tile.elements, comparison);
}

bool is_exchange(const Chip& chip, const Tile& tile, uint32_t phase) {
    uint32_t level = 0, step = 0;
    if (phase_of(chip, tile, phase, level, step)) return step % 2 == 1 && step != MASK_STEP;
    return opens_in(chip, tile) && phase == OPEN && tile.stage.first_phase == 0;
}

Status compute_phase(Chip& chip, const Tile& tile, uint32_t phase) {
    if (chip.masked) return masked_compute(chip, tile, phase);
    switch (tile.op.kind) {
        case RRNET_KIND_CONV:
        case RRNET_KIND_LINEAR:
            if (tile.opens()) return phase == MASK ? mask_input(chip, tile) : Status::done;
            if (phase == FINISH) return multiply_product(chip, tile);
            return phase == BIAS ? add_bias(chip, tile) : Status::done;
        case RRNET_KIND_SQUARE:
            if (phase == MASK) return mask_input(chip, tile);
            return phase == FINISH ? beaver_square(chip, tile) : Status::done;
        case RRNET_KIND_TRUNCATE:
            if (phase == MASK) return mask_input(chip, tile);
            return phase == FINISH ? truncate(chip, tile) : Status::done;
        case RRNET_KIND_RELU: {
            Comparison comparison;
            RRNET_TRY(relu_comparison(chip, tile, comparison));
            return comparison.compute(phase);
        }
        case RRNET_KIND_MAXPOOL:
            return pool_compute(chip, tile, phase);
        default:
            return phase == 0 ? evaluate_local(chip, tile) : Status::done;
    }
}

uint64_t message_octets(const Chip& chip, const Tile& tile, uint32_t phase, int direction) {
    uint32_t level = 0, step = 0;
    if (!is_exchange(chip, tile, phase)) return 0;
    if (!phase_of(chip, tile, phase, level, step)) return 4 * uint64_t{tile.elements};
    const bool relu = tile.op.kind == RRNET_KIND_RELU;
    const uint32_t count = relu ? tile.elements : pool_comparisons(tile, level);
    return step == OPEN_STEP ? 4 * uint64_t{count} : compare_message(step, direction, count);
}

Status send_phase(Chip& chip, const Tile& tile, uint32_t phase, Sender& sender) {
    uint32_t level = 0, step = 0;
    if (!phase_of(chip, tile, phase, level, step)) return send_opened(chip, tile, sender);
    Comparison comparison;
    RRNET_TRY(find_comparison(chip, tile, level, comparison));
    return step == OPEN_STEP ? comparison.send_opened(sender) : comparison.send(step, sender);
}

Status receive_phase(Chip& chip, const Tile& tile, uint32_t phase, Receiver& receiver) {
    uint32_t level = 0, step = 0;
    if (!phase_of(chip, tile, phase, level, step)) return receive_opened(chip, tile, receiver);
    Comparison comparison;
    RRNET_TRY(find_comparison(chip, tile, level, comparison));
    return comparison.receive(step == OPEN_STEP ? SEND_WORDS : step, receiver);
}

}  // namespace rrnet
