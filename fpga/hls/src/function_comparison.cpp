// Comparison on an opened word by comparison functions (fpga/protocols/masked_dcf.py): no exchange before the masked sign.
#include "comparison.h"
#include "dcf.h"

namespace rrnet {

// Blocks of a slice's elements, four words each, of the blocks that begin at octet `base`.
template <typename Source>
Status Comparison::read_blocks(const Source& source, uint64_t base, const Slice& slice, bus_t* out) const {
    const auto read = [&](uint32_t done, uint32_t count, uint64_t place) {
        uint32_t words[BUS_WORDS * SLICE_ELEMENTS];
        RRNET_TRY(source.read_words(base, BUS_WORDS * place, BUS_WORDS * count, words));
        for (uint32_t i = 0; i < BUS_WORDS * count; ++i) {
#pragma HLS PIPELINE II = 1
            set_lane(out[done + i / BUS_WORDS], i % BUS_WORDS, words[i]);
        }
        return Status::done;
    };
    return for_pieces(runs, slice.first, slice.elements, SLICE_ELEMENTS, read);
}

// Shares of [low(M) < low(r)]: a level of all elements of a slice after the other, so that the pipeline stays full.
Status Comparison::evaluate_functions() {
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        const uint32_t* points = x.data + slice.first;
        bus_t corrections[SLICE_ELEMENTS], shares = 0;
        DcfNode nodes[SLICE_ELEMENTS];
        RRNET_TRY(read_blocks(own, at.tables, slice, corrections));
        for (uint32_t i = 0; i < slice.elements; ++i) {
#pragma HLS PIPELINE II = 1
            nodes[i].block = corrections[i];  // a key's root has its number as lowest bit
            set_lane(nodes[i].block, 0, (lane_of(corrections[i], 0) & ~uint32_t{1}) | static_cast<uint32_t>(party));
        }
        for (int level = 0; level < DCF_LEVELS; ++level) {
            RRNET_TRY(read_blocks(dealt, at.keys + 16 * whole * level, slice, corrections));
            for (uint32_t i = 0; i < slice.elements; ++i) {
#pragma HLS PIPELINE II = 1
                nodes[i] = dcf_step(*keys, nodes[i], corrections[i], points[i], level);
            }
        }
        RRNET_TRY(read_blocks(dealt, at.keys + 16 * whole * DCF_LEVELS, slice, corrections));
        for (uint32_t i = 0; i < slice.elements; ++i) {
#pragma HLS PIPELINE II = 1
            const uint32_t share = dcf_share(*keys, nodes[i], corrections[i], points[i]);
            set_octet(shares, i / 8, static_cast<uint8_t>(octet_of(shares, i / 8) | share << (7 - i % 8)));
        }
        planes.write(GREATER, slice, shares);
    }
    return Status::done;
}

}  // namespace rrnet
