// Messages to and from the other party: octets in 128-bit words of an AXI4 stream, the last word of a message partly
// filled and marked as the last.
#ifndef RRNET_MESSAGE_H
#define RRNET_MESSAGE_H

#include <ap_axi_sdata.h>
#include <hls_stream.h>

#include "memory.h"

namespace rrnet {

typedef ap_axiu<128, 0, 0, 0> net_t;
typedef hls::stream<net_t> Link;

// The first `octets` of `data` as a word of the stream.
inline net_t net_word(const bus_t& data, uint32_t octets, bool last) {
    net_t word;
    word.data = data;
    word.keep = static_cast<uint16_t>((uint32_t{1} << octets) - 1);
    word.strb = word.keep;
    word.last = last;
    return word;
}

inline uint32_t kept_octets(const net_t& word) {
    const uint32_t keep = word.keep;
    uint32_t count = 0;
    for (uint32_t i = 0; i < BUS_OCTETS; ++i) {
#pragma HLS UNROLL
        count += keep >> i & 1;
    }
    return count;
}

// The next word that arrives. The fabric waits for it; in C simulation the dispatcher asks before whether all of a message
// has arrived, and there is none where the files are damaged.
inline bool next_word(Link& link, net_t& word) {
#ifdef __SYNTHESIS__
    link.read(word);
    return true;
#else
    return link.read_nb(word);
#endif
}

// Bus words of a message.
inline uint64_t message_words(uint64_t octets) { return (octets + BUS_OCTETS - 1) / BUS_OCTETS; }

// Packs one message; `finish` sends what is left and says whether the message had the size that was due.
class Sender {
  public:
    Sender(Link& to_peer, uint32_t octets) : link(to_peer), due(octets) {}

    // The first `octets` of `slice`.
    void put(const bus_t& slice, uint32_t octets) {
        for (uint32_t i = 0; i < octets; ++i) {
#pragma HLS PIPELINE II = 1
            set_octet(word, filled++, octet_of(slice, i));
            ++sent;
            if (filled == BUS_OCTETS) flush();
        }
    }
    void put_word(uint32_t value) { put(bus_t(value), 4); }
    Status finish() {
        if (filled) flush();
        return sent == due ? Status::done : Status::message;
    }

  private:
    void flush() {
        link.write(net_word(word, filled, sent == due));
        word = bus_t(0);
        filled = 0;
    }
    Link& link;
    uint64_t due, sent = 0;
    bus_t word = bus_t(0);
    uint32_t filled = 0;
};

// Unpacks one message of a known size; nothing is read beyond it.
class Receiver {
  public:
    Receiver(Link& from_peer, uint32_t octets) : link(from_peer), due(octets) {}

    Status take(uint32_t octets, bus_t& slice) {
        slice = bus_t(0);
        for (uint32_t i = 0; i < octets; ++i) {
#pragma HLS PIPELINE II = 1
            if (at == filled) {
                RRNET_REQUIRE(taken < due && next_word(link, word), message);
                filled = kept_octets(word);
                at = 0;
                RRNET_REQUIRE(filled, message);
            }
            set_octet(slice, i, octet_of(word.data, at++));
            ++taken;
        }
        return Status::done;
    }
    Status take_word(uint32_t& value) {
        bus_t slice;
        RRNET_TRY(take(4, slice));
        value = lane_of(slice, 0);
        return Status::done;
    }
    Status finish() const { return taken == due && at == filled ? Status::done : Status::message; }

  private:
    Link& link;
    uint64_t due, taken = 0;
    net_t word;
    uint32_t at = 0, filled = 0;
};

}  // namespace rrnet

#endif
