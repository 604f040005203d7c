// instructions.bin and operands.bin in the board's memory: headers checked once, records read as they are needed.
#ifndef RRNET_TABLES_H
#define RRNET_TABLES_H

#include "geometry.h"
#include "memory.h"
#include "rrnet_isa.h"

namespace rrnet {

// One instruction, its waits unpacked.
struct Instruction {
    rrnet_instruction fields;
    uint8_t wait_queue[RRNET_WAITS];
    uint32_t wait_count[RRNET_WAITS];
};

class Program {
  public:
    Program(const Port& instruction_port, const Port& operand_port)
        : instructions(instruction_port), operands(operand_port) {}

    // Magic, version, sizes, checksums and the digest that ties both files to one program; then every record.
    // `instruction_octets`, `operand_octets`: sizes of the files.
    Status check(uint64_t instruction_octets, uint64_t operand_octets);

    uint32_t count() const { return header.count; }
    const rrnet_operands_header& table() const { return operand_header; }

    Status instruction(uint32_t index, Instruction& out) const;
    Status operation(uint32_t index, rrnet_operation& out) const;
    Status input(uint32_t index, rrnet_input& out) const;
    Status stage(uint32_t index, rrnet_stage& out) const;
    Status tile(uint32_t index, rrnet_tile& out) const;
    Status band(uint32_t index, rrnet_band& out) const;
    // Coefficients [first, first + count).
    Status coefficients(uint64_t first, uint32_t count, uint32_t* out) const;

  private:
    Status check_headers(uint64_t instruction_octets, uint64_t operand_octets);
    Status check_operation(uint32_t index) const;
    Status check_stage(uint32_t index) const;
    template <typename Record>
    Status record(uint64_t section, uint32_t records, uint32_t index, Record& out) const;

    const Port& instructions;
    const Port& operands;
    rrnet_header header = {};
    rrnet_operands_header operand_header = {};
    uint64_t operations_at = 0, inputs_at = 0, stages_at = 0, tiles_at = 0, bands_at = 0, coefficients_at = 0;
};

}  // namespace rrnet

#endif
