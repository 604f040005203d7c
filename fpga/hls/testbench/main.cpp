// One accelerator in C simulation: what the board's host does, with files for memories.
//
//   rrnet_csim PARTY DIRECTORY IN OUT [SEED]   with the other accelerator behind the open file descriptors IN and OUT
//   rrnet_csim PARTY DIRECTORY                 alone, against what a recording says
//
// DIRECTORY holds instructions.bin, operands.bin, memory.bin, material.bin and keys.bin (AES keys of the image, the
// weights, and the hash of comparison functions in the tree and at its leaves). Beside another accelerator the memory
// afterwards goes to memory.out, what was sent and what arrived to sent.out and peer.out. Alone, all of peer.bin has
// arrived before the start, as the vendor's co-simulation wants it, and memory and messages are compared with memory.out
// and sent.out. The exit status is the accelerator's, or OTHER_WORDS; a line on standard output says what it counted, or
// what was as recorded.
#include <cstdlib>

#include "files.h"
#include "messages.h"
#include "pipes.h"

namespace {

using namespace rrnet;

constexpr int BAD_USAGE = 64, OTHER_WORDS = 65;

// The files of a party, and its accelerator's streams.
struct Board {
    Image instructions, operands, memory, material, keys;
    Registers registers;
    Counters counters;
    Link to_peer, from_peer;

    bool read(const std::string& directory, int party, uint64_t seed) {
        if (!read_image(directory + "instructions.bin", instructions) ||
            !read_image(directory + "operands.bin", operands) || !read_image(directory + "memory.bin", memory) ||
            !read_image(directory + "material.bin", material) || !read_image(directory + "keys.bin", keys) ||
            keys.words.size() != 4) {
            return false;
        }
        registers.party = static_cast<uint8_t>(party);
        for (uint32_t i = 0; i < BUS_OCTETS; ++i) {
            registers.image_key[i] = octet_of(keys.words[0], i);
            registers.weight_key[i] = octet_of(keys.words[1], i);
            registers.tree_key[i] = octet_of(keys.words[2], i);
            registers.leaf_key[i] = octet_of(keys.words[3], i);
        }
        registers.instruction_octets = instructions.octets;
        registers.operand_octets = operands.octets;
        registers.memory_words = memory.words.size();
        registers.material_words = material.words.size();
        registers.arbitration = seed;
        if (material.words.empty()) material.words.resize(1);  // co-simulation copies one word at least
        return true;
    }

    Status run() {
        return rrnet_accelerator(registers, instructions.words.data(), operands.words.data(), memory.words.data(),
                                 material.words.data(), to_peer, from_peer, counters);
    }
};

int run_beside(Board& board, const std::string& directory, int in, int out) {
    Pipes pipes(in, out, arriving_messages(board.instructions, board.registers.party), board.to_peer, board.from_peer);
    attached_network = &pipes;
    const Status status = board.run();
    const bool sent = pipes.flush();
    const Counters& counted = board.counters;
    std::printf("{\"status\": %d, \"instructions\": %llu, \"bytes_sent\": %llu, \"bytes_received\": %llu, "
                "\"array_cycles\": %llu}\n",
                static_cast<int>(status), static_cast<unsigned long long>(counted.instructions),
                static_cast<unsigned long long>(counted.octets_sent),
                static_cast<unsigned long long>(counted.octets_received),
                static_cast<unsigned long long>(counted.array_cycles));
    if (status != Status::done) return static_cast<int>(status);
    if (!sent || !write_octets(directory + "memory.out", octets_of(board.memory.words)) ||
        !write_octets(directory + "sent.out", pipes.sent_octets()) ||
        !write_octets(directory + "peer.out", pipes.arrived_octets())) {
        return static_cast<int>(Status::link);
    }
    return 0;
}

int run_alone(Board& board, const std::string& directory) {
    std::vector<uint8_t> peer, memory, expected, sent;
    if (!read_octets(directory + "peer.bin", peer) || !read_octets(directory + "memory.out", memory) ||
        !read_octets(directory + "sent.out", expected)) {
        return BAD_USAGE;
    }
    uint64_t used = 0;
    for (const uint64_t size : arriving_messages(board.instructions, board.registers.party)) {
        if (size > peer.size() - used) break;
        write_message(board.from_peer, peer.data() + used, size);
        used += size;
    }
    const Status status = board.run();
    if (status != Status::done) return static_cast<int>(status);
    take_all(board.to_peer, sent);
    const bool same_memory = octets_of(board.memory.words) == memory, same_messages = sent == expected;
    std::printf("{\"memory.out\": %s, \"sent.out\": %s}\n", same_memory ? "true" : "false",
                same_messages ? "true" : "false");
    return same_memory && same_messages ? 0 : OTHER_WORDS;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3 && argc != 5 && argc != 6) return BAD_USAGE;
    const std::string directory = std::string(argv[2]) + "/";
    Board board;
    if (!board.read(directory, std::atoi(argv[1]), argc == 6 ? std::strtoull(argv[5], nullptr, 10) : 0)) {
        std::fprintf(stderr, "rrnet_csim: a file in %s cannot be read\n", directory.c_str());
        return BAD_USAGE;
    }
    return argc == 3 ? run_alone(board, directory) : run_beside(board, directory, std::atoi(argv[3]), std::atoi(argv[4]));
}
