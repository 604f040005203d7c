// Where a party's correlated randomness comes from: its own keystream, or the dealer's corrections in memory.
#ifndef RRNET_SOURCE_H
#define RRNET_SOURCE_H

#include "aes.h"
#include "memory.h"

namespace rrnet {

// `count` little-endian words from octet `begin` of any source of octets.
template <typename Source>
Status words_from_octets(const Source& source, uint64_t begin, uint32_t count, uint32_t* out) {
    uint8_t octets[256];
    for (uint32_t done = 0; done < count; done += sizeof octets / 4) {
        const uint32_t words = count - done < sizeof octets / 4 ? count - done : sizeof octets / 4;
        RRNET_TRY(source.read_octets(begin + 4 * uint64_t{done}, 4 * words, octets));
        for (uint32_t i = 0; i < words; ++i) {
#pragma HLS PIPELINE II = 1
            out[done + i] = uint32_t{octets[4 * i]} | uint32_t{octets[4 * i + 1]} << 8 |
                            uint32_t{octets[4 * i + 2]} << 16 | uint32_t{octets[4 * i + 3]} << 24;
        }
    }
    return Status::done;
}

// The dealer's corrections of one operation.
class Corrections {
  public:
    Corrections() = default;
    Corrections(const Port& material, uint32_t first_word, uint32_t size)
        : port(&material), address(first_word), octets(size) {}

    Status read_octets(uint64_t first, uint32_t count, uint8_t* out) const {
        RRNET_REQUIRE(first + count <= octets, material);
        return port->read_octets(address, first, count, out);
    }
    Status read_words(uint64_t base, uint64_t first, uint32_t count, uint32_t* out) const {
        const uint64_t begin = base + 4 * first;
        RRNET_REQUIRE(begin + 4 * uint64_t{count} <= octets, material);
        if (begin % 4 == 0) return port->read_words(address, begin / 4, count, out);
        return words_from_octets(*this, begin, count, out);
    }

  private:
    const Port* port = nullptr;
    uint32_t address = 0;
    uint32_t octets = 0;
};

// Party 0 expands what party 1 is dealt: one of the two, by the party's number.
struct Material {
    Keystream own;
    Corrections dealt;
    bool expands = false;

    Status read_words(uint64_t own_base, uint64_t dealt_base, uint64_t first, uint32_t count, uint32_t* out) const {
        return expands ? own.read_words(own_base, first, count, out) : dealt.read_words(dealt_base, first, count, out);
    }
};

}  // namespace rrnet

#endif
