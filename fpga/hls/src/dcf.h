// Distributed comparison functions (fpga/protocols/dcf.py): a key's share of [point < threshold] for a secret threshold,
// on the pipelines that expand masks. One AES block per level of the tree and one for the leaf.
#ifndef RRNET_DCF_H
#define RRNET_DCF_H

#include "aes.h"

namespace rrnet {

constexpr int DCF_DOMAIN_BITS = 31, DCF_LEAF_BITS = 7;
constexpr int DCF_LEVELS = DCF_DOMAIN_BITS - DCF_LEAF_BITS;
// Blocks of a key: a correction word per level and the leaf's.
constexpr int DCF_BLOCKS = DCF_LEVELS + 1;

// The public keys of the hash in the tree and at its leaves: those of the set of material.
struct DcfKeys {
    AesKey tree, leaf;

    void expand(const uint8_t* tree_key, const uint8_t* leaf_key);
};

// Where the evaluation of one point stands.
struct DcfNode {
    bus_t block;
    uint32_t parity = 0;
};

// One level down: to the left where the point's bit is 0.
DcfNode dcf_step(const DcfKeys& keys, const DcfNode& node, const bus_t& correction, uint32_t point, int level);
// The share, from the leaf's block.
uint32_t dcf_share(const DcfKeys& keys, const DcfNode& node, const bus_t& correction, uint32_t point);

}  // namespace rrnet

#endif
