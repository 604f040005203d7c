// Ring products of one convolution or matrix product on the array: X_i ⊗ F + E ⊗ B_i + Z_i, two of them
// (fpga/protocols/beaver_ot/products.py), or for `masked` one, M ⊗ (i·M_W − r_W,i) and an offline part.
//
// A tile's product is cut into blocks in the order of fpga/cost/array.py: jobs of at most SIDE x SIDE pixels by a band of
// output channels, each the blocks of all input channels and of the parts of a kernel beyond KERNEL x KERNEL.
#include "array.h"
#include "tile.h"

namespace rrnet {

namespace {

// The factors of a product: the words of the input that the tile needs, and the weights of a band; or the masks of the
// weights, which are expanded as the array reads them.
struct Factors {
    Words input, weights;
    uint32_t first_channel = 0;  // of the band
    Keystream masks;
    bool masked = false;
};

// Output pixels of one job.
struct Spot {
    uint32_t row = 0, column = 0, rows = 0, columns = 0;
};

// A part of the kernel.
struct Part {
    uint32_t top = 0, left = 0, height = 0, width = 0;
};

// Channels of one block: inputs counted within the group, outputs within the operation.
struct Lanes {
    uint32_t input = 0, inputs = 0, output = 0, outputs = 0;
    uint32_t channel = 0;  // the first input's, of the image
};

// How the kernel lies on the tile.
struct Cut {
    bool depthwise = false;
    bool gathers = false;  // one tap at a time, its pixels picked while they are loaded
    uint32_t stride = 1, side = 1;
};

Cut cut_of(const rrnet_operation& op) {
    Cut cut;
    const bool even = op.stride_h == op.stride_w && op.stride_h >= 1 && op.stride_h <= STRIDE;
    cut.gathers = !even || (op.kernel_h == 1 && op.kernel_w == 1);
    cut.side = cut.gathers ? 1 : KERNEL;
    cut.stride = cut.gathers ? 1 : op.stride_h;
    cut.depthwise = RRNET_DEPTHWISE && (op.flags & RRNET_FLAG_DEPTHWISE);
    return cut;
}

uint32_t least(uint64_t a, uint64_t b) { return static_cast<uint32_t>(a < b ? a : b); }

// Rows or columns of the fewest equal blocks.
uint32_t block_side(uint32_t size) {
    const uint32_t parts = (size + SIDE - 1) / SIDE;
    return (size + parts - 1) / parts;
}

// A pixel of all input lanes per cycle; what lies outside of the image is zero.
Status load_pixels(const Tile& tile, const Words& words, const Cut& cut, const Spot& spot, const Part& part,
                   const Lanes& lanes, const Block& block, BlockMemory& memory) {
    const rrnet_operation& op = tile.op;
    const uint32_t across = block.pixel_columns();
    for (uint32_t row = 0; row < block.pixel_rows(); ++row) {
        const uint64_t top = cut.gathers ? uint64_t{spot.row + row} * op.stride_h : uint64_t{spot.row} * op.stride_h + row;
        const int64_t y = static_cast<int64_t>(top) + part.top - op.pad_top;
        const bool inside = y >= 0 && y < op.height;
        const uint32_t* source[TILE_INPUTS] = {};
        RRNET_REQUIRE(!inside || (y >= tile.needed.row_begin && y < tile.needed.row_end), buffer);
        for (uint32_t lane = 0; lane < lanes.inputs && inside; ++lane) {
            RRNET_REQUIRE(lanes.channel >= tile.needed.channel_begin, buffer);
            const uint64_t plane = uint64_t{lanes.channel} + lane - tile.needed.channel_begin;
            const uint64_t line = plane * tile.needed.rows() + static_cast<uint64_t>(y) - tile.needed.row_begin;
            source[lane] = words.span(line * op.width, op.width);
            RRNET_REQUIRE(source[lane], buffer);
        }
        for (uint32_t column = 0; column < across; ++column) {
#pragma HLS PIPELINE II = 1
            const uint64_t left =
                cut.gathers ? uint64_t{spot.column + column} * op.stride_w : uint64_t{spot.column} * op.stride_w + column;
            const int64_t x = static_cast<int64_t>(left) + part.left - op.pad_left;
            for (uint32_t lane = 0; lane < TILE_INPUTS; ++lane) {
#pragma HLS UNROLL
                const bool there = source[lane] && x >= 0 && x < op.width;
                memory.pixels[row * across + column][lane] = there ? source[lane][x] : 0;
            }
        }
    }
    return Status::done;
}

// The weights of one output channel for the block's inputs.
Status read_filter(const Tile& tile, const Factors& factors, uint32_t output, uint32_t input, uint32_t count,
                   uint32_t* filter) {
    const uint64_t place = uint64_t{input} * tile.op.kernel_h * tile.op.kernel_w;
    if (factors.masked) return factors.masks.read_words(0, uint64_t{output} * tile.filter_words() + place, count, filter);
    const uint64_t own = (uint64_t{output} - factors.first_channel) * tile.filter_words();
    const uint32_t* words = factors.weights.span(own + place, count);
    RRNET_REQUIRE(words, buffer);
    for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
        filter[i] = words[i];
    }
    return Status::done;
}

// A word of weights per cycle: one tap of one output channel, all input lanes; depthwise one tap of all lanes.
Status load_factors(const Tile& tile, const Factors& factors, const Cut& cut, const Part& part, const Lanes& lanes,
                    BlockMemory& memory) {
    const uint32_t width = tile.op.kernel_w, taps = uint32_t{tile.op.kernel_h} * width;
    const uint32_t inputs = cut.depthwise ? 1 : lanes.inputs;
    uint32_t filter[TILE_INPUTS * RRNET_MAX_TAPS];
    RRNET_REQUIRE(lanes.output >= factors.first_channel && taps <= RRNET_MAX_TAPS, buffer);
    for (uint32_t output = 0; output < TILE_OUTPUTS; ++output) {
        const bool there = output < lanes.outputs;
        if (there) RRNET_TRY(read_filter(tile, factors, lanes.output + output, lanes.input, inputs * taps, filter));
        for (uint32_t tap = 0; tap < part.height * part.width; ++tap) {
#pragma HLS PIPELINE II = 1
            const uint32_t place = (part.top + tap / part.width) * width + part.left + tap % part.width;
            for (uint32_t input = 0; input < TILE_INPUTS; ++input) {
#pragma HLS UNROLL
                memory.weights[tap][input][output] = there && input < inputs ? filter[input * taps + place] : 0;
            }
        }
    }
    return Status::done;
}

// The sums of a job are added to the tile's result.
Status add_sums(const Tile& tile, const Words& result, const Spot& spot, const Lanes& lanes, const BlockMemory& memory) {
    for (uint32_t output = 0; output < lanes.outputs; ++output) {
        const uint64_t plane = uint64_t{lanes.output} + output - tile.region.channel_begin;
        for (uint32_t row = 0; row < spot.rows; ++row) {
            const uint64_t line = plane * tile.region.rows() + spot.row + row - tile.region.row_begin;
            uint32_t* words = result.span(line * tile.op.out_width + spot.column, spot.columns);
            RRNET_REQUIRE(words, buffer);
            for (uint32_t column = 0; column < spot.columns; ++column) {
#pragma HLS PIPELINE II = 1
                words[column] += memory.sums[row * spot.columns + column][output];
            }
        }
    }
    return Status::done;
}

// The blocks that add up to the sums of one spot and one band of output channels.
Status run_job(const Tile& tile, const Factors& factors, const Words& result, const Cut& cut, const Spot& spot,
               Lanes lanes, uint32_t inputs, BlockMemory& memory, uint64_t& cycles) {
    for (uint32_t pixel = 0; pixel < spot.rows * spot.columns; ++pixel) {
        for (uint32_t output = 0; output < TILE_OUTPUTS; ++output) memory.sums[pixel][output] = 0;
    }
    const uint32_t first = lanes.channel;
    for (lanes.input = 0; lanes.input < inputs; lanes.input += TILE_INPUTS) {
        lanes.channel = first + lanes.input;
        lanes.inputs = cut.depthwise ? lanes.outputs : least(TILE_INPUTS, inputs - lanes.input);
        for (uint32_t top = 0; top < tile.op.kernel_h; top += cut.side) {
            for (uint32_t left = 0; left < tile.op.kernel_w; left += cut.side) {
                const Part part = {top, left, least(cut.side, tile.op.kernel_h - top),
                                   least(cut.side, tile.op.kernel_w - left)};
                const Block block = {spot.rows, spot.columns, part.height, part.width, cut.stride};
                RRNET_TRY(load_pixels(tile, factors.input, cut, spot, part, lanes, block, memory));
                RRNET_TRY(load_factors(tile, factors, cut, part, lanes, memory));
                cycles += cut.depthwise ? multiply_depthwise(block, memory) : multiply_dense(block, memory);
            }
        }
    }
    return add_sums(tile, result, spot, lanes, memory);
}

// Every band of output channels of one spot; a band stays within a group of channels.
Status multiply_spot(const Tile& tile, const Factors& factors, const Words& result, const Cut& cut, const Spot& spot,
                     uint64_t& cycles) {
    const rrnet_operation& op = tile.op;
    const uint32_t inputs = cut.depthwise ? 1 : op.channels / op.groups, outputs = op.out_channels / op.groups;
    const uint32_t most = cut.depthwise ? DEPTHWISE_LANES : TILE_OUTPUTS;
    static BlockMemory memory[RRNET_ARRAY_TILES];
    uint32_t job = 0;
    Lanes lanes;
    for (lanes.output = tile.region.channel_begin; lanes.output < tile.region.channel_end; lanes.output += lanes.outputs) {
#pragma HLS UNROLL factor = RRNET_ARRAY_TILES
        const uint32_t left = tile.region.channel_end - lanes.output;
        lanes.outputs = least(most, cut.depthwise ? left : least(left, outputs - lanes.output % outputs));
        lanes.channel = cut.depthwise ? lanes.output : lanes.output / outputs * inputs;
        RRNET_TRY(run_job(tile, factors, result, cut, spot, lanes, inputs, memory[job++ % RRNET_ARRAY_TILES], cycles));
    }
    return Status::done;
}

// One ring product, added to the result.
Status multiply(const Tile& tile, const Factors& factors, const Words& result, uint64_t& cycles) {
    const Cut cut = cut_of(tile.op);
    const uint32_t rows = block_side(tile.region.rows()), columns = block_side(tile.op.out_width);
    for (uint32_t row = tile.region.row_begin; row < tile.region.row_end; row += rows) {
        for (uint32_t column = 0; column < tile.op.out_width; column += columns) {
            const Spot spot = {row, column, least(rows, tile.region.row_end - row),
                               least(columns, tile.op.out_width - column)};
            RRNET_TRY(multiply_spot(tile, factors, result, cut, spot, cycles));
        }
    }
    return Status::done;
}

// Where the tile's result begins: behind its input's opened words, and before them the input's share of `beaver-ot`.
uint64_t result_offset(const Chip& chip, const Tile& tile) {
    return (chip.masked ? 4 : 8) * tile.needed_elements();
}

Status find_band(Chip& chip, const Tile& tile, Factors& factors) {
    RRNET_REQUIRE(tile.band < RRNET_MAX_BANDS && chip.bands[tile.band].loaded, order);
    rrnet_band band;
    RRNET_TRY(chip.program->band(tile.band, band));
    factors.first_channel = band.channel_begin;
    const uint64_t count = uint64_t{band.channel_end - band.channel_begin} * tile.filter_words();
    return chip.buffer.words(chip.bands[tile.band].address, count, factors.weights);
}

}  // namespace

