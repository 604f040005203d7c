// The part of the vendor's ap_int.h that the accelerator uses, for a plain C++ compiler.
#ifndef RRNET_SHIM_AP_INT_H
#define RRNET_SHIM_AP_INT_H

#include <cstdint>

template <int W>
struct ap_uint;

// Bits [low, high] of a word; here they lie in one half of it.
struct ap_bits {
    uint64_t& half;
    int high, low;

    uint64_t mask() const { return ~uint64_t{0} >> (63 - (high - low)) << (low & 63); }
    ap_bits& operator=(uint64_t value) {
        half = (half & ~mask()) | (value << (low & 63) & mask());
        return *this;
    }
};

// One word of a 128-bit bus. Like the vendor's it has no value until one is given to it: a pattern that no test survives.
template <>
struct ap_uint<128> {
    uint64_t lower = 0xA5A5A5A5A5A5A5A5u;
    uint64_t upper = 0xA5A5A5A5A5A5A5A5u;

    ap_uint() = default;
    ap_uint(uint64_t value) : lower(value), upper(0) {}

    ap_bits range(int high, int low) { return {low < 64 ? lower : upper, high, low}; }
    ap_uint range(int high, int low) const {
        return ((low < 64 ? lower : upper) >> (low & 63)) & ~uint64_t{0} >> (63 - (high - low));
    }
    uint32_t to_uint() const { return static_cast<uint32_t>(lower); }

    ap_uint operator~() const { return joined(~upper, ~lower); }
    ap_uint operator&(const ap_uint& other) const { return joined(upper & other.upper, lower & other.lower); }
    ap_uint operator^(const ap_uint& other) const { return joined(upper ^ other.upper, lower ^ other.lower); }
    ap_uint& operator^=(const ap_uint& other) { return *this = *this ^ other; }

  private:
    static ap_uint joined(uint64_t upper_half, uint64_t lower_half) {
        ap_uint word(lower_half);
        word.upper = upper_half;
        return word;
    }
};

#endif
