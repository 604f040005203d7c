// Instructions of the accelerator. Generated from fpga/program/isa.py
// (python -m rrnet_nni.fpga.program.isa); do not edit.
#ifndef RRNET_ISA_H
#define RRNET_ISA_H
#include <stdint.h>

#define RRNET_ISA_VERSION 1
#define RRNET_INSTRUCTION_BYTES 32
#define RRNET_HEADER_BYTES 32
#define RRNET_MAGIC "RRNET2PC"
#define RRNET_WAITS 3
#define RRNET_WAIT_COUNT_BITS 28

enum rrnet_opcode {
    RRNET_OP_WAIT = 0,
    RRNET_OP_LOAD = 1,
    RRNET_OP_STORE = 2,
    RRNET_OP_ARRAY = 3,
    RRNET_OP_COMPARE = 4,
    RRNET_OP_ALU = 5,
    RRNET_OP_SEND = 6,
    RRNET_OP_RECEIVE = 7,
    RRNET_OP_LOAD_WEIGHTS = 8,
};

enum rrnet_queue {
    RRNET_QUEUE_LOAD = 0,
    RRNET_QUEUE_STORE = 1,
    RRNET_QUEUE_ARRAY = 2,
    RRNET_QUEUE_COMPARATOR = 3,
    RRNET_QUEUE_ALU = 4,
    RRNET_QUEUE_SEND = 5,
    RRNET_QUEUE_RECEIVE = 6,
};

// Little-endian, at the start of the file.
typedef struct {
    char magic[8];
    uint16_t version;
    uint16_t instruction_bytes;
    uint32_t count;
    uint32_t crc32;  // of all instructions (zlib)
    uint8_t program_digest[12];
} rrnet_header;

// Little-endian, without padding.
typedef struct {
    uint8_t opcode;  // what to do; see rrnet_opcode
    uint8_t queue;  // which queue executes it; see rrnet_queue
    uint16_t operation;  // index into the operations of program.json
    uint16_t tile;  // tile of the operation's stage
    uint16_t phase;  // phase of the protocol that this is part of
    uint32_t wait0;  // queue in the upper 4 bits, completed instructions below; 0: none
    uint32_t wait1;  // queue in the upper 4 bits, completed instructions below; 0: none
    uint32_t wait2;  // queue in the upper 4 bits, completed instructions below; 0: none
    uint32_t amount;  // clock cycles of a computation, bytes of a transfer
    uint32_t address;  // byte address of the tile's buffer on the chip
    uint32_t count;  // elements of the tile; of weights the first word of the piece in its band
} rrnet_instruction;

#endif
