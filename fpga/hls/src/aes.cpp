#include "aes.h"

#include "source.h"

namespace rrnet {

namespace {

constexpr uint8_t xtime(uint8_t x) { return static_cast<uint8_t>((x << 1) ^ ((x >> 7) * 0x1B)); }

constexpr uint8_t rotate(uint8_t x, int bits) { return static_cast<uint8_t>((x << bits) | (x >> (8 - bits))); }

// The S-box and the first of the four round tables, MixColumns(SubBytes(x)); the other three are its rotations.
struct Tables {
    uint8_t sbox[256] = {};
    uint32_t round[256] = {};

    constexpr Tables() {
        uint8_t power = 1, inverse = 1;
        do {  // 3 generates the field; its inverse 0xF6 runs through the reciprocals
            power = static_cast<uint8_t>(power ^ xtime(power));
            inverse = static_cast<uint8_t>(inverse ^ (inverse << 1));
            inverse = static_cast<uint8_t>(inverse ^ (inverse << 2));
            inverse = static_cast<uint8_t>(inverse ^ (inverse << 4));
            if (inverse & 0x80) inverse ^= 0x09;
            sbox[power] = static_cast<uint8_t>(inverse ^ rotate(inverse, 1) ^ rotate(inverse, 2) ^ rotate(inverse, 3) ^
                                               rotate(inverse, 4) ^ 0x63);
        } while (power != 1);
        sbox[0] = 0x63;
        for (int x = 0; x < 256; ++x) {
            const uint32_t s = sbox[x], twice = xtime(sbox[x]);
            round[x] = twice << 24 | s << 16 | s << 8 | (twice ^ s);
        }
    }
};

constexpr Tables TABLES;

uint32_t substitute(uint32_t word) {
    return uint32_t{TABLES.sbox[word >> 24]} << 24 | uint32_t{TABLES.sbox[word >> 16 & 0xFF]} << 16 |
           uint32_t{TABLES.sbox[word >> 8 & 0xFF]} << 8 | uint32_t{TABLES.sbox[word & 0xFF]};
}

uint32_t turn(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

uint32_t swap_octets(uint32_t word) { return word >> 24 | (word >> 8 & 0xFF00) | (word << 8 & 0xFF0000) | word << 24; }

// A block's big-endian words as octets in memory's order.
bus_t swapped_block(const uint32_t words[4]) {
    bus_t block;
    for (uint32_t i = 0; i < BUS_WORDS; ++i) set_lane(block, i, swap_octets(words[i]));
    return block;
}

}  // namespace

void AesKey::expand(const uint8_t key[16]) {
    for (int i = 0; i < 4; ++i) {
        words[i] = uint32_t{key[4 * i]} << 24 | uint32_t{key[4 * i + 1]} << 16 | uint32_t{key[4 * i + 2]} << 8 |
                   uint32_t{key[4 * i + 3]};
    }
    uint8_t constant = 1;
    for (int i = 4; i < 4 * (AES_ROUNDS + 1); ++i) {
        uint32_t word = words[i - 1];
        if (i % 4 == 0) {
            word = substitute(word << 8 | word >> 24) ^ uint32_t{constant} << 24;
            constant = xtime(constant);
        }
        words[i] = words[i - 4] ^ word;
    }
}

void aes_encrypt(const AesKey& key, const uint32_t in[4], uint32_t out[4]) {
#pragma HLS INLINE off
#pragma HLS PIPELINE II = 1
    uint32_t state[4], next[4];
    for (int i = 0; i < 4; ++i) state[i] = in[i] ^ key.words[i];
    for (int round = 1; round < AES_ROUNDS; ++round) {
#pragma HLS UNROLL
        for (int i = 0; i < 4; ++i) {
            next[i] = TABLES.round[state[i] >> 24] ^ turn(TABLES.round[state[(i + 1) % 4] >> 16 & 0xFF], 8) ^
                      turn(TABLES.round[state[(i + 2) % 4] >> 8 & 0xFF], 16) ^
                      turn(TABLES.round[state[(i + 3) % 4] & 0xFF], 24) ^ key.words[4 * round + i];
        }
        for (int i = 0; i < 4; ++i) state[i] = next[i];
    }
    for (int i = 0; i < 4; ++i) {
        const uint32_t shifted = (state[i] & 0xFF000000) | (state[(i + 1) % 4] & 0xFF0000) |
                                 (state[(i + 2) % 4] & 0xFF00) | (state[(i + 3) % 4] & 0xFF);
        out[i] = substitute(shifted) ^ key.words[4 * AES_ROUNDS + i];
    }
}

bus_t AesKey::encrypt(const bus_t& block) const {
    uint32_t in[4], out[4];
    for (uint32_t i = 0; i < BUS_WORDS; ++i) in[i] = swap_octets(lane_of(block, i));
    aes_encrypt(*this, in, out);
    return swapped_block(out);
}

bus_t Keystream::block(uint64_t number) const {
    const uint32_t counter[4] = {static_cast<uint32_t>(operation >> 32), static_cast<uint32_t>(operation),
                                 static_cast<uint32_t>(number >> 32), static_cast<uint32_t>(number)};
    uint32_t out[4];
    aes_encrypt(*key, counter, out);
    return swapped_block(out);
}

Status Keystream::read_octets(uint64_t first, uint32_t count, uint8_t* out) const {
    bus_t word;
    uint64_t number = ~uint64_t{0};
    for (uint32_t i = 0; i < count; ++i) {
        const uint64_t position = first + i;
        if (position / BUS_OCTETS != number) {
            number = position / BUS_OCTETS;
            word = block(number);
        }
        out[i] = octet_of(word, position % BUS_OCTETS);
    }
    return Status::done;
}

Status Keystream::read_words(uint64_t base, uint64_t first, uint32_t count, uint32_t* out) const {
    const uint64_t begin = base + 4 * first;
    if (begin % 4 == 0) {
        bus_t word;
        uint64_t number = ~uint64_t{0};
        for (uint32_t i = 0; i < count; ++i) {
            const uint64_t position = begin / 4 + i;
            if (position / BUS_WORDS != number) {
                number = position / BUS_WORDS;
                word = block(number);
            }
            out[i] = lane_of(word, position % BUS_WORDS);
        }
        return Status::done;
    }
    return words_from_octets(*this, begin, count, out);
}

}  // namespace rrnet
