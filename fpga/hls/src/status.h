// How the accelerator ends: every way in which its inputs can be wrong has a number, and none is undefined.
#ifndef RRNET_STATUS_H
#define RRNET_STATUS_H

#include <cstdint>

namespace rrnet {

enum class Status : uint8_t {
    done = 0,
    instructions = 1,  // instructions.bin: header, checksum or a field
    operands = 2,      // operands.bin: header, checksum or a record that means nothing
    program = 3,       // the two files belong to different programs
    buffer = 4,        // a tile does not fit its place on the chip
    memory = 5,        // an address outside of the shares' memory
    material = 6,      // an address outside of the dealer's corrections
    message = 7,       // a transfer of another size than its tile's message
    order = 8,         // an instruction comes before one that it needs
    stuck = 9,         // the instructions wait for each other, or for something that never happens
    link = 10,         // the other party is gone
    unsupported = 11,  // an operation or protocol that this accelerator does not have
};

#define RRNET_TRY(expression)                                          \
    do {                                                               \
        const ::rrnet::Status rrnet_status = (expression);             \
        if (rrnet_status != ::rrnet::Status::done) return rrnet_status; \
    } while (0)

#define RRNET_REQUIRE(condition, status)                   \
    do {                                                   \
        if (!(condition)) return ::rrnet::Status::status; \
    } while (0)

}  // namespace rrnet

#endif
