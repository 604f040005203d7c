// The accelerator of one party: AXI master ports of 128 bits, streams to and from the other party, and a few registers.
#ifndef RRNET_ACCELERATOR_H
#define RRNET_ACCELERATOR_H

#include "message.h"
#include "status.h"

namespace rrnet {

// AXI-lite registers that the host writes before it starts the accelerator.
struct Registers {
    uint8_t party = 0;  // 0 sends what the schedule calls SEND, 1 what it calls RECEIVE
    uint8_t image_key[16] = {};
    uint8_t weight_key[16] = {};
    uint8_t tree_key[16] = {}, leaf_key[16] = {};  // of the hash of comparison functions
    uint64_t instruction_octets = 0, operand_octets = 0;
    uint64_t memory_words = 0, material_words = 0;  // bus words behind the two ports
    uint64_t arbitration = 0;  // C simulation: seed of the order in which queues that can go on take turns
};

// What it counted.
struct Counters {
    uint64_t instructions = 0;
    uint64_t octets_sent = 0, octets_received = 0;
    uint64_t array_cycles = 0;  // of products, on all tiles of the array together
};

#ifndef __SYNTHESIS__
// C simulation only. Asked where every queue waits for a message: moves octets between the streams and the outside; false
// where nothing will come any more.
struct Network {
    virtual ~Network() = default;
    virtual bool wait() = 0;
};
extern Network* attached_network;
#endif

}  // namespace rrnet

// The top. Sizes of the memories are in the registers.
rrnet::Status rrnet_accelerator(const rrnet::Registers& registers, const rrnet::bus_t* instructions,
                                const rrnet::bus_t* operands, rrnet::bus_t* memory, const rrnet::bus_t* material,
                                rrnet::Link& to_peer, rrnet::Link& from_peer, rrnet::Counters& counters);

#endif