Status tile_product(Chip& chip, const Tile& tile, Words& result) {
    return tile_words(chip, tile, result_offset(chip, tile), tile.elements, result);
}

Status multiply_product(Chip& chip, const Tile& tile) {
    Factors factors;
    Words result;
    RRNET_TRY(find_band(chip, tile, factors));
    RRNET_TRY(tile_product(chip, tile, result));
    RRNET_TRY(tile_words(chip, tile, 0, tile.needed_elements(), factors.input));
    if (chip.masked) {  // pre_i = c_i − M_W ⊗ r_x,i and the bias: the host has it ready before the input is known
        RRNET_TRY(load_runs(*chip.memory, tile.op.prepared, tile.runs, result));
        return multiply(tile, factors, result, chip.array_cycles);
    }
    const Material material = material_of(chip, tile);
    for (uint32_t run = 0; run < tile.runs.count; ++run) {  // Z_i
        uint32_t* words = result.span(uint64_t{run} * tile.runs.length, tile.runs.length);
        RRNET_REQUIRE(words, buffer);
        RRNET_TRY(material.read_words(4 * tile.input_elements(), 0, tile.runs.first + run * tile.runs.stride,
                                      tile.runs.length, words));
    }
    RRNET_TRY(multiply(tile, factors, result, chip.array_cycles));  // X_i ⊗ F
    RRNET_TRY(tile_words(chip, tile, 4 * tile.needed_elements(), tile.needed_elements(), factors.input));
    factors.masks = Keystream(chip.weight_key, tile.index);
    factors.masked = true;
    return multiply(tile, factors, result, chip.array_cycles);  // E ⊗ B_i
}

Status add_bias(Chip& chip, const Tile& tile) {
    if (!(tile.op.flags & RRNET_FLAG_BIAS)) return Status::done;
    Words result;
    RRNET_TRY(tile_product(chip, tile, result));
    const uint32_t count = tile.elements / tile.region.channels();
    for (uint32_t channel = tile.region.channel_begin; channel < tile.region.channel_end; ++channel) {
        uint32_t bias = 0;
        RRNET_TRY(chip.memory->read_words(tile.op.bias, channel, 1, &bias));
        uint32_t* row = result.span(uint64_t{channel - tile.region.channel_begin} * count, count);
        RRNET_REQUIRE(row, buffer);
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            row[i] += bias;
        }
    }
    return Status::done;
}

}  // namespace rrnet
