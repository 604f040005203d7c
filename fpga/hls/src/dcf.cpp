#include "dcf.h"

namespace rrnet {

namespace {

uint64_t low_half(const bus_t& block) { return uint64_t{lane_of(block, 1)} << 32 | lane_of(block, 0); }
uint64_t high_half(const bus_t& block) { return uint64_t{lane_of(block, 3)} << 32 | lane_of(block, 2); }

bus_t block_of(uint64_t high, uint64_t low) {
    bus_t block;
    for (uint32_t i = 0; i < 2; ++i) {
        set_lane(block, i, static_cast<uint32_t>(low >> (32 * i)));
        set_lane(block, 2 + i, static_cast<uint32_t>(high >> (32 * i)));
    }
    return block;
}

// H(x) = π(σ(x)) ⊕ σ(x), σ(high, low) = (high ⊕ low, high).
bus_t hash(const AesKey& key, const bus_t& block) {
    const bus_t moved = block_of(high_half(block) ^ low_half(block), high_half(block));
    return key.encrypt(moved) ^ moved;
}

bus_t if_odd(const bus_t& node, const bus_t& correction) { return lane_of(node, 0) & 1 ? correction : bus_t(0); }

}  // namespace

void DcfKeys::expand(const uint8_t* tree_key, const uint8_t* leaf_key) {
    tree.expand(tree_key);
    leaf.expand(leaf_key);
}

DcfNode dcf_step(const DcfKeys& keys, const DcfNode& node, const bus_t& correction, uint32_t point, int level) {
#pragma HLS PIPELINE II = 1
    const bus_t left = hash(keys.tree, node.block) ^ if_odd(node.block, correction);
    const bool right = point >> (DCF_DOMAIN_BITS - 1 - level) & 1;
    DcfNode next;
    const bus_t other = left ^ node.block;
    next.block = right ? other : left;
    next.parity = node.parity ^ (right ? 0 : lane_of(other, 0) & 1);
    return next;
}

uint32_t dcf_share(const DcfKeys& keys, const DcfNode& node, const bus_t& correction, uint32_t point) {
#pragma HLS PIPELINE II = 1
    const bus_t leaf = hash(keys.leaf, node.block) ^ if_odd(node.block, correction);
    const uint32_t place = point & ((1 << DCF_LEAF_BITS) - 1);
    return (node.parity ^ lane_of(leaf, place / 32) >> place % 32) & 1;
}

}  // namespace rrnet
