#include "tables.h"

#include <cstring>

namespace rrnet {

namespace {

// No dimension and no tensor that is larger than this fits the boards that this is for.
constexpr uint64_t MOST_ELEMENTS = uint64_t{1} << 28;
constexpr uint32_t LARGEST_KERNEL = 64;
constexpr uint32_t MOST_PHASES = 256;  // more than the tree of the largest pooling window has

uint32_t crc32(const Port& port, uint64_t begin, uint64_t end, Status& status) {
    uint32_t remainder = ~uint32_t{0};
    uint8_t octets[256];
    for (uint64_t position = begin; position < end && status == Status::done; position += sizeof octets) {
        const uint32_t count = static_cast<uint32_t>(end - position < sizeof octets ? end - position : sizeof octets);
        status = port.read_octets(0, position, count, octets);
        for (uint32_t i = 0; i < count && status == Status::done; ++i) {
            remainder ^= octets[i];
            for (int bit = 0; bit < 8; ++bit) remainder = remainder >> 1 ^ (remainder & 1 ? 0xEDB88320u : 0);
        }
    }
    return ~remainder;
}

// Whether a file begins with the `count` characters of its magic, or repeats the octets of a digest.
template <typename Octet>
bool same_octets(const Octet* found, const Octet* expected, int count) {
    bool same = true;
    for (int i = 0; i < count; ++i) same = same && found[i] == expected[i];
    return same;
}

bool small(uint64_t a, uint64_t b, uint64_t c) {
    return a && b && c && a <= MOST_ELEMENTS && b <= MOST_ELEMENTS && c <= MOST_ELEMENTS && a * b <= MOST_ELEMENTS &&
           a * b * c <= MOST_ELEMENTS;
}

bool slides(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t before, uint32_t after, uint32_t out) {
    const uint64_t padded = uint64_t{size} + before + after;
    return kernel && stride && kernel <= LARGEST_KERNEL && kernel <= padded && (padded - kernel) / stride + 1 == out;
}

}  // namespace

template <typename Record>
Status Program::record(uint64_t section, uint32_t records, uint32_t index, Record& out) const {
    RRNET_REQUIRE(index < records, operands);
    uint8_t octets[sizeof(Record)];
    RRNET_TRY(operands.read_octets(0, section + uint64_t{index} * sizeof(Record), sizeof octets, octets));
    std::memcpy(&out, octets, sizeof octets);
    return Status::done;
}

Status Program::operation(uint32_t index, rrnet_operation& out) const {
    return record(operations_at, operand_header.operations, index, out);
}
Status Program::input(uint32_t index, rrnet_input& out) const {
    return record(inputs_at, operand_header.inputs, index, out);
}
Status Program::stage(uint32_t index, rrnet_stage& out) const {
    return record(stages_at, operand_header.stages, index, out);
}
Status Program::tile(uint32_t index, rrnet_tile& out) const {
    return record(tiles_at, operand_header.tiles, index, out);
}
Status Program::band(uint32_t index, rrnet_band& out) const {
    return record(bands_at, operand_header.bands, index, out);
}

Status Program::coefficients(uint64_t first, uint32_t count, uint32_t* out) const {
    RRNET_REQUIRE(first + count <= operand_header.coefficients, operands);
    for (uint32_t i = 0; i < count; ++i) {
        rrnet_coefficient entry;
        RRNET_TRY(record(coefficients_at, operand_header.coefficients, static_cast<uint32_t>(first) + i, entry));
        out[i] = entry.word;
    }
    return Status::done;
}

Status Program::instruction(uint32_t index, Instruction& out) const {
    RRNET_REQUIRE(index < header.count, instructions);
    uint8_t octets[RRNET_INSTRUCTION_BYTES];
    const uint64_t place = RRNET_HEADER_BYTES + uint64_t{index} * RRNET_INSTRUCTION_BYTES;
    RRNET_TRY(instructions.read_octets(0, place, sizeof octets, octets));
    std::memcpy(&out.fields, octets, sizeof octets);
    RRNET_REQUIRE(out.fields.queue <= RRNET_QUEUE_RECEIVE && out.fields.opcode <= RRNET_OP_LOAD_WEIGHTS, instructions);
    const uint32_t waits[RRNET_WAITS] = {out.fields.wait0, out.fields.wait1, out.fields.wait2};
    for (int i = 0; i < RRNET_WAITS; ++i) {
        out.wait_queue[i] = static_cast<uint8_t>(waits[i] >> RRNET_WAIT_COUNT_BITS);
        out.wait_count[i] = waits[i] & ((uint32_t{1} << RRNET_WAIT_COUNT_BITS) - 1);
        RRNET_REQUIRE(out.wait_queue[i] <= RRNET_QUEUE_RECEIVE, instructions);
    }
    static const uint8_t own[] = {RRNET_OP_LOAD, RRNET_OP_STORE, RRNET_OP_ARRAY,  RRNET_OP_COMPARE,
                                  RRNET_OP_ALU,  RRNET_OP_SEND,  RRNET_OP_RECEIVE};
    const uint8_t opcode = out.fields.opcode, queue = out.fields.queue;
    const bool weights = opcode == RRNET_OP_LOAD_WEIGHTS && queue == RRNET_QUEUE_LOAD;
    RRNET_REQUIRE(opcode == RRNET_OP_WAIT || opcode == own[queue] || weights, instructions);
    return Status::done;
}

Status Program::check(uint64_t instruction_octets, uint64_t operand_octets) {
    RRNET_TRY(check_headers(instruction_octets, operand_octets));
    Instruction fetched;
    for (uint32_t i = 0; i < header.count; ++i) RRNET_TRY(instruction(i, fetched));
    for (uint32_t i = 0; i < operand_header.operations; ++i) RRNET_TRY(check_operation(i));
    for (uint32_t i = 0; i < operand_header.stages; ++i) RRNET_TRY(check_stage(i));
    return Status::done;
}

Status Program::check_headers(uint64_t instruction_octets, uint64_t operand_octets) {
    uint8_t octets[sizeof header];
    RRNET_REQUIRE(instruction_octets >= sizeof header, instructions);
    RRNET_TRY(instructions.read_octets(0, 0, sizeof header, octets));
    std::memcpy(&header, octets, sizeof header);
    RRNET_REQUIRE(same_octets(header.magic, RRNET_MAGIC, sizeof header.magic), instructions);
    RRNET_REQUIRE(header.version == RRNET_ISA_VERSION && header.instruction_bytes == RRNET_INSTRUCTION_BYTES,
                  instructions);
    const uint64_t end = RRNET_HEADER_BYTES + uint64_t{header.count} * RRNET_INSTRUCTION_BYTES;
    RRNET_REQUIRE(end == instruction_octets, instructions);
    Status status = Status::done;
    RRNET_REQUIRE(crc32(instructions, RRNET_HEADER_BYTES, end, status) == header.crc32, instructions);
    RRNET_TRY(status);

    uint8_t table[sizeof operand_header];
    RRNET_REQUIRE(operand_octets >= sizeof operand_header, operands);
    RRNET_TRY(operands.read_octets(0, 0, sizeof table, table));
    std::memcpy(&operand_header, table, sizeof table);
    const rrnet_operands_header& h = operand_header;
    RRNET_REQUIRE(same_octets(h.magic, RRNET_OPERANDS_MAGIC, sizeof h.magic), operands);
    RRNET_REQUIRE(h.version == RRNET_OPERANDS_VERSION, operands);
    operations_at = RRNET_OPERANDS_HEADER_BYTES;
    inputs_at = operations_at + uint64_t{h.operations} * sizeof(rrnet_operation);
    stages_at = inputs_at + uint64_t{h.inputs} * sizeof(rrnet_input);
    tiles_at = stages_at + uint64_t{h.stages} * sizeof(rrnet_stage);
    bands_at = tiles_at + uint64_t{h.tiles} * sizeof(rrnet_tile);
    coefficients_at = bands_at + uint64_t{h.bands} * sizeof(rrnet_band);
    const uint64_t table_end = coefficients_at + uint64_t{h.coefficients} * sizeof(rrnet_coefficient);
    RRNET_REQUIRE(table_end == operand_octets, operands);
    RRNET_REQUIRE(crc32(operands, operations_at, table_end, status) == h.crc32, operands);
    RRNET_TRY(status);
    RRNET_REQUIRE(same_octets(h.program_digest, header.program_digest, sizeof h.program_digest), program);
    RRNET_REQUIRE(h.buffer_bytes <= RRNET_BUFFER_BYTES, buffer);
    RRNET_REQUIRE(h.tiles <= RRNET_MAX_TILES && h.bands <= RRNET_MAX_BANDS, operands);
    return Status::done;
}

Status Program::check_operation(uint32_t index) const {
    rrnet_operation op;
    RRNET_TRY(operation(index, op));
    RRNET_REQUIRE(op.kind >= RRNET_KIND_CONV && op.kind <= RRNET_KIND_PAD, operands);
    RRNET_REQUIRE(small(op.channels, op.height, op.width) && small(op.out_channels, op.out_height, op.out_width),
                  operands);
    RRNET_REQUIRE(op.inputs >= 1 && uint64_t{op.first_input} + op.inputs <= operand_header.inputs, operands);
    RRNET_REQUIRE(uint64_t{op.first_stage} + op.stages <= operand_header.stages, operands);
    const bool same = op.channels == op.out_channels && op.height == op.out_height && op.width == op.out_width;
    const bool window = op.kind == RRNET_KIND_CONV || op.kind == RRNET_KIND_MAXPOOL || op.kind == RRNET_KIND_SUMPOOL;
    if (window) {
        RRNET_REQUIRE(slides(op.height, op.kernel_h, op.stride_h, op.pad_top, op.pad_bottom, op.out_height) &&
                          slides(op.width, op.kernel_w, op.stride_w, op.pad_left, op.pad_right, op.out_width),
                      operands);
        const bool inside = op.pad_top < op.kernel_h && op.pad_left < op.kernel_w;
        RRNET_REQUIRE(inside || op.kind != RRNET_KIND_MAXPOOL, operands);  // every window has a value
        RRNET_REQUIRE(op.kind == RRNET_KIND_CONV || op.channels == op.out_channels, operands);
    }
    if (op.kind == RRNET_KIND_CONV) {
        RRNET_REQUIRE(op.groups && op.channels % op.groups == 0 && op.out_channels % op.groups == 0, operands);
        const bool depthwise = op.groups == op.channels && op.channels == op.out_channels;
        RRNET_REQUIRE(depthwise == ((op.flags & RRNET_FLAG_DEPTHWISE) != 0), operands);
    }
    if (op.kind == RRNET_KIND_LINEAR) {
        const bool matrix = op.kernel_h == 1 && op.kernel_w == 1 && op.groups == 1 && op.height == 1 && op.width == 1 &&
                            op.out_height == 1 && op.out_width == 1;
        RRNET_REQUIRE(matrix, operands);
    }
    if (op.kind == RRNET_KIND_TRUNCATE) RRNET_REQUIRE(op.bits >= 1 && op.bits <= 30, operands);
    if (op.kind == RRNET_KIND_PAD) {
        RRNET_REQUIRE(op.channels == op.out_channels, operands);
        RRNET_REQUIRE(uint64_t{op.height} + op.pad_top + op.pad_bottom == op.out_height &&
                          uint64_t{op.width} + op.pad_left + op.pad_right == op.out_width,
                      operands);
    }
    const bool elementwise = op.kind == RRNET_KIND_SQUARE || op.kind == RRNET_KIND_AFFINE ||
                             op.kind == RRNET_KIND_RELU || op.kind == RRNET_KIND_TRUNCATE;
    if (elementwise) RRNET_REQUIRE(same, operands);
    uint64_t joined_channels = 0;
    for (uint32_t i = 0; i < op.inputs; ++i) {
        rrnet_input in;
        RRNET_TRY(input(op.first_input + i, in));
        RRNET_REQUIRE(small(in.channels, in.height, in.width), operands);
        joined_channels += in.channels;
        const bool shaped = in.channels == op.channels && in.height == op.height && in.width == op.width;
        RRNET_REQUIRE(op.kind == RRNET_KIND_CONCAT || shaped, operands);
        const bool beside = in.height == op.out_height && in.width == op.out_width;
        RRNET_REQUIRE(op.kind != RRNET_KIND_CONCAT || beside, operands);
    }
    RRNET_REQUIRE(op.kind != RRNET_KIND_CONCAT || joined_channels == op.out_channels, operands);
    return Status::done;
}

Status Program::check_stage(uint32_t index) const {
    rrnet_stage s;
    RRNET_TRY(stage(index, s));
    rrnet_operation op;
    RRNET_TRY(operation(s.operation, op));
    RRNET_REQUIRE(index >= op.first_stage && index - op.first_stage < op.stages, operands);
    RRNET_REQUIRE(uint64_t{s.first_tile} + s.tiles <= operand_header.tiles, operands);
    RRNET_REQUIRE(uint64_t{s.first_band} + s.bands <= operand_header.bands, operands);
    const bool product = op.kind == RRNET_KIND_CONV || op.kind == RRNET_KIND_LINEAR;
    RRNET_REQUIRE(s.opens <= 1 && (!s.opens || product || op.kind == RRNET_KIND_MAXPOOL), operands);
    RRNET_REQUIRE(s.first_phase <= s.end_phase && s.end_phase <= MOST_PHASES, operands);
    const uint32_t channels = s.opens ? op.channels : op.out_channels, rows = s.opens ? op.height : op.out_height;
    for (uint32_t i = 0; i < s.tiles; ++i) {
        rrnet_tile t;
        RRNET_TRY(tile(s.first_tile + i, t));
        RRNET_REQUIRE(t.channel_begin < t.channel_end && t.channel_end <= channels, operands);
        RRNET_REQUIRE(t.row_begin < t.row_end && t.row_end <= rows, operands);
        RRNET_REQUIRE(product && !s.opens ? t.band < s.bands : t.band == RRNET_NO_BAND, operands);
        if (t.band == RRNET_NO_BAND) continue;
        rrnet_band b;
        RRNET_TRY(band(s.first_band + t.band, b));
        RRNET_REQUIRE(b.channel_begin <= t.channel_begin && t.channel_end <= b.channel_end, operands);
        RRNET_REQUIRE(b.channel_end <= op.out_channels, operands);
    }
    return Status::done;
}

}  // namespace rrnet
