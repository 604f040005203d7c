// Feeds the accelerator damaged instruction and operand files: each must end in a status, whatever is wrong in it.
//
//   rrnet_mutate DIRECTORY FIRST COUNT
//
// DIRECTORY is one party's, as for rrnet_csim. Mutation n follows from n alone. The other party sends zeros for ever, so
// that what is still valid runs on. Prints how many mutations ended in each status.
#include <cstdlib>
#include <utility>

#include "accelerator.h"
#include "files.h"
#include "messages.h"
#include "rrnet_operands.h"

namespace {

using namespace rrnet;

constexpr uint64_t MOST_ARRIVING = uint64_t{1} << 26;
constexpr int STATUSES = 12;

class Random {
  public:
    explicit Random(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15u + 1) {}
    uint64_t below(uint64_t limit) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return limit ? state % limit : 0;
    }

  private:
    uint64_t state;
};

class Zeros : public Network {
  public:
    Zeros(std::deque<uint64_t> messages, Link& from_peer) : sizes(std::move(messages)), link(from_peer) {}

    bool wait() override {
        if (sizes.empty() || (total += sizes.front()) > MOST_ARRIVING) return false;
        write_message(link, std::vector<uint8_t>(sizes.front()).data(), sizes.front());
        sizes.pop_front();
        return true;
    }

  private:
    std::deque<uint64_t> sizes;
    Link& link;
    uint64_t total = 0;
};

uint8_t octet_at(const Image& image, uint64_t place) {
    return octet_of(image.words[place / BUS_OCTETS], place % BUS_OCTETS);
}
void set_octet_at(Image& image, uint64_t place, uint8_t value) {
    set_octet(image.words[place / BUS_OCTETS], place % BUS_OCTETS, value);
}

// The checksum of everything after `header` octets is put right at `place`, so that the damage is read.
void repair_checksum(Image& image, uint64_t header, uint64_t place) {
    uint32_t remainder = ~uint32_t{0};
    for (uint64_t i = header; i < image.octets; ++i) {
        remainder ^= octet_at(image, i);
        for (int bit = 0; bit < 8; ++bit) remainder = remainder >> 1 ^ (remainder & 1 ? 0xEDB88320u : 0);
    }
    for (int i = 0; i < 4 && place + 4 <= image.octets; ++i) {
        set_octet_at(image, place + i, static_cast<uint8_t>(~remainder >> (8 * i)));
    }
}

void set_field(Image& image, uint64_t place, int octets, uint32_t value) {
    for (int i = 0; i < octets && place + i < image.octets; ++i) {
        set_octet_at(image, place + i, static_cast<uint8_t>(value >> (8 * i)));
    }
}

// One octet, one aligned field, a copy of another record, or a cut end.
void damage(Image& image, uint64_t record, Random& random) {
    static const uint32_t values[] = {0, 1, 2, 7, 64, 255, 256, 65535, 65536, 1u << 20, 0x7FFFFFFF, 0x80000000, ~0u};
    const uint64_t place = random.below(image.octets);
    switch (random.below(6)) {
        case 0:
            set_octet_at(image, place, static_cast<uint8_t>(random.below(256)));
            break;
        case 1:
            set_field(image, place & ~uint64_t{3}, 4, values[random.below(13)]);
            break;
        case 2:
            set_field(image, place & ~uint64_t{1}, 2, values[random.below(13)]);
            break;
        case 3:
            set_field(image, place & ~uint64_t{3}, 4, static_cast<uint32_t>(random.below(uint64_t{1} << 32)));
            break;
        case 4: {
            const uint64_t from = random.below(image.octets);
            for (uint64_t i = 0; i < record && place + i < image.octets && from + i < image.octets; ++i) {
                set_octet_at(image, place + i, octet_at(image, from + i));
            }
            break;
        }
        default:
            if (random.below(8) == 0) {
                image.octets = place;
                image.words.resize((image.octets + BUS_OCTETS - 1) / BUS_OCTETS);
            } else {
                set_octet_at(image, place, octet_at(image, place) ^ static_cast<uint8_t>(1 << random.below(8)));
            }
    }
}

Status run_mutation(uint64_t number, const Image& instructions, const Image& operands, const Image& memory,
                    const Image& material) {
    Random random(number + 1);
    Image damaged_instructions = instructions, damaged_operands = operands, share = memory;
    const uint64_t times = 1 + random.below(3);
    const bool of_operands = random.below(2) != 0;
    for (uint64_t i = 0; i < times; ++i) {
        Image& image = of_operands ? damaged_operands : damaged_instructions;
        if (image.octets) damage(image, of_operands ? sizeof(rrnet_operation) : sizeof(rrnet_instruction), random);
    }
    if (random.below(8)) {
        if (of_operands) repair_checksum(damaged_operands, sizeof(rrnet_operands_header), 12);
        else repair_checksum(damaged_instructions, sizeof(rrnet_header), 16);
    }
    Registers registers;
    registers.party = static_cast<uint8_t>(number % 2);
    registers.instruction_octets = damaged_instructions.octets;
    registers.operand_octets = damaged_operands.octets;
    registers.memory_words = share.words.size();
    registers.material_words = material.words.size();
    Link to_peer, from_peer;
    Zeros zeros(arriving_messages(damaged_instructions, registers.party), from_peer);
    attached_network = &zeros;
    Counters counters;
    return rrnet_accelerator(registers, damaged_instructions.words.data(), damaged_operands.words.data(),
                             share.words.data(), material.words.data(), to_peer, from_peer, counters);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) return 64;
    const std::string directory = std::string(argv[1]) + "/";
    Image instructions, operands, memory, material;
    if (!read_image(directory + "instructions.bin", instructions) || !read_image(directory + "operands.bin", operands) ||
        !read_image(directory + "memory.bin", memory) || !read_image(directory + "material.bin", material)) {
        return 64;
    }
    unsigned long long ends[STATUSES] = {};
    const uint64_t first = std::strtoull(argv[2], nullptr, 10), count = std::strtoull(argv[3], nullptr, 10);
    for (uint64_t i = first; i < first + count; ++i) {
        ++ends[static_cast<int>(run_mutation(i, instructions, operands, memory, material)) % STATUSES];
    }
    std::printf("[%llu", ends[0]);
    for (int i = 1; i < STATUSES; ++i) std::printf(", %llu", ends[i]);
    std::printf("]\n");
    return 0;
}
