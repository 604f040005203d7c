#include "array.h"

namespace rrnet {

uint32_t multiply_dense(const Block& block, BlockMemory& memory) {
#pragma HLS ARRAY_PARTITION variable = memory.pixels type = complete dim = 2
#pragma HLS ARRAY_PARTITION variable = memory.weights type = complete dim = 2
#pragma HLS ARRAY_PARTITION variable = memory.weights type = complete dim = 3
#pragma HLS ARRAY_PARTITION variable = memory.sums type = complete dim = 2
    const uint32_t across = block.pixel_columns();
    uint32_t cycles = 0;
    for (uint32_t row = 0; row < block.rows; ++row) {
        for (uint32_t column = 0; column < block.columns; ++column) {
            uint32_t* sums = memory.sums[row * block.columns + column];
            for (uint32_t tap = 0; tap < block.kernel_h * block.kernel_w; ++tap, ++cycles) {
#pragma HLS PIPELINE II = 1
                const uint32_t y = row * block.stride + tap / block.kernel_w;
                const uint32_t x = column * block.stride + tap % block.kernel_w;
                const uint32_t* pixel = memory.pixels[y * across + x];
                for (uint32_t input = 0; input < TILE_INPUTS; ++input) {
#pragma HLS UNROLL
                    for (uint32_t output = 0; output < TILE_OUTPUTS; ++output) {
#pragma HLS UNROLL
                        sums[output] += pixel[input] * memory.weights[tap][input][output];
                    }
                }
            }
        }
    }
    return cycles;
}

uint32_t multiply_depthwise(const Block& block, BlockMemory& memory) {
#pragma HLS ARRAY_PARTITION variable = memory.pixels type = complete dim = 2
#pragma HLS ARRAY_PARTITION variable = memory.weights type = cyclic factor = RRNET_BLOCK_KERNEL dim = 1
#pragma HLS ARRAY_PARTITION variable = memory.sums type = complete dim = 2
    const uint32_t across = block.pixel_columns();
    uint32_t cycles = 0;
    for (uint32_t row = 0; row < block.rows; ++row) {
        for (uint32_t column = 0; column < block.columns; ++column) {
            uint32_t* sums = memory.sums[row * block.columns + column];
            for (uint32_t tap_x = 0; tap_x < block.kernel_w; ++tap_x, ++cycles) {
#pragma HLS PIPELINE II = 1
                const uint32_t x = column * block.stride + tap_x;
                for (uint32_t tap_y = 0; tap_y < block.kernel_h; ++tap_y) {
#pragma HLS UNROLL factor = RRNET_BLOCK_KERNEL
                    const uint32_t* pixel = memory.pixels[(row * block.stride + tap_y) * across + x];
                    const uint32_t* weight = memory.weights[tap_y * block.kernel_w + tap_x][0];
                    for (uint32_t lane = 0; lane < DEPTHWISE_LANES; ++lane) {
#pragma HLS UNROLL
                        sums[lane] += pixel[lane] * weight[lane];
                    }
                }
            }
        }
    }
    return cycles;
}

}  // namespace rrnet
