// MaxPool as a tree of comparisons (fpga/protocols/pool_tree.py): max(a, b) = b + relu(a − b), level after level.
//
// A tile's buffer holds its input (for `masked` also the opened words and the share of their mask), then the values of
// every window that are left, then one level's comparisons.
// Padding is left out of the windows, so that border windows have fewer values.
#include "tile.h"

namespace rrnet {

namespace {

// The values of one window: the rectangle of the image that it covers.
struct Window {
    uint32_t row = 0, column = 0, rows = 0, columns = 0;

    uint32_t values() const { return rows * columns; }
};

void clip(int64_t start, uint32_t kernel, uint32_t size, uint32_t& first, uint32_t& count) {
    const int64_t begin = start < 0 ? 0 : start, end = start + kernel < size ? start + kernel : size;
    first = static_cast<uint32_t>(begin);
    count = static_cast<uint32_t>(end > begin ? end - begin : 0);
}

Window window_at(const rrnet_operation& op, uint32_t row, uint32_t column) {
    Window window;
    clip(int64_t{row} * op.stride_h - op.pad_top, op.kernel_h, op.height, window.row, window.rows);
    clip(int64_t{column} * op.stride_w - op.pad_left, op.kernel_w, op.width, window.column, window.columns);
    return window;
}

// Values that are left of `values` before a level.
uint32_t left_at(uint32_t values, uint32_t level) {
    for (uint32_t i = 0; i < level; ++i) values = (values + 1) / 2;
    return values;
}

// Comparisons of one channel's windows in rows [begin, end).
uint64_t comparisons_in(const rrnet_operation& op, uint32_t begin, uint32_t end, uint32_t level) {
    uint64_t count = 0;
    for (uint32_t row = begin; row < end; ++row) {
        for (uint32_t column = 0; column < op.out_width; ++column) {
            count += left_at(window_at(op, row, column).values(), level) / 2;
        }
    }
    return count;
}

uint32_t most_values(const rrnet_operation& op) {
    const uint32_t rows = op.kernel_h < op.height ? op.kernel_h : op.height;
    return rows * (op.kernel_w < op.width ? op.kernel_w : op.width);
}

// Places of a window's values after the first level.
uint32_t slots_of(const rrnet_operation& op) { return (most_values(op) + 1) / 2; }

struct Pool {
    Words x, opened, mask, values;
    uint32_t slots = 0;
};

// Octets of the input's words.
uint64_t input_octets(const Chip& chip, const Tile& tile) { return (chip.masked ? 12 : 4) * tile.needed_elements(); }

Status find_pool(Chip& chip, const Tile& tile, Pool& pool) {
    pool.slots = slots_of(tile.op);
    const uint64_t needed = tile.needed_elements(), values = uint64_t{pool.slots} * tile.elements;
    RRNET_TRY(tile_words(chip, tile, 0, needed, pool.x));
    if (chip.masked) {
        RRNET_TRY(tile_words(chip, tile, 4 * needed, needed, pool.opened));
        RRNET_TRY(tile_words(chip, tile, 8 * needed, needed, pool.mask));
    }
    return tile_words(chip, tile, input_octets(chip, tile), values, pool.values);
}

// Value `slot` of a window before a level: of the image in the first level, of what was left after that.
Status value_of(const Tile& tile, const Pool& pool, uint32_t level, uint32_t channel, uint32_t number,
                const Window& window, uint32_t slot, uint32_t& value) {
    const uint32_t* word;
    if (level == 0) {
        const uint64_t row = window.row + slot / window.columns - tile.needed.row_begin;
        const uint64_t line = uint64_t{channel} * tile.needed.rows() + row;
        word = pool.x.span(line * tile.op.width + window.column + slot % window.columns, 1);
    } else {
        word = pool.values.span(uint64_t{number} * pool.slots + slot, 1);
    }
    RRNET_REQUIRE(word, buffer);
    value = *word;
    return Status::done;
}

// Calls step(channel, number, window) for every window of the tile, in the order of its elements.
template <typename Step>
Status for_windows(const Tile& tile, Step step) {
    uint32_t number = 0;
    for (uint32_t channel = 0; channel < tile.region.channels(); ++channel) {
        for (uint32_t row = tile.region.row_begin; row < tile.region.row_end; ++row) {
            for (uint32_t column = 0; column < tile.op.out_width; ++column, ++number) {
                RRNET_TRY(step(channel, number, window_at(tile.op, row, column)));
            }
        }
    }
    return Status::done;
}

// a − b of the values that meet in a level.
Status subtract(const Tile& tile, const Pool& pool, uint32_t level, const Words& differences) {
    uint32_t next = 0;
    return for_windows(tile, [&](uint32_t channel, uint32_t number, const Window& window) {
        const uint32_t pairs = left_at(window.values(), level) / 2;
        for (uint32_t pair = 0; pair < pairs; ++pair) {
            uint32_t left = 0, right = 0;
            RRNET_TRY(value_of(tile, pool, level, channel, number, window, 2 * pair, left));
            RRNET_TRY(value_of(tile, pool, level, channel, number, window, 2 * pair + 1, right));
            uint32_t* difference = differences.span(next++, 1);
            RRNET_REQUIRE(difference, buffer);
            *difference = left - right;
        }
        return Status::done;
    });
}

// The winners of a level, and the last value of an odd number, which passes through.
Status merge(Chip& chip, const Tile& tile, uint32_t level) {
    Pool pool;
    Comparison comparison;
    RRNET_TRY(find_pool(chip, tile, pool));
    RRNET_TRY(pool_comparison(chip, tile, level, comparison));
    uint32_t next = 0;
    return for_windows(tile, [&](uint32_t channel, uint32_t number, const Window& window) {
        const uint32_t before = left_at(window.values(), level), pairs = before / 2;
        uint32_t* left = pool.values.span(uint64_t{number} * pool.slots, (before + 1) / 2);
        RRNET_REQUIRE(left, buffer);
        for (uint32_t slot = 0; slot < (before + 1) / 2; ++slot) {
            uint32_t value = 0;
            const uint32_t from = slot < pairs ? 2 * slot + 1 : 2 * slot;
            RRNET_TRY(value_of(tile, pool, level, channel, number, window, from, value));
            if (slot < pairs) {
                const uint32_t* positive = comparison.x.span(next++, 1);
                RRNET_REQUIRE(positive, buffer);
                value += *positive;
            }
            left[slot] = value;
        }
        return Status::done;
    });
}

}  // namespace

// The opened words and the mask's share of an input; a window of a single value is its own maximum.
Status begin_pool(Chip& chip, const Tile& tile) {
    Pool pool;
    RRNET_TRY(find_pool(chip, tile, pool));
    const Runs runs = tile.needed_runs();
    if (chip.masked) RRNET_TRY(load_runs(*chip.memory, tile.op.opened, runs, pool.opened));
    if (chip.masked && !tile.opens_input()) RRNET_TRY(load_runs(*chip.memory, tile.op.prepared, runs, pool.mask));
    for (uint32_t run = 0; chip.masked && tile.opens_input() && run < runs.count; ++run) {
        uint32_t* words = pool.mask.span(uint64_t{run} * runs.length, runs.length);
        RRNET_REQUIRE(words, buffer);
        RRNET_TRY(Keystream(chip.image_key, tile.index).read_words(0, runs.first + run * runs.stride, runs.length, words));
    }
    if (most_values(tile.op) > 1) return Status::done;
    return for_windows(tile, [&](uint32_t channel, uint32_t number, const Window& window) {
        return value_of(tile, pool, 0, channel, number, window, 0, pool.values.data[number]);
    });
}

uint32_t pool_comparisons(const Tile& tile, uint32_t level) {
    const uint64_t rows = comparisons_in(tile.op, tile.region.row_begin, tile.region.row_end, level);
    return static_cast<uint32_t>(rows * tile.region.channels());
}

// The level's comparisons of this tile, and their place among those of the whole operation.
Status pool_comparison(Chip& chip, const Tile& tile, uint32_t level, Comparison& comparison) {
    uint64_t own = chip.masked && tile.opens_input() ? 4 * tile.input_elements() : 0, dealt = 0, whole = 0;
    for (uint32_t before = 0; before <= level; ++before) {
        whole = comparisons_in(tile.op, 0, tile.op.out_height, before) * tile.op.out_channels;
        comparison.forms.own_base = own;  // of the mask under which a later level opens its differences
        if (chip.masked && before) own += 4 * whole;
        comparison.at = chip.masked ? CompareOffsets::masked(chip.party, whole, own, dealt, 1, chip.functions)
                                    : CompareOffsets(chip.party, whole, own, dealt);
        own = comparison.at.own_end;
        dealt = comparison.at.dealt_end;
    }
    const uint64_t channel = whole / tile.op.out_channels;
    const uint64_t above = comparisons_in(tile.op, 0, tile.region.row_begin, level);
    const uint64_t rows = comparisons_in(tile.op, tile.region.row_begin, tile.region.row_end, level);
    comparison.whole = whole;
    comparison.masked = chip.masked;
    comparison.functions = chip.functions;
    comparison.runs = joined({tile.region.channel_begin * channel + above, channel, static_cast<uint32_t>(rows),
                              tile.region.channels()});
    const uint64_t offset = input_octets(chip, tile) + 4 * uint64_t{slots_of(tile.op)} * tile.elements;
    const uint32_t count = static_cast<uint32_t>(rows * tile.region.channels());
    RRNET_TRY(make_comparison(chip, tile, offset, count, comparison));
    if (!chip.masked) return Status::done;
    const uint64_t planes = (STATE_PLANES * uint64_t{plane_octets(count)} + 3) / 4 * 4;
    return tile_words(chip, tile, offset + 4 * uint64_t{count} + planes, count, comparison.forms.held);
}

Status pool_compute(Chip& chip, const Tile& tile, uint32_t phase) {
    const uint32_t level = phase / LEVEL_PHASES, step = phase % LEVEL_PHASES;
    if (pool_comparisons(tile, level) == 0) return Status::done;
    Comparison comparison;
    RRNET_TRY(pool_comparison(chip, tile, level, comparison));
    if (step == 0) {
        Pool pool;
        RRNET_TRY(find_pool(chip, tile, pool));
        return subtract(tile, pool, level, comparison.x);
    }
    RRNET_TRY(comparison.compute(step - 1));
    return step - 1 == COMBINE ? merge(chip, tile, level) : Status::done;
}

Status masked_pool_compute(Chip& chip, const Tile& tile, uint32_t level, uint32_t step) {
    if (pool_comparisons(tile, level) == 0) return Status::done;
    Pool pool;
    Comparison comparison;
    RRNET_TRY(find_pool(chip, tile, pool));
    RRNET_TRY(pool_comparison(chip, tile, level, comparison));
    const Words &differences = comparison.x, &masks = comparison.forms.held;
    if (level == 0 && step == LEAVES) {  // differences of open words are open
        Pool opened = pool, mask = pool;
        opened.x = pool.opened;
        mask.x = pool.mask;
        RRNET_TRY(subtract(tile, opened, 0, differences));
        RRNET_TRY(subtract(tile, mask, 0, masks));
    } else if (step == MASK_STEP) {
        RRNET_TRY(subtract(tile, pool, level, differences));
        const uint64_t base = comparison.forms.own_base;
        const auto expand = [&](uint32_t done, uint32_t count, uint64_t place) {
            return comparison.own.read_words(base, place, count, masks.data + done);
        };
        RRNET_TRY(for_pieces(comparison.runs, 0, comparison.elements, comparison.elements, expand));
        for (uint32_t i = 0; i < comparison.elements; ++i) differences.data[i] += masks.data[i];
        return Status::done;
    } else if (step == LEAVES) {
        for (uint32_t i = 0; i < comparison.elements; ++i) differences.data[i] += comparison.answer.data[i];
    }
    RRNET_TRY(comparison.compute(step));
    return step == COMBINE ? merge(chip, tile, level) : Status::done;
}

Status store_pool(Chip& chip, const Tile& tile) {
    Pool pool;
    RRNET_TRY(find_pool(chip, tile, pool));
    for (uint32_t i = 0; i < tile.elements; ++i) {  // one maximum a window, packed to the front
#pragma HLS PIPELINE II = 1
        pool.values.data[i] = pool.values.data[uint64_t{i} * pool.slots];
    }
    return store_runs(*chip.memory, tile.op.output, tile.runs, pool.values);
}

}  // namespace rrnet
