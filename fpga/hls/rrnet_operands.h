// Operands of the accelerator. Generated from fpga/program/operands.py
// (python -m rrnet_nni.fpga.program.operands); do not edit.
#ifndef RRNET_OPERANDS_H
#define RRNET_OPERANDS_H
#include <stdint.h>

#define RRNET_OPERANDS_MAGIC "RRNETOPD"
#define RRNET_OPERANDS_VERSION 3
#define RRNET_OPERANDS_HEADER_BYTES 80
#define RRNET_BUS_BYTES 16
#define RRNET_NO_BAND 0xffffffffu

enum rrnet_kind {
    RRNET_KIND_CONV = 1,
    RRNET_KIND_LINEAR = 2,
    RRNET_KIND_SQUARE = 3,
    RRNET_KIND_AFFINE = 4,
    RRNET_KIND_RELU = 5,
    RRNET_KIND_MAXPOOL = 6,
    RRNET_KIND_SUMPOOL = 7,
    RRNET_KIND_TRUNCATE = 8,
    RRNET_KIND_RESHAPE = 9,
    RRNET_KIND_CONCAT = 10,
    RRNET_KIND_PAD = 11,
};

enum rrnet_protocol {
    RRNET_PROTOCOL_BEAVER_OT = 1,
    RRNET_PROTOCOL_MASKED = 2,
    RRNET_PROTOCOL_MASKED_DCF = 3,
};

enum rrnet_flag {
    RRNET_FLAG_BIAS = 1,
    RRNET_FLAG_DEPTHWISE = 2,
    RRNET_FLAG_OPENS = 4,
    RRNET_FLAG_LIFTED = 8,
    RRNET_FLAG_WIDE = 16,
    RRNET_FLAG_LIFTS = 32,
    RRNET_FLAG_REDUCES = 64,
    RRNET_FLAG_KEEPS = 128,
};

// Little-endian, without padding, at the start of the file; then the sections in the order of the counts.
typedef struct {
    char magic[8];  // RRNETOPD
    uint16_t version;  // of this table
    uint16_t protocol;  // see rrnet_protocol
    uint32_t crc32;  // of all records (zlib)
    uint8_t program_digest[12];  // the same as in instructions.bin
    uint32_t buffer_bytes;  // on-chip buffer that the schedule was made for
    uint32_t memory_words;  // bus words of shares and weights
    uint32_t material_words;  // bus words of the dealer's corrections of one image
    uint32_t input;  // address of the image's share
    uint32_t input_words;  // 32-bit words of it
    uint32_t output;  // address of the result's share
    uint32_t output_words;  // 32-bit words of it
    uint32_t operations;  // records of each section
    uint32_t inputs;
    uint32_t stages;
    uint32_t tiles;
    uint32_t bands;
    uint32_t coefficients;
} rrnet_operands_header;

typedef struct {
    uint8_t kind;  // see rrnet_kind
    uint8_t bits;  // fraction bits that a truncation drops
    uint16_t flags;  // see rrnet_flag
    uint32_t groups;  // of a convolution, else 1
    uint32_t channels;  // of the first input
    uint32_t height;  // of the first input
    uint32_t width;  // of the first input
    uint32_t out_channels;  // of the output
    uint32_t out_height;  // of the output
    uint32_t out_width;  // of the output
    uint16_t kernel_h;
    uint16_t kernel_w;
    uint16_t stride_h;
    uint16_t stride_w;
    uint16_t pad_top;
    uint16_t pad_left;
    uint16_t pad_bottom;
    uint16_t pad_right;
    uint32_t first_input;  // index into the inputs
    uint32_t inputs;  // how many
    uint32_t first_stage;  // index into the stages
    uint32_t stages;  // how many
    uint32_t first_coefficient;  // affine: per input one multiplier a channel, then one addend a channel
    uint32_t output;  // address of the output's share
    uint32_t opened;  // address of the opened input (beaver-ot: E, masked: M), local: of the opened result
    uint32_t weights;  // product: address of the opened weights, [out, in / groups, kh, kw]
    uint32_t bias;  // product: address of this party's share of the bias
    uint32_t corrections;  // address in the material
    uint32_t corrections_bytes;  // bytes that party 1 has there
    uint32_t prepared;  // masked: address of a product's offline part, an open input's mask share, or the share that a square lifts
    uint32_t producer;  // masked: the operation that brought a lifted input into that form
} rrnet_operation;

typedef struct {
    uint32_t address;  // of this party's share
    uint32_t opened;  // masked: address of the opened words that a local operation hands on
    uint32_t channels;
    uint32_t height;
    uint32_t width;
} rrnet_input;

typedef struct {
    uint32_t operation;  // index into the operations
    uint16_t first_phase;  // phases [first_phase, end_phase) of the protocol
    uint16_t end_phase;
    uint32_t opens;  // 1: the tiles are of the input, which is opened; 0: of the output
    uint32_t first_tile;  // index into the tiles
    uint32_t tiles;  // how many
    uint32_t first_band;  // index into the bands
    uint32_t bands;  // how many; the tile of LOAD_WEIGHTS counts them
} rrnet_stage;

typedef struct {
    uint32_t channel_begin;
    uint32_t channel_end;
    uint32_t row_begin;
    uint32_t row_end;
    uint32_t band;  // band of weights, counted from the stage's first; all ones: none
} rrnet_tile;

typedef struct {
    uint32_t channel_begin;
    uint32_t channel_end;
} rrnet_band;

typedef struct {
    uint32_t word;  // modulo 2^32
} rrnet_coefficient;

#endif
