// Files as the bus words that the board's memory would hold.
#ifndef RRNET_TESTBENCH_FILES_H
#define RRNET_TESTBENCH_FILES_H

#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "memory.h"
#include "rrnet_isa.h"

namespace rrnet {

struct Image {
    std::vector<bus_t> words;
    uint64_t octets = 0;
};

inline bool read_octets(const std::string& path, std::vector<uint8_t>& data) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) return false;
    uint8_t chunk[1 << 16];
    for (size_t count; (count = std::fread(chunk, 1, sizeof chunk, file)) > 0;) {
        data.insert(data.end(), chunk, chunk + count);
    }
    std::fclose(file);
    return true;
}

inline bool read_image(const std::string& path, Image& image) {
    std::vector<uint8_t> data;
    if (!read_octets(path, data)) return false;
    image.octets = data.size();
    data.resize((data.size() + BUS_OCTETS - 1) / BUS_OCTETS * BUS_OCTETS);
    image.words.resize(data.size() / BUS_OCTETS);
    for (size_t i = 0; i < image.words.size(); ++i) {
        for (uint32_t octet = 0; octet < BUS_OCTETS; ++octet) {
            set_octet(image.words[i], octet, data[BUS_OCTETS * i + octet]);
        }
    }
    return true;
}

inline bool write_octets(const std::string& path, const std::vector<uint8_t>& octets) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (!file) return false;
    const bool written = std::fwrite(octets.data(), 1, octets.size(), file) == octets.size();
    return std::fclose(file) == 0 && written;
}

inline std::vector<uint8_t> octets_of(const std::vector<bus_t>& words) {
    std::vector<uint8_t> octets(BUS_OCTETS * words.size());
    for (size_t i = 0; i < octets.size(); ++i) {
        octets[i] = octet_of(words[i / BUS_OCTETS], static_cast<uint32_t>(i % BUS_OCTETS));
    }
    return octets;
}

// Sizes of the messages that arrive at a party, in the order of its queue.
inline std::deque<uint64_t> arriving_messages(const Image& instructions, int party) {
    std::deque<uint64_t> sizes;
    const uint8_t opcode = party == 0 ? RRNET_OP_RECEIVE : RRNET_OP_SEND;
    for (uint64_t i = RRNET_HEADER_BYTES / BUS_OCTETS; i + 1 < instructions.words.size(); i += 2) {
        rrnet_instruction fields;
        uint8_t octets[sizeof fields];
        for (uint32_t octet = 0; octet < sizeof fields; ++octet) {
            octets[octet] = octet_of(instructions.words[i + octet / BUS_OCTETS], octet % BUS_OCTETS);
        }
        std::memcpy(&fields, octets, sizeof fields);
        if (fields.opcode == opcode) sizes.push_back(fields.amount);
    }
    return sizes;
}

}  // namespace rrnet

#endif
