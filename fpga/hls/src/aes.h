// AES-128 in counter mode (FIPS 197, SP 800-38A): expands a party's seed into masks, from any position.
#ifndef RRNET_AES_H
#define RRNET_AES_H

#include <cstdint>

#include "memory.h"

namespace rrnet {

constexpr int AES_ROUNDS = 10;

struct AesKey {
    uint32_t words[4 * (AES_ROUNDS + 1)] = {};

    void expand(const uint8_t key[16]);
    // One block of octets in memory's order.
    bus_t encrypt(const bus_t& block) const;
};

// One block, big-endian words as in FIPS 197: the core of which the fabric has RRNET_AES_CORES.
void aes_encrypt(const AesKey& key, const uint32_t in[4], uint32_t out[4]);

// The keystream of one operation: counter block (operation, block number), both of 64 bits, big-endian.
class Keystream {
  public:
    Keystream() = default;
    Keystream(const AesKey& expanded, uint64_t number) : key(&expanded), operation(number) {}

    bus_t block(uint64_t number) const;
    Status read_octets(uint64_t first, uint32_t count, uint8_t* out) const;
    // Words [first, first + count) of the words that begin at octet `base`, little-endian.
    Status read_words(uint64_t base, uint64_t first, uint32_t count, uint32_t* out) const;

  private:
    const AesKey* key = nullptr;
    uint64_t operation = 0;
};

}  // namespace rrnet

#endif
