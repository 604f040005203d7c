// Fetches instructions into seven queues and starts each when its waits hold, as rrnet-2pc-simulate models it.
//
// A queue starts its instructions in order. A wait (queue, n) holds once that queue has completed n instructions; a
// message completes when it has arrived. The schedule counts on a unit per queue; here the queues that can go on take
// turns, in any order: the waits alone keep the result the same. On the fabric the order is fixed and does not depend on
// what has arrived: both parties start the same instructions in the same order, so that a receiver is sent to.
#ifndef RRNET_DISPATCHER_H
#define RRNET_DISPATCHER_H

#include "accelerator.h"
#include "tile.h"

namespace rrnet {

constexpr uint32_t QUEUES = RRNET_QUEUE_RECEIVE + 1;

class Dispatcher {
  public:
    Dispatcher(Chip& shared, const Program& checked, Link& outgoing, Link& incoming, uint64_t arbitration)
        : chip(shared), program(checked), to_peer(outgoing), from_peer(incoming), random(arbitration) {}

    Status run(Counters& counters);

  private:
    Status fetch(uint32_t queue);
    bool waits_hold(const Instruction& instruction) const;
    bool arrives_here(const Instruction& instruction) const;
    bool has_arrived(uint32_t octets) const;
    Status take_turns(uint32_t& started, bool& waits_for_message);
    uint32_t first_queue();

    Status execute(const Instruction& instruction);
    Status find_tile(const Instruction& instruction, Tile& tile) const;
    Status load(const Instruction& instruction);
    Status advance(Tile& tile, uint32_t phase);
    Status exchange(const Instruction& instruction, Tile& tile);

    Chip& chip;
    const Program& program;
    Link& to_peer;
    Link& from_peer;
    uint64_t random;
    Instruction head[QUEUES] = {};
    bool ready[QUEUES] = {};          // a head has been fetched
    uint32_t position[QUEUES] = {};   // where the fetch of a queue goes on
    uint32_t completed[QUEUES] = {};  // instructions of a queue
    Counters counted;
};

}  // namespace rrnet

#endif
