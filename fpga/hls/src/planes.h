// Bit planes: one plane holds the same bit of all elements of a tile, the first element in the highest bit of an octet.
//
// Planes are worked on in slices of 128 elements, one bus word; a message of planes is slice after slice, in a slice
// plane after plane, so that sender and receiver work on one slice at a time.
#ifndef RRNET_PLANES_H
#define RRNET_PLANES_H

#include "geometry.h"
#include "memory.h"
#include "source.h"

namespace rrnet {

constexpr uint32_t SLICE_ELEMENTS = 128;

inline uint32_t plane_octets(uint32_t elements) { return elements / 8 + (elements % 8 != 0); }
inline uint64_t whole_plane_octets(uint64_t elements) { return (elements + 7) / 8; }

// One slice of a tile: elements [first, first + elements).
struct Slice {
    uint32_t first = 0, elements = 0;

    uint32_t octets() const { return plane_octets(elements); }
};

inline Slice slice_of(uint32_t number, uint32_t elements) {
    const uint32_t first = number * SLICE_ELEMENTS;
    return {first, elements - first < SLICE_ELEMENTS ? elements - first : SLICE_ELEMENTS};
}
inline uint32_t slice_count(uint32_t elements) { return (elements + SLICE_ELEMENTS - 1) / SLICE_ELEMENTS; }

inline uint32_t slice_bit(const bus_t& slice, uint32_t element) {
    return octet_of(slice, element / 8) >> (7 - element % 8) & 1;
}

// Bit `bit` of each word.
inline bus_t word_slice(const uint32_t* words, uint32_t elements, int bit) {
    bus_t slice = 0;
    for (uint32_t octet = 0; octet < BUS_OCTETS; ++octet) {
#pragma HLS UNROLL
        uint8_t value = 0;
        for (uint32_t i = 0; i < 8; ++i) {
            const uint32_t word = 8 * octet + i < elements ? words[8 * octet + i] : 0;
            value = static_cast<uint8_t>(value | (word >> bit & 1) << (7 - i));
        }
        set_octet(slice, octet, value);
    }
    return slice;
}

// Where a digit has the value `v`, from the planes of its bits.
inline bus_t digit_is(const bus_t* planes, int bits, int v) {
    bus_t all = ~bus_t(0);
    for (int bit = 0; bit < bits; ++bit) all = all & (v >> bit & 1 ? planes[bit] : bus_t(~planes[bit]));
    return all;
}

// Planes of a tile in the buffer, plane after plane.
class PlaneStore {
  public:
    PlaneStore() = default;
    PlaneStore(Octets place, uint32_t elements) : area(place), octets(plane_octets(elements)) {}

    bus_t read(uint32_t plane, const Slice& slice) const {
        bus_t value = 0;
        for (uint32_t i = 0; i < BUS_OCTETS; ++i) {
#pragma HLS UNROLL
            if (i < slice.octets()) set_octet(value, i, area.data[plane * octets + slice.first / 8 + i]);
        }
        return value;
    }
    void write(uint32_t plane, const Slice& slice, const bus_t& value) {
        for (uint32_t i = 0; i < BUS_OCTETS; ++i) {
#pragma HLS UNROLL
            if (i < slice.octets()) area.data[plane * octets + slice.first / 8 + i] = octet_of(value, i);
        }
    }

  private:
    Octets area;
    uint32_t octets = 0;
};

// A slice of plane `plane` of `whole` elements, which begin at octet `base` of `source`; the tile's place in them is
// `runs`.
template <typename Source>
Status gather_slice(const Source& source, uint64_t base, uint64_t whole, uint32_t plane, const Runs& runs,
                    const Slice& slice, bus_t& out) {
    out = bus_t(0);
    const uint64_t start = base + plane * whole_plane_octets(whole);
    uint8_t octets[SLICE_ELEMENTS / 8 + 1];
    for (uint32_t done = 0; done < slice.elements;) {
        uint32_t left = 0;
        const uint64_t place = runs.place(slice.first + done, left);
        const uint32_t piece = left < slice.elements - done ? left : slice.elements - done;
        const uint32_t offset = place % 8, count = (offset + piece + 7) / 8;
        RRNET_TRY(source.read_octets(start + place / 8, count, octets));
        for (uint32_t i = 0; i < piece;) {
#pragma HLS PIPELINE II = 1
            const uint32_t from = offset + i, to = done + i;
            if (from % 8 == 0 && to % 8 == 0 && piece - i >= 8) {
                set_octet(out, to / 8, octets[from / 8]);
                i += 8;
                continue;
            }
            const uint8_t bit = octets[from / 8] >> (7 - from % 8) & 1;
            set_octet(out, to / 8, static_cast<uint8_t>(octet_of(out, to / 8) | bit << (7 - to % 8)));
            ++i;
        }
        done += piece;
    }
    return Status::done;
}

}  // namespace rrnet

#endif
