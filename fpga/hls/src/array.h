// One tile of the convolution array: a block of output pixels, TILE_INPUTS input and TILE_OUTPUTS output channels at a
// time. fpga/hls/rtl/conv_tile.v does the same in Verilog; fpga/cost/array.py counts its cycles.
#ifndef RRNET_ARRAY_H
#define RRNET_ARRAY_H

#include <cstdint>

#include "rrnet_config.h"

namespace rrnet {

constexpr uint32_t SIDE = RRNET_BLOCK_SIDE;      // most output rows and columns of a block
constexpr uint32_t KERNEL = RRNET_BLOCK_KERNEL;  // most kernel rows and columns
constexpr uint32_t STRIDE = RRNET_BLOCK_STRIDE;  // largest stride between the pixels of a block
constexpr uint32_t REACH = (SIDE - 1) * STRIDE + KERNEL;
constexpr uint32_t TILE_INPUTS = RRNET_TILE_INPUTS, TILE_OUTPUTS = RRNET_TILE_OUTPUTS;
constexpr uint32_t DEPTHWISE_LANES = TILE_INPUTS < TILE_OUTPUTS ? TILE_INPUTS : TILE_OUTPUTS;

// What is multiplied at a time: `rows` x `columns` output pixels by a part of the kernel.
struct Block {
    uint32_t rows = 0, columns = 0, kernel_h = 0, kernel_w = 0, stride = 1;

    uint32_t pixel_rows() const { return (rows - 1) * stride + kernel_h; }
    uint32_t pixel_columns() const { return (columns - 1) * stride + kernel_w; }
};

// A block's operands and its sums. Of a depthwise block the weights of input 0 are those of the lanes.
struct BlockMemory {
    uint32_t pixels[REACH * REACH][TILE_INPUTS];
    uint32_t weights[KERNEL * KERNEL][TILE_INPUTS][TILE_OUTPUTS];
    uint32_t sums[SIDE * SIDE][TILE_OUTPUTS];
};

// Both add to the sums and return their cycles of products: a tap of the kernel per cycle, TILE_INPUTS · TILE_OUTPUTS
// products; depthwise a column of the kernel per cycle, one channel in every lane.
uint32_t multiply_dense(const Block& block, BlockMemory& memory);
uint32_t multiply_depthwise(const Block& block, BlockMemory& memory);

}  // namespace rrnet

#endif
