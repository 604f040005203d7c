// Checked views of the memories: the board's DRAM behind 128-bit AXI ports, and the buffer on the chip.
#ifndef RRNET_MEMORY_H
#define RRNET_MEMORY_H

#include <ap_int.h>

#include <cstdint>

#include "rrnet_config.h"
#include "status.h"

namespace rrnet {

typedef ap_uint<128> bus_t;
constexpr uint32_t BUS_WORDS = 4;   // 32-bit words of a bus word
constexpr uint32_t BUS_OCTETS = 16;

// Octets and 32-bit lanes of a bus word; bit 0 is the lowest bit of the first octet in memory.
inline uint8_t octet_of(const bus_t& word, uint32_t index) {
    const int low = 8 * static_cast<int>(index);
    return static_cast<uint8_t>(word.range(low + 7, low).to_uint());
}
inline void set_octet(bus_t& word, uint32_t index, uint8_t value) {
    const int low = 8 * static_cast<int>(index);
    word.range(low + 7, low) = value;
}
inline uint32_t lane_of(const bus_t& word, uint32_t index) {
    const int low = 32 * static_cast<int>(index);
    return word.range(low + 31, low).to_uint();
}
inline void set_lane(bus_t& word, uint32_t index, uint32_t value) {
    const int low = 32 * static_cast<int>(index);
    word.range(low + 31, low) = value;
}

// One AXI master port: `size` bus words from `base`; `fault` is what an access outside of it ends with.
class Port {
  public:
    Port(bus_t* words, uint64_t count, Status outside) : base(words), size(count), fault(outside) {}

    // 32-bit words [first, first + count) after bus word `address`.
    Status read_words(uint32_t address, uint64_t first, uint32_t count, uint32_t* out) const {
        const uint64_t begin = BUS_WORDS * uint64_t{address} + first;
        if (begin + count > BUS_WORDS * size) return fault;
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            out[i] = lane_of(base[(begin + i) / BUS_WORDS], (begin + i) % BUS_WORDS);
        }
        return Status::done;
    }

    Status write_words(uint32_t address, uint64_t first, uint32_t count, const uint32_t* in) {
        const uint64_t begin = BUS_WORDS * uint64_t{address} + first;
        if (begin + count > BUS_WORDS * size) return fault;
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            set_lane(base[(begin + i) / BUS_WORDS], (begin + i) % BUS_WORDS, in[i]);
        }
        return Status::done;
    }

    // Octets [first, first + count) after bus word `address`.
    Status read_octets(uint32_t address, uint64_t first, uint32_t count, uint8_t* out) const {
        const uint64_t begin = BUS_OCTETS * uint64_t{address} + first;
        if (begin + count > BUS_OCTETS * size) return fault;
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            out[i] = octet_of(base[(begin + i) / BUS_OCTETS], (begin + i) % BUS_OCTETS);
        }
        return Status::done;
    }

  private:
    bus_t* base;
    uint64_t size;
    Status fault;
};

// `count` 32-bit words of the buffer. Kernels take rows or spans of it, which are checked once.
struct Words {
    uint32_t* data = nullptr;
    uint32_t count = 0;

    // Words [first, first + length), or nothing where they are not all inside.
    uint32_t* span(uint64_t first, uint64_t length) const {
        return first + length <= count ? data + first : nullptr;
    }
};

// `count` octets of the buffer that hold bit planes.
struct Octets {
    uint8_t* data = nullptr;
    uint32_t count = 0;
};

// The buffer on the chip, RRNET_BUFFER_BYTES at `storage`, cut into tiles by the addresses of the schedule.
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(uint32_t* words) : storage(words) {}

    Status words(uint64_t address, uint64_t count, Words& view) {
        RRNET_REQUIRE(address % 4 == 0 && address + 4 * count <= RRNET_BUFFER_BYTES, buffer);
        view.data = storage + address / 4;
        view.count = static_cast<uint32_t>(count);
        return Status::done;
    }
    Status octets(uint64_t address, uint64_t count, Octets& view) {
        RRNET_REQUIRE(address + count <= RRNET_BUFFER_BYTES, buffer);
        view.data = reinterpret_cast<uint8_t*>(storage) + address;
        view.count = static_cast<uint32_t>(count);
        return Status::done;
    }

  private:
    uint32_t* storage = nullptr;
};

}  // namespace rrnet

#endif
