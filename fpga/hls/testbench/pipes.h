// The network of the C simulation: two pipes (or the two directions of a socket) to the other accelerator.
#ifndef RRNET_TESTBENCH_PIPES_H
#define RRNET_TESTBENCH_PIPES_H

#include <deque>
#include <vector>

#include "accelerator.h"

namespace rrnet {

// Cuts the octets that arrive into messages of the sizes that the schedule names, in its order.
class Pipes : public Network {
  public:
    Pipes(int input, int output, std::deque<uint64_t> messages, Link& outgoing, Link& incoming);

    // Moves what can be moved; waits where nothing can. False where the other end is gone or silent for `timeout_ms`.
    bool wait() override;
    // Sends all that is left.
    bool flush();
    // Every octet that arrived, and every one that was sent.
    const std::vector<uint8_t>& arrived_octets() const { return all_received; }
    const std::vector<uint8_t>& sent_octets() const { return all_sent; }

  private:
    bool read_some();
    bool write_some();
    void take_outgoing();

    int in, out;
    std::deque<uint64_t> arriving;
    Link& to_peer;
    Link& from_peer;
    std::vector<uint8_t> received, sending, all_received, all_sent;
    size_t sent = 0;
    bool closed = false;
    int timeout_ms = 600000;  // the other party may compute for long
};

}  // namespace rrnet

#endif
