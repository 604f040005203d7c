#include "dcf.h"

namespace rrnet {

namespace {

uint64_t low_half(const bus_t& block) { return uint64_t{block.lane(1)} << 32 | block.lane(0); }
uint64_t high_half(const bus_t& block) { return uint64_t{block.lane(3)} << 32 | block.lane(2); }

bus_t block_of(uint64_t high, uint64_t low) {
    bus_t block;
    for (int i = 0; i < 2; ++i) {
        block.set_lane(i, static_cast<uint32_t>(low >> (32 * i)));
        block.set_lane(2 + i, static_cast<uint32_t>(high >> (32 * i)));
    }
    return block;
}

// H(x) = π(σ(x)) ⊕ σ(x), σ(high, low) = (high ⊕ low, high).
bus_t hash(const AesKey& key, const bus_t& block) {
    const bus_t moved = block_of(high_half(block) ^ low_half(block), high_half(block));
    return key.encrypt(moved) ^ moved;
}

bus_t if_odd(const bus_t& node, const bus_t& correction) { return node.lane(0) & 1 ? correction : bus_t(); }

}  // namespace

DcfKeys::DcfKeys() {
    static const uint8_t tree_key[16] = RRNET_DCF_TREE_KEY, leaf_key[16] = RRNET_DCF_LEAF_KEY;
    tree.expand(tree_key);
    leaf.expand(leaf_key);
}

const DcfKeys& dcf_keys() {
    static const DcfKeys keys;
    return keys;
}

DcfNode dcf_step(const DcfKeys& keys, const DcfNode& node, const bus_t& correction, uint32_t point, int level) {
#pragma HLS PIPELINE II = 1
    const bus_t left = hash(keys.tree, node.block) ^ if_odd(node.block, correction);
    const bool right = point >> (DCF_DOMAIN_BITS - 1 - level) & 1;
    DcfNode next;
    next.block = right ? left ^ node.block : left;
    next.parity = node.parity ^ (right ? 0 : (left ^ node.block).lane(0) & 1);
    return next;
}

uint32_t dcf_share(const DcfKeys& keys, const DcfNode& node, const bus_t& correction, uint32_t point) {
#pragma HLS PIPELINE II = 1
    const bus_t leaf = hash(keys.leaf, node.block) ^ if_odd(node.block, correction);
    const uint32_t place = point & ((1 << DCF_LEAF_BITS) - 1);
    return (node.parity ^ leaf.lane(place / 32) >> place % 32) & 1;
}

}  // namespace rrnet
