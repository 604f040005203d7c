// Comparison on an opened word (fpga/protocols/masked_compare.py): the sign of y = M − r from the public M and dealt
// one-hot words of r's digits, and max(x, 0) from it. Four exchanges: three levels of AND and the masked sign; with
// comparison functions (dcf.cpp) the sign alone.
#include "comparison.h"

#include "dcf.h"

namespace rrnet {

CompareOffsets CompareOffsets::masked(int party, uint64_t elements, uint64_t own_start, uint64_t dealt_start,
                                      int forms, bool functions) {
    const uint64_t plane = whole_plane_octets(elements), words = 4 * elements;
    CompareOffsets at;
    uint64_t own = own_start, dealt = dealt_start;
    uint64_t& corrected = party == 0 ? own : dealt;
    const auto take = [](uint64_t& position, uint64_t octets) {
        const uint64_t start = position;
        position += octets;
        return start;
    };
    if (functions) {
        at.tables = take(own, BUS_OCTETS * elements);
        at.keys = take(dealt, DCF_BLOCKS * BUS_OCTETS * elements);
    } else {
        at.tables = take(corrected, ONEHOT_PLANES * plane);
    }
    at.choice = take(own, plane);
    for (int level = 0; level < AND_LEVELS && !functions; ++level) {
        at.masks[level] = take(own, AND_OPENED_PLANES[level] * plane);
        at.products[level] = take(corrected, AND_GATES[level] * plane);
    }
    at.base = take(corrected, words);
    at.received = take(corrected, forms * words);
    at.own_end = own;
    at.dealt_end = dealt;
    return at;
}

// Shares of [m < r] and [m = r] per digit: every value's one-hot bit, where the public digit says that it counts.
Status Comparison::masked_leaves() {
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        uint32_t plane = 0;
        for (int digit = 0; digit < DIGITS; ++digit) {
            const int bits = digit == 0 ? LOWEST_BITS : DIGIT_BITS;
            const int first = digit == 0 ? 0 : LOWEST_BITS + DIGIT_BITS * (digit - 1);
            bus_t value[DIGIT_BITS], below = 0, less = 0, equal = 0;
            for (int bit = 0; bit < bits; ++bit) {
                value[bit] = word_slice(x.data + slice.first, slice.elements, first + bit);
            }
            for (int u = 0; u < 1 << bits; ++u) {
#pragma HLS PIPELINE II = 1
                const bus_t is = digit_is(value, bits, u);
                bus_t onehot;
                if (party == 0) RRNET_TRY(gather(own, at.tables, plane++, slice, onehot));
                else RRNET_TRY(gather(dealt, at.tables, plane++, slice, onehot));
                less ^= onehot & below;
                equal ^= onehot & is;
                below ^= is;
            }
            planes.write(GREATER + digit, slice, less);
            if (digit) planes.write(EQUAL + digit - 1, slice, equal);
        }
    }
    return Status::done;
}

Status Comparison::send_opened(Sender& sender) const {
    for (uint32_t i = 0; i < elements; ++i) {
#pragma HLS PIPELINE II = 1
        sender.put_word(x.data[i]);
    }
    return Status::done;
}

// The masked sign: msb(M) ⊕ msb(r) ⊕ [low(M) < low(r)], negated, under the mask r_d.
Status Comparison::masked_select() {
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
#pragma HLS PIPELINE II = 1
        const Slice slice = slice_of(number, elements);
        bus_t sign;
        RRNET_TRY(gather(own, at.choice, 0, slice, sign));
        sign ^= planes.read(GREATER, slice);
        if (party == 0) sign ^= ~word_slice(x.data + slice.first, slice.elements, 31);
        planes.write(ASKED, slice, sign);
    }
    return Status::done;
}

Status Comparison::mask_words(const Slice& slice, int form, uint32_t* out) const {
    if (forms.held.count) {
        for (uint32_t i = 0; i < slice.elements; ++i) out[i] = forms.held.data[slice.first + i];
        return Status::done;
    }
    const auto read = [&](uint32_t done, uint32_t count, uint64_t place) {
        uint64_t words[SLICE_ELEMENTS];
        RRNET_TRY(forms.read(form, whole, place, count, words));
        for (uint32_t i = 0; i < count; ++i) out[done + i] = static_cast<uint32_t>(words[i]);
        return Status::done;
    };
    return for_pieces(runs, slice.first, slice.elements, SLICE_ELEMENTS, read);
}

Status MaskForms::read(int form, uint64_t whole, uint64_t place, uint32_t elements, uint64_t* out) const {
    constexpr uint32_t CHUNK = 128;
    uint32_t words[2 * CHUNK];
    const uint64_t width = wide ? 2 : 1, skip = 4 * width * whole * form;
    for (uint32_t done = 0; done < elements; done += CHUNK) {
        const uint32_t count = elements - done < CHUNK ? elements - done : CHUNK;
        const uint64_t first = width * (place + done);
        const uint32_t length = static_cast<uint32_t>(width) * count;
        if (memory) RRNET_TRY(memory->read_words(address, first, length, words));
        else if (lifted) RRNET_TRY(material.read_words(own_base + skip, dealt_base + skip, first, length, words));
        else RRNET_TRY(material.own.read_words(own_base, first, length, words));
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
            out[done + i] = wide ? uint64_t{words[2 * i + 1]} << 32 | words[2 * i] : words[i];
        }
    }
    return Status::done;
}

// [i = 0]·ŝ·A − ŝ·ρ_t,i + (1 − 2ŝ)(A·r_d,i − (r_d·ρ_t)_i) for x = A − ρ_t.
Status Comparison::masked_combine() {
    uint32_t mask[2][SLICE_ELEMENTS] = {}, product[2][SLICE_ELEMENTS] = {}, bit[SLICE_ELEMENTS];
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        const bus_t sign = planes.read(ASKED, slice) ^ planes.read(ASKING, slice);
        RRNET_TRY(dealt_words(at.base, slice, bit));
        for (int form = 0; form < (forms.lifted ? 2 : 1); ++form) {
            RRNET_TRY(mask_words(slice, form, mask[form]));
            RRNET_TRY(dealt_words(at.received + 4 * whole * form, slice, product[form]));
        }
        for (uint32_t i = 0; i < slice.elements; ++i) {
#pragma HLS PIPELINE II = 1
            uint32_t& word = x.data[slice.first + i];
            const uint32_t positive = slice_bit(sign, i);
            uint32_t form = 0;
            const uint32_t open = forms.lifted ? static_cast<uint32_t>(lifted_public(word, forms.bits, form)) : word;
            const uint32_t rest = (1 - 2 * positive) * (open * bit[i] - product[form][i]) - positive * mask[form][i];
            word = party == 0 ? rest + positive * open : rest;
        }
    }
    return Status::done;
}

}  // namespace rrnet
