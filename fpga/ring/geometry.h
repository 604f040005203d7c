/* Geometry of one ring convolution, for all kernels. */
#ifndef RING_GEOMETRY_H
#define RING_GEOMETRY_H

#include <stdint.h>

typedef struct {
    int64_t channels, height, width;
    int64_t out_channels, out_height, out_width;
    int64_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
    int64_t groups;
} geometry;

#endif
