#include "accelerator.h"

#include "dispatcher.h"

// Bus words behind each port in the vendor's co-simulation, which hls.tcl counts; synthesis has no use for them.
#ifndef RRNET_INSTRUCTION_WORDS
#define RRNET_INSTRUCTION_WORDS 1
#define RRNET_OPERAND_WORDS 1
#define RRNET_MEMORY_WORDS 1
#define RRNET_MATERIAL_WORDS 1
#endif

using namespace rrnet;

Status rrnet_accelerator(const Registers& registers, const bus_t* instructions, const bus_t* operands, bus_t* memory,
                         const bus_t* material, Link& to_peer, Link& from_peer, Counters& counters) {
#pragma HLS INTERFACE m_axi port = instructions offset = slave bundle = gmem0 depth = RRNET_INSTRUCTION_WORDS
#pragma HLS INTERFACE m_axi port = operands offset = slave bundle = gmem0 depth = RRNET_OPERAND_WORDS
#pragma HLS INTERFACE m_axi port = memory offset = slave bundle = gmem1 depth = RRNET_MEMORY_WORDS
#pragma HLS INTERFACE m_axi port = material offset = slave bundle = gmem2 depth = RRNET_MATERIAL_WORDS
#pragma HLS INTERFACE axis port = to_peer
#pragma HLS INTERFACE axis port = from_peer
#pragma HLS INTERFACE s_axilite port = registers
#pragma HLS INTERFACE s_axilite port = counters
#pragma HLS INTERFACE s_axilite port = return
#pragma HLS ALLOCATION function instances = aes_encrypt limit = RRNET_AES_CORES
    static Chip chip;
    static uint32_t buffer[RRNET_BUFFER_BYTES / 4];
#pragma HLS BIND_STORAGE variable = buffer type = RAM_2P impl = URAM
    RRNET_REQUIRE(registers.party <= 1, unsupported);
    const auto ports = [](uint64_t octets) { return (octets + BUS_OCTETS - 1) / BUS_OCTETS; };
    Port instruction_port(const_cast<bus_t*>(instructions), ports(registers.instruction_octets), Status::instructions);
    Port operand_port(const_cast<bus_t*>(operands), ports(registers.operand_octets), Status::operands);
    Port memory_port(memory, registers.memory_words, Status::memory);
    Port material_port(const_cast<bus_t*>(material), registers.material_words, Status::material);
    Program program(instruction_port, operand_port);
    RRNET_TRY(program.check(registers.instruction_octets, registers.operand_octets));
    const uint16_t protocol = program.table().protocol;
    RRNET_REQUIRE(protocol >= RRNET_PROTOCOL_BEAVER_OT && protocol <= RRNET_PROTOCOL_MASKED_DCF, unsupported);
    RRNET_REQUIRE(program.table().memory_words <= registers.memory_words, memory);

    chip.party = registers.party;
    chip.masked = protocol != RRNET_PROTOCOL_BEAVER_OT;
    chip.functions = protocol == RRNET_PROTOCOL_MASKED_DCF;
    chip.image_key.expand(registers.image_key);
    chip.weight_key.expand(registers.weight_key);
    chip.dcf_keys.expand(registers.tree_key, registers.leaf_key);
    chip.buffer = Buffer(buffer);
    chip.memory = &memory_port;
    chip.material = &material_port;
    chip.program = &program;
    for (uint32_t i = 0; i < program.table().tiles; ++i) chip.tiles[i] = TileState();
    for (uint32_t i = 0; i < program.table().bands; ++i) chip.bands[i] = BandState();
    Dispatcher dispatcher(chip, program, to_peer, from_peer, registers.arbitration);
    chip.array_cycles = 0;
    const Status status = dispatcher.run(counters);
    counters.array_cycles = chip.array_cycles;
    return status;
}
