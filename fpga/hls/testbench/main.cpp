// One accelerator in C simulation: what the board's host does, with files for memories and pipes for the network.
//
//   rrnet_csim PARTY DIRECTORY IN OUT [SEED]
//
// DIRECTORY holds instructions.bin, operands.bin, memory.bin, material.bin and keys.bin (the image's and the weights'
// AES keys); the memory afterwards goes to memory.out, what was sent and what arrived to sent.out and peer.out. IN and OUT
// are open file descriptors: with a recorded peer.out behind IN, the other party need not be there. The exit status is
// the accelerator's; a line on standard output says what it counted.
#include <cstdlib>

#include "files.h"
#include "pipes.h"

namespace {

using namespace rrnet;

constexpr int BAD_USAGE = 64;

int run(int argc, char** argv) {
    if (argc < 5 || argc > 6) return BAD_USAGE;
    const std::string directory = std::string(argv[2]) + "/";
    Image instructions, operands, memory, material, keys;
    if (!read_image(directory + "instructions.bin", instructions) || !read_image(directory + "operands.bin", operands) ||
        !read_image(directory + "memory.bin", memory) || !read_image(directory + "material.bin", material) ||
        !read_image(directory + "keys.bin", keys) || keys.words.size() != 2) {
        std::fprintf(stderr, "rrnet_csim: a file in %s cannot be read\n", directory.c_str());
        return BAD_USAGE;
    }
    Registers registers;
    registers.party = static_cast<uint8_t>(std::atoi(argv[1]));
    for (int i = 0; i < 16; ++i) {
        registers.image_key[i] = keys.words[0].octet(i);
        registers.weight_key[i] = keys.words[1].octet(i);
    }
    registers.instruction_octets = instructions.octets;
    registers.operand_octets = operands.octets;
    registers.memory_words = memory.words.size();
    registers.material_words = material.words.size();
    registers.arbitration = argc == 6 ? std::strtoull(argv[5], nullptr, 10) : 0;
    Link to_peer, from_peer;
    Pipes pipes(std::atoi(argv[3]), std::atoi(argv[4]), arriving_messages(instructions, registers.party), to_peer,
                from_peer);
    Counters counters;
    const Status status = rrnet_accelerator(registers, instructions.words.data(), operands.words.data(),
                                            memory.words.data(), material.words.data(), to_peer, from_peer, pipes,
                                            counters);
    const bool sent = pipes.flush();
    std::printf("{\"status\": %d, \"instructions\": %llu, \"bytes_sent\": %llu, \"bytes_received\": %llu, "
                "\"array_cycles\": %llu}\n",
                static_cast<int>(status), static_cast<unsigned long long>(counters.instructions),
                static_cast<unsigned long long>(counters.octets_sent),
                static_cast<unsigned long long>(counters.octets_received),
                static_cast<unsigned long long>(counters.array_cycles));
    if (status != Status::done) return static_cast<int>(status);
    if (!sent || !write_image(directory + "memory.out", memory.words) ||
        !write_octets(directory + "sent.out", pipes.sent_octets()) ||
        !write_octets(directory + "peer.out", pipes.arrived_octets())) {
        return static_cast<int>(Status::link);
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
