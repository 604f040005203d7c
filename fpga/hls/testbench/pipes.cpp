#include "pipes.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace rrnet {

namespace {

constexpr size_t CHUNK = 1 << 18;

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

Pipes::Pipes(int in, int out, std::deque<uint64_t> arriving, Link& to_peer, Link& from_peer)
    : in(in), out(out), arriving(std::move(arriving)), to_peer(to_peer), from_peer(from_peer) {
    for (const int end : {in, out}) fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK);
}

void Pipes::take_outgoing() {
    net_t word;
    while (to_peer.read_nb(word)) {
        for (int i = 0; i < word.octets; ++i) {
            sending.push_back(word.data.octet(i));
            all_sent.push_back(word.data.octet(i));
        }
    }
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
        for (uint64_t left = arriving.front(); left > 0;) {
            net_t word;
            word.octets = static_cast<uint8_t>(left < BUS_OCTETS ? left : BUS_OCTETS);
            for (int i = 0; i < word.octets; ++i) word.data.set_octet(i, received[used++]);
            from_peer.write(word);
            left -= word.octets;
        }
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
