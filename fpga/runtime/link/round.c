/* One round over a connected socket that does not block: at most one frame each way, header and payload of each. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "../../native/crc.h"

#define HEADER 16
#define KNOWN 12 /* octets of a header before its checksum */

enum { WHOLE, CLOSED, BROKEN, SILENT, INTERRUPTED, UNEXPECTED, DAMAGED };

typedef struct {
    uint8_t *header, *payload;
    int64_t size, moved;
} frame;

static int64_t milliseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000ll + time.tv_nsec / 1000000;
}

static struct msghdr rest(const frame *one, struct iovec part[2]) {
    int64_t header = one->moved < HEADER ? HEADER - one->moved : 0;
    int64_t done = header ? 0 : one->moved - HEADER;
    part[0] = (struct iovec){one->header + HEADER - header, (size_t)header};
    part[1] = (struct iovec){one->payload + done, (size_t)(one->size - done)};
    return (struct msghdr){.msg_iov = part + !header, .msg_iovlen = (size_t)(1 + (header > 0))};
}

static int whole(const frame *one) { return !one->size || one->moved == HEADER + one->size; }

/* 1 where octets moved, 0 where none could, -1 where the socket failed, -2 where the peer has closed it. */
static int move(int socket, frame *one, int receives) {
    struct iovec part[2];
    struct msghdr message = rest(one, part);
    ssize_t count = receives ? recvmsg(socket, &message, MSG_DONTWAIT)
                             : sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
    if (!count && receives) return -2;
    one->moved += count;
    return 1;
}

/* Whether checksums are computed here. */
int round_checks(void) { return CRC_AVAILABLE; }

/* Move both frames, of which those of size 0 are none, until both are whole or something else happens. `sends` and
 * `expected` are how their headers begin, `checksum` that of what is sent where it is not computed here; `found` becomes
 * the header that came. `moved` are the octets of both, `error` is that of a broken socket. */
int exchange_frames(int socket, const uint8_t *sends, uint32_t checksum, uint8_t *out, int64_t out_size,
                    const uint8_t *expected, uint8_t *found, uint8_t *in, int64_t in_size, int64_t timeout_ms,
                    int64_t *moved, int *error) {
    uint8_t header[HEADER];
    memcpy(header, sends, KNOWN);
    if (CRC_AVAILABLE && out_size) checksum = crc_of(out, out_size);
    for (int i = 0; i < HEADER - KNOWN; i++) header[KNOWN + i] = (uint8_t)(checksum >> (24 - 8 * i));
    frame sent = {header, out, out_size, 0}, received = {found, in, in_size, 0};
    int64_t last = milliseconds();
    int state = WHOLE, checked = 0;
    while (state == WHOLE && !(whole(&sent) && whole(&received))) {
        /* reads first: a peer that hangs up has said why, and a failed write would hide it */
        int came = whole(&received) ? 0 : move(socket, &received, 1);
        if (came > 0 && !checked && received.moved >= KNOWN) {
            checked = 1;
            if (memcmp(found, expected, KNOWN)) state = UNEXPECTED;
        }
        int went = state != WHOLE || came < 0 || whole(&sent) ? 0 : move(socket, &sent, 0);
        if (came < 0 || went < 0) {
            state = came == -2 ? CLOSED : BROKEN;
            if (state == BROKEN) *error = errno;
        } else if (came || went) {
            last = milliseconds();
        } else if (state == WHOLE) {
            int64_t left = last + timeout_ms - milliseconds();
            short events = (short)((whole(&received) ? 0 : POLLIN) | (whole(&sent) ? 0 : POLLOUT));
            struct pollfd waits = {socket, events, 0};
            int ready = left > 0 ? poll(&waits, 1, left > 1 << 30 ? 1 << 30 : (int)left) : 0;
            if (ready < 0) state = errno == EINTR ? INTERRUPTED : BROKEN;
            if (!ready) state = SILENT;
            if (state == BROKEN) *error = errno;
        }
    }
    if (CRC_AVAILABLE && state == WHOLE && in_size) {
        uint32_t told = 0;
        for (int i = 0; i < HEADER - KNOWN; i++) told = told << 8 | found[KNOWN + i];
        if (told != crc_of(in, in_size)) state = DAMAGED;
    }
    moved[0] = sent.moved, moved[1] = received.moved;
    return state;
}
