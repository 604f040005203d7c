// Messages to and from the other party: octets in 128-bit words of a stream, the last word of a message partly filled.
#ifndef RRNET_MESSAGE_H
#define RRNET_MESSAGE_H

#include <hls_stream.h>

#include "memory.h"

namespace rrnet {

// A word of the network stream; `octets` of it count.
struct net_t {
    bus_t data;
    uint8_t octets = 0;
};

typedef hls::stream<net_t> Link;

// Bus words of a message.
inline uint64_t message_words(uint64_t octets) { return (octets + BUS_OCTETS - 1) / BUS_OCTETS; }

// Packs one message; `finish` sends what is left and says whether the message had the size that was due.
class Sender {
  public:
    Sender(Link& link, uint32_t octets) : link(link), due(octets) {}

    // The first `octets` of `slice`.
    void put(const bus_t& slice, uint32_t octets) {
        for (uint32_t i = 0; i < octets; ++i) {
#pragma HLS UNROLL
            word.data.set_octet(word.octets++, slice.octet(i));
            if (word.octets == BUS_OCTETS) flush();
        }
        sent += octets;
    }
    void put_word(uint32_t value) { put(bus_t(value), 4); }
    Status finish() {
        if (word.octets) flush();
        return sent == due ? Status::done : Status::message;
    }

  private:
    void flush() {
        link.write(word);
        word = net_t();
    }
    Link& link;
    uint64_t due, sent = 0;
    net_t word;
};

// Unpacks one message of a known size; nothing is read beyond it.
class Receiver {
  public:
    Receiver(Link& link, uint32_t octets) : link(link), due(octets) {}

    Status take(uint32_t octets, bus_t& slice) {
        slice = bus_t();
        for (uint32_t i = 0; i < octets; ++i) {
#pragma HLS UNROLL
            if (at == word.octets) {
                RRNET_REQUIRE(taken < due && link.read_nb(word) && word.octets, message);
                at = 0;
            }
            slice.set_octet(i, word.data.octet(at++));
            ++taken;
        }
        return Status::done;
    }
    Status take_word(uint32_t& value) {
        bus_t slice;
        RRNET_TRY(take(4, slice));
        value = slice.lane(0);
        return Status::done;
    }
    Status finish() const { return taken == due && at == word.octets ? Status::done : Status::message; }

  private:
    Link& link;
    uint64_t due, taken = 0;
    net_t word;
    uint8_t at = 0;
};

}  // namespace rrnet

#endif
