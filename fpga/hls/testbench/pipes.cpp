#include "pipes.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "messages.h"

namespace rrnet {

namespace {

constexpr size_t CHUNK = 1 << 18;

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

Pipes::Pipes(int input, int output, std::deque<uint64_t> messages, Link& outgoing, Link& incoming)
    : in(input), out(output), arriving(std::move(messages)), to_peer(outgoing), from_peer(incoming) {
    for (const int end : {in, out}) fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK);
}

void Pipes::take_outgoing() {
    const size_t before = sending.size();
    take_all(to_peer, sending);
    all_sent.insert(all_sent.end(), sending.begin() + static_cast<std::ptrdiff_t>(before), sending.end());
}

bool Pipes::write_some() {
    if (sent == sending.size()) return false;
    const ssize_t count = write(out, sending.data() + sent, sending.size() - sent);
    if (count < 0) {
        closed = closed || !would_block();
        return false;
    }
    sent += static_cast<size_t>(count);
    if (sent == sending.size()) {
        sending.clear();
        sent = 0;
    }
    return true;
}

bool Pipes::read_some() {
    const size_t before = received.size();
    received.resize(before + CHUNK);
    const ssize_t count = read(in, received.data() + before, CHUNK);
    received.resize(before + (count > 0 ? static_cast<size_t>(count) : 0));
    all_received.insert(all_received.end(), received.begin() + static_cast<std::ptrdiff_t>(before), received.end());
    if (count == 0) closed = true;
    if (count < 0) closed = closed || !would_block();
    size_t used = 0;
    while (!arriving.empty() && received.size() - used >= arriving.front()) {
        write_message(from_peer, received.data() + used, arriving.front());
        used += arriving.front();
        arriving.pop_front();
    }
    received.erase(received.begin(), received.begin() + static_cast<std::ptrdiff_t>(used));
    return count > 0;
}

bool Pipes::wait() {
    const size_t before = from_peer.size();
    while (!closed) {
        take_outgoing();
        const bool moved = write_some() | read_some();
        if (from_peer.size() > before) return true;
        if (moved) continue;
        pollfd ends[2] = {{in, POLLIN, 0}, {out, POLLOUT, 0}};
        if (poll(ends, sent < sending.size() ? 2 : 1, timeout_ms) <= 0) return false;
    }
    return false;
}

bool Pipes::flush() {
    take_outgoing();
    while (sent < sending.size()) {
        if (write_some()) continue;
        if (closed) return false;
        pollfd end = {out, POLLOUT, 0};
        if (poll(&end, 1, timeout_ms) <= 0) return false;
    }
    return true;
}

}  // namespace rrnet
