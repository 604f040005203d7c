// Whole messages into and out of the accelerator's streams.
#ifndef RRNET_TESTBENCH_MESSAGES_H
#define RRNET_TESTBENCH_MESSAGES_H

#include <vector>

#include "message.h"

namespace rrnet {

inline void write_message(Link& link, const uint8_t* octets, uint64_t count) {
    for (uint64_t done = 0; done < count;) {
        const uint32_t part = count - done < BUS_OCTETS ? static_cast<uint32_t>(count - done) : BUS_OCTETS;
        bus_t data = 0;
        for (uint32_t i = 0; i < part; ++i) set_octet(data, i, octets[done + i]);
        done += part;
        link.write(net_word(data, part, done == count));
    }
}

// Everything that the stream holds, behind the octets that are there.
inline void take_all(Link& link, std::vector<uint8_t>& octets) {
    net_t word;
    while (link.read_nb(word)) {
        const uint32_t count = kept_octets(word);
        for (uint32_t i = 0; i < count; ++i) octets.push_back(octet_of(word.data, i));
    }
}

}  // namespace rrnet

#endif
