// Prints what single kernels compute, for tests against published vectors and the Python library.
//
// Standard input: lines "block KEY PLAINTEXT" (one AES block), "stream KEY OPERATION FIRST COUNT" (octets of an
// operation's keystream) or "compare ROOT TREE_KEY LEAF_KEY CORRECTIONS POINT" (a key's share of a comparison); keys
// and octets in hexadecimal.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "aes.h"
#include "dcf.h"

namespace {

std::vector<uint8_t> octets_of(const std::string& text) {
    std::vector<uint8_t> octets;
    for (size_t i = 0; i + 1 < text.size(); i += 2) {
        octets.push_back(static_cast<uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
    }
    return octets;
}

rrnet::bus_t block_of(const std::vector<uint8_t>& octets, size_t number) {
    rrnet::bus_t block;
    for (uint32_t i = 0; i < 16; ++i) rrnet::set_octet(block, i, octets[16 * number + i]);
    return block;
}

uint32_t compare(const std::vector<uint8_t>& root, const rrnet::DcfKeys& keys, const std::vector<uint8_t>& corrections,
                 uint32_t point) {
    rrnet::DcfNode node = {block_of(root, 0), 0};
    for (int level = 0; level < rrnet::DCF_LEVELS; ++level) {
        node = rrnet::dcf_step(keys, node, block_of(corrections, level), point, level);
    }
    return rrnet::dcf_share(keys, node, block_of(corrections, rrnet::DCF_LEVELS), point);
}

}  // namespace

int main() {
    std::string what, key_text;
    while (std::cin >> what >> key_text) {
        const std::vector<uint8_t> key_octets = octets_of(key_text);
        if (key_octets.size() != 16) return 64;
        if (what == "compare") {
            std::string tree, leaf, text;
            uint32_t point = 0;
            std::cin >> tree >> leaf >> text >> point;
            const std::vector<uint8_t> corrections = octets_of(text), tree_key = octets_of(tree), leaf_key = octets_of(leaf);
            if (corrections.size() != 16 * rrnet::DCF_BLOCKS || tree_key.size() != 16 || leaf_key.size() != 16) return 64;
            rrnet::DcfKeys keys;
            keys.expand(tree_key.data(), leaf_key.data());
            std::printf("%u\n", compare(key_octets, keys, corrections, point));
            continue;
        }
        rrnet::AesKey key;
        key.expand(key_octets.data());
        if (what == "block") {
            std::string text;
            std::cin >> text;
            const std::vector<uint8_t> plain = octets_of(text);
            if (plain.size() != 16) return 64;
            uint32_t in[4], out[4];
            for (int i = 0; i < 4; ++i) {
                in[i] = uint32_t{plain[4 * i]} << 24 | uint32_t{plain[4 * i + 1]} << 16 |
                        uint32_t{plain[4 * i + 2]} << 8 | uint32_t{plain[4 * i + 3]};
            }
            rrnet::aes_encrypt(key, in, out);
            std::printf("%08x%08x%08x%08x\n", out[0], out[1], out[2], out[3]);
        } else {
            uint64_t operation = 0, first = 0;
            uint32_t count = 0;
            std::cin >> operation >> first >> count;
            std::vector<uint8_t> out(count);
            rrnet::Keystream(key, operation).read_octets(first, count, out.data());
            for (const uint8_t octet : out) std::printf("%02x", octet);
            std::printf("\n");
        }
    }
    return 0;
}
