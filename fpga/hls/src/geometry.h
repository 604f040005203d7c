// Regions of tensors, and the runs of consecutive words that they are made of.
#ifndef RRNET_GEOMETRY_H
#define RRNET_GEOMETRY_H

#include <cstdint>

#include "rrnet_operands.h"
#include "status.h"

namespace rrnet {

// Half-open ranges of channels and rows.
struct Region {
    uint32_t channel_begin = 0, channel_end = 0, row_begin = 0, row_end = 0;

    uint32_t channels() const { return channel_end - channel_begin; }
    uint32_t rows() const { return row_end - row_begin; }
};

// `count` runs of `length` elements, the first at `first`, each `stride` after the one before.
struct Runs {
    uint64_t first = 0, stride = 0;
    uint32_t length = 0, count = 0;

    uint64_t elements() const { return uint64_t{length} * count; }
    // Where element `index` of the tile lies in the whole, and how many follow it there.
    uint64_t place(uint32_t index, uint32_t& left) const {
        const uint32_t run = index / length, offset = index % length;
        left = length - offset;
        return first + run * stride + offset;
    }
};

// Calls step(done, count, place) for pieces of at most `most` elements of [first, first + elements) of the tile, each of
// which lies together at `place` of the whole.
template <typename Step>
Status for_pieces(const Runs& runs, uint32_t first, uint32_t elements, uint32_t most, Step step) {
    for (uint32_t done = 0, left = 0; done < elements; done += left) {
        const uint64_t place = runs.place(first + done, left);
        if (left > elements - done) left = elements - done;
        if (left > most) left = most;
        RRNET_TRY(step(done, left, place));
    }
    return Status::done;
}

// Runs that meet end to end are one.
inline Runs joined(Runs runs) {
    if (runs.stride == runs.length || runs.count == 1) {
        runs.length *= runs.count;
        runs.count = 1;
    }
    return runs;
}

// A region of a [channels, height, width] tensor.
inline Runs region_runs(const Region& region, uint32_t height, uint32_t width) {
    const uint64_t plane = uint64_t{height} * width;
    return joined({region.channel_begin * plane + uint64_t{region.row_begin} * width, plane, region.rows() * width,
                   region.channels()});
}

// What a tile of the output reads of an input of the operation's size.
inline Region needed_region(const rrnet_operation& operation, const Region& tile) {
    const Region all = {0, operation.channels, 0, operation.height};
    switch (operation.kind) {
        case RRNET_KIND_LINEAR:
            return all;
        case RRNET_KIND_CONV:
        case RRNET_KIND_MAXPOOL:
        case RRNET_KIND_SUMPOOL: {
            const int64_t top = int64_t{tile.row_begin} * operation.stride_h - operation.pad_top;
            const int64_t bottom = (int64_t{tile.row_end} - 1) * operation.stride_h - operation.pad_top +
                                   operation.kernel_h;
            Region region = tile;
            region.row_begin = static_cast<uint32_t>(top < 0 ? 0 : top);
            region.row_end = static_cast<uint32_t>(bottom > operation.height ? operation.height : bottom);
            if (region.row_end < region.row_begin || bottom < 0) region.row_end = region.row_begin;
            if (operation.kind == RRNET_KIND_CONV && !(operation.flags & RRNET_FLAG_DEPTHWISE)) {
                region.channel_begin = 0;
                region.channel_end = operation.channels;
            }
            return region;
        }
        case RRNET_KIND_PAD: {
            const int64_t top = int64_t{tile.row_begin} - operation.pad_top;
            const int64_t bottom = int64_t{tile.row_end} - operation.pad_top;
            Region region = tile;
            region.row_begin = static_cast<uint32_t>(top < 0 ? 0 : top);
            region.row_end = static_cast<uint32_t>(bottom < 0 ? 0 : bottom > operation.height ? operation.height : bottom);
            if (region.row_end < region.row_begin) region.row_end = region.row_begin;
            return region;
        }
        default:
            return tile;
    }
}

}  // namespace rrnet

#endif
