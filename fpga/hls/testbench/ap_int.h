// The part of the vendor's ap_int.h that the accelerator uses, for a plain C++ compiler.
#ifndef RRNET_SHIM_AP_INT_H
#define RRNET_SHIM_AP_INT_H

#include <cstdint>

template <int W>
struct ap_uint;

// One word of a 128-bit bus; bit 0 is the lowest bit of the first octet in memory.
template <>
struct ap_uint<128> {
    uint64_t low = 0;
    uint64_t high = 0;

    ap_uint() = default;
    ap_uint(uint64_t value) : low(value) {}
    ap_uint(uint64_t upper, uint64_t lower) : low(lower), high(upper) {}

    // Bits [8 * index, 8 * index + 8).
    uint8_t octet(int index) const { return static_cast<uint8_t>((index < 8 ? low : high) >> (8 * (index & 7))); }
    void set_octet(int index, uint8_t value) {
        uint64_t& half = index < 8 ? low : high;
        const int shift = 8 * (index & 7);
        half = (half & ~(uint64_t{0xFF} << shift)) | (uint64_t{value} << shift);
    }
    // Bits [32 * index, 32 * index + 32).
    uint32_t lane(int index) const { return static_cast<uint32_t>((index < 2 ? low : high) >> (32 * (index & 1))); }
    void set_lane(int index, uint32_t value) {
        uint64_t& half = index < 2 ? low : high;
        const int shift = 32 * (index & 1);
        half = (half & ~(uint64_t{0xFFFFFFFF} << shift)) | (uint64_t{value} << shift);
    }

    ap_uint operator~() const { return {~high, ~low}; }
    ap_uint operator&(const ap_uint& other) const { return {high & other.high, low & other.low}; }
    ap_uint operator|(const ap_uint& other) const { return {high | other.high, low | other.low}; }
    ap_uint operator^(const ap_uint& other) const { return {high ^ other.high, low ^ other.low}; }
    ap_uint& operator^=(const ap_uint& other) { return *this = *this ^ other; }
    bool operator==(const ap_uint& other) const { return low == other.low && high == other.high; }
};

#endif
