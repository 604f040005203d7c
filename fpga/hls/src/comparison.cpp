#include "comparison.h"

namespace rrnet {

namespace {

constexpr int most_entries = 1 << DIGIT_BITS;

int digit_bits(int digit) { return digit == 0 ? LOWEST_BITS : DIGIT_BITS; }
int first_bit(int digit) { return digit == 0 ? 0 : LOWEST_BITS + DIGIT_BITS * (digit - 1); }
// The lowest digit needs no "equal".
int digit_results(int digit) { return digit == 0 ? 1 : 2; }

// For each value v of a digit: table[v][0] = [v > threshold], table[v][1] = [v = threshold].
void comparison_table(const bus_t* threshold, int bits, bus_t table[][2]) {
    bus_t below = 0;
    for (int v = 0; v < 1 << bits; ++v) {
#pragma HLS PIPELINE II = 1
        const bus_t equal = digit_is(threshold, bits, v);
        table[v][0] = below;
        table[v][1] = equal;
        below ^= equal;
    }
}

// Entry v becomes entry v XOR digit, by a butterfly of conditional exchanges.
void exchange_entries(bus_t table[][2], const bus_t* digit, int bits) {
    for (int bit = 0; bit < bits; ++bit) {
        for (int v = 0; v < 1 << bits; ++v) {
#pragma HLS PIPELINE II = 1
            const int other = v | 1 << bit;
            if (other == v) continue;
            for (int k = 0; k < 2; ++k) {
                const bus_t difference = (table[v][k] ^ table[other][k]) & digit[bit];
                table[v][k] ^= difference;
                table[other][k] ^= difference;
            }
        }
    }
}

// Where a digit's result k (greater, equal) is kept, and its number among the 15 leaves.
uint32_t leaf_store(int digit, int k) { return k == 0 ? GREATER + digit : EQUAL + digit - 1; }
uint32_t leaf_number(int digit, int k) { return digit == 0 ? 0 : 1 + 2 * (digit - 1) + k; }

}  // namespace

CompareOffsets::CompareOffsets(int party, uint64_t elements, uint64_t own_start, uint64_t dealt_start) {
    const uint64_t plane = whole_plane_octets(elements), words = 4 * elements;
    uint64_t own = own_start, dealt = dealt_start;
    const auto take = [](uint64_t& position, uint64_t octets) {
        const uint64_t start = position;
        position += octets;
        return start;
    };
    if (party == 0) {
        tables = take(own, OT_MASK_PLANES * plane);
    } else {
        choices = take(own, CHOICE_PLANES * plane);
        tables = take(dealt, LEAF_PLANES * plane);
    }
    for (int level = 0; level < AND_LEVELS; ++level) {
        masks[level] = take(own, AND_OPENED_PLANES[level] * plane);
        products[level] = take(party == 0 ? own : dealt, AND_GATES[level] * plane);
    }
    if (party == 0) {
        base = take(own, words);
        step = take(own, words);
        choice = take(own, plane);
        received = take(own, words);
    } else {
        choice = take(own, plane);
        step = take(own, words);
        received = take(dealt, words);
        base = take(dealt, words);
    }
    own_end = own;
    dealt_end = dealt;
}

uint64_t compare_message(uint32_t phase, int direction, uint32_t elements) {
    const uint64_t plane = plane_octets(elements);
    switch (phase) {
        case SEND_CHOICES: return direction == 1 ? CHOICE_PLANES * plane : 0;
        case SEND_TABLES: return direction == 0 ? MESSAGE_PLANES * plane : 0;
        case OPEN0: return AND_OPENED_PLANES[0] * plane;
        case OPEN1: return AND_OPENED_PLANES[1] * plane;
        case OPEN2: return AND_OPENED_PLANES[2] * plane;
        case SEND_BITS: return plane;
        case SEND_WORDS: return 4 * uint64_t{elements};
        default: return 0;
    }
}

Status Comparison::own_words(uint64_t base, const Slice& slice, uint32_t* out) const {
    const auto read = [&](uint32_t done, uint32_t count, uint64_t place) {
        return own.read_words(base, place, count, out + done);
    };
    return for_pieces(runs, slice.first, slice.elements, SLICE_ELEMENTS, read);
}

Status Comparison::dealt_words(uint64_t base, const Slice& slice, uint32_t* out) const {
    if (party == 0) return own_words(base, slice, out);
    const auto read = [&](uint32_t done, uint32_t count, uint64_t place) {
        return dealt.read_words(base, place, count, out + done);
    };
    return for_pieces(runs, slice.first, slice.elements, SLICE_ELEMENTS, read);
}

Status Comparison::compute(uint32_t phase) {
    switch (phase) {
        case LEAVES: return functions ? evaluate_functions() : masked ? masked_leaves() : Status::done;
        case AND0: return prepare_and(0);
        case AND1: RRNET_TRY(finish_and(0)); return prepare_and(1);
        case AND2: RRNET_TRY(finish_and(1)); return prepare_and(2);
        case SELECT:
            if (!functions) RRNET_TRY(finish_and(2));
            return masked ? masked_select() : select();
        case COMBINE: return masked ? masked_combine() : combine();
        default: return Status::done;  // done while the message is sent or received
    }
}

Status Comparison::send(uint32_t phase, Sender& sender) {
    if (phase == SEND_CHOICES) return send_choices(sender);
    if (phase == SEND_TABLES) return send_tables(sender);
    if (phase == SEND_WORDS) return send_words(sender);
    const uint32_t first = phase == SEND_BITS ? ASKED : SHARED;
    const uint32_t count = phase == SEND_BITS ? 1 : AND_OPENED_PLANES[(phase - OPEN0) / 2];
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        for (uint32_t plane = 0; plane < count; ++plane) {
#pragma HLS PIPELINE II = 1
            sender.put(planes.read(first + plane, slice), slice.octets());
        }
    }
    return Status::done;
}

Status Comparison::receive(uint32_t phase, Receiver& receiver) {
    if (phase == SEND_TABLES) return choose(receiver);
    if (phase == SEND_WORDS) {
        for (uint32_t i = 0; i < elements; ++i) {
#pragma HLS PIPELINE II = 1
            RRNET_TRY(receiver.take_word(answer.data[i]));
        }
        return Status::done;
    }
    uint32_t first = THEIRS, count = 1;
    if (phase == SEND_CHOICES) first = SHARED, count = CHOICE_PLANES;
    else if (phase == SEND_BITS) first = ASKING;
    else count = AND_OPENED_PLANES[(phase - OPEN0) / 2];
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        for (uint32_t plane = 0; plane < count; ++plane) {
#pragma HLS PIPELINE II = 1
            bus_t value;
            RRNET_TRY(receiver.take(slice.octets(), value));
            planes.write(first + plane, slice, value);
        }
    }
    return Status::done;
}

// Party 1 chooses with the digits of its share, masked by its random choices.
Status Comparison::send_choices(Sender& sender) {
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        for (uint32_t bit = 0; bit < CHOICE_PLANES; ++bit) {
#pragma HLS PIPELINE II = 1
            bus_t mask;
            RRNET_TRY(gather(own, at.choices, bit, slice, mask));
            sender.put(mask ^ word_slice(x.data + slice.first, slice.elements, bit), slice.octets());
        }
    }
    return Status::done;
}

// Party 0 answers with a masked table per digit; its own share absorbs the message of value 0.
Status Comparison::send_tables(Sender& sender) {
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        uint32_t mask_plane = 0;
        for (int digit = 0; digit < DIGITS; ++digit) {
            const int bits = digit_bits(digit), results = digit_results(digit);
            bus_t threshold[DIGIT_BITS], choice[DIGIT_BITS], table[most_entries][2], mask[most_entries][2];
            for (int bit = 0; bit < bits; ++bit) {
                threshold[bit] = ~word_slice(x.data + slice.first, slice.elements, first_bit(digit) + bit);
                choice[bit] = planes.read(SHARED + first_bit(digit) + bit, slice);
            }
            for (int v = 0; v < 1 << bits; ++v) {
                for (int k = 0; k < results; ++k) {
#pragma HLS PIPELINE II = 1
                    RRNET_TRY(gather(own, at.tables, mask_plane++, slice, mask[v][k]));
                }
            }
            comparison_table(threshold, bits, table);
            exchange_entries(mask, choice, bits);
            for (int v = 0; v < 1 << bits; ++v) {
                for (int k = 0; k < results; ++k) {
#pragma HLS PIPELINE II = 1
                    table[v][k] ^= mask[v][k];
                    if (v) sender.put(table[v][k] ^ table[0][k], slice.octets());
                    else planes.write(leaf_store(digit, k), slice, table[0][k]);
                }
            }
        }
    }
    return Status::done;
}

// Party 1 takes the entry that each digit of its share names; value 0 has no message.
Status Comparison::choose(Receiver& receiver) {
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        for (int digit = 0; digit < DIGITS; ++digit) {
            const int bits = digit_bits(digit), results = digit_results(digit);
            bus_t own_bits[DIGIT_BITS], chosen[2];
            for (int bit = 0; bit < bits; ++bit) {
                own_bits[bit] = word_slice(x.data + slice.first, slice.elements, first_bit(digit) + bit);
            }
            for (int k = 0; k < results; ++k) {
                RRNET_TRY(gather(dealt, at.tables, leaf_number(digit, k), slice, chosen[k]));
            }
            for (int v = 1; v < 1 << bits; ++v) {
                const bus_t named = digit_is(own_bits, bits, v);
                for (int k = 0; k < results; ++k) {
#pragma HLS PIPELINE II = 1
                    bus_t entry;
                    RRNET_TRY(receiver.take(slice.octets(), entry));
                    chosen[k] ^= entry & named;
                }
            }
            for (int k = 0; k < results; ++k) planes.write(leaf_store(digit, k), slice, chosen[k]);
        }
    }
    return Status::done;
}

// A pair of digits opens (equal_hi, greater_lo, equal_lo), the lowest pair no equal_lo.
Status Comparison::prepare_and(int level) {
    const uint32_t pairs = 4u >> level;
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        for (uint32_t i = 0; i < AND_OPENED_PLANES[level]; ++i) {
#pragma HLS PIPELINE II = 1
            const uint32_t source = i < pairs       ? EQUAL + 2 * i
                                    : i < 2 * pairs ? GREATER + 2 * (i - pairs)
                                                    : EQUAL + 2 * (i - 2 * pairs) + 1;
            bus_t mask;
            RRNET_TRY(gather(own, at.masks[level], i, slice, mask));
            planes.write(SHARED + i, slice, planes.read(source, slice) ^ mask);
        }
    }
    return Status::done;
}

// greater = greater_hi ⊕ equal_hi ∧ greater_lo, equal = equal_hi ∧ equal_lo.
Status Comparison::finish_and(int level) {
    const uint32_t pairs = 4u >> level;
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        bus_t mask[11], opened[11], result[7];
        for (uint32_t i = 0; i < AND_OPENED_PLANES[level]; ++i) {
            RRNET_TRY(gather(own, at.masks[level], i, slice, mask[i]));
            opened[i] = planes.read(SHARED + i, slice) ^ planes.read(THEIRS + i, slice);
        }
        for (uint32_t gate = 0; gate < AND_GATES[level]; ++gate) {
#pragma HLS PIPELINE II = 1
            const uint32_t first = gate < pairs ? gate : gate - pairs + 1, second = pairs + gate;
            if (party == 0) RRNET_TRY(gather(own, at.products[level], gate, slice, result[gate]));
            else RRNET_TRY(gather(dealt, at.products[level], gate, slice, result[gate]));
            result[gate] ^= (opened[first] & mask[second]) ^ (opened[second] & mask[first]);
            if (party == 0) result[gate] ^= opened[first] & opened[second];
        }
        for (uint32_t pair = 0; pair < pairs; ++pair) {
            planes.write(GREATER + pair, slice, planes.read(GREATER + 2 * pair + 1, slice) ^ result[pair]);
            if (pair + 1 < pairs) planes.write(EQUAL + pair, slice, result[pairs + pair]);
        }
    }
    return Status::done;
}

// The sign from the carry and the shares' top bits, and the multiplexer's masked choice.
Status Comparison::select() {
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
#pragma HLS PIPELINE II = 1
        const Slice slice = slice_of(number, elements);
        const bus_t top = word_slice(x.data + slice.first, slice.elements, 31);
        const bus_t positive = planes.read(GREATER, slice) ^ (party == 0 ? bus_t(~top) : top);
        bus_t choice;
        RRNET_TRY(gather(own, at.choice, 0, slice, choice));
        planes.write(POSITIVE, slice, positive);
        planes.write(ASKED, slice, positive ^ choice);
    }
    return Status::done;
}

Status Comparison::send_words(Sender& sender) {
    uint32_t step[SLICE_ELEMENTS];
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        const bus_t own_bits = planes.read(POSITIVE, slice), asked_bits = planes.read(ASKING, slice);
        RRNET_TRY(own_words(at.step, slice, step));
        for (uint32_t i = 0; i < slice.elements; ++i) {
#pragma HLS PIPELINE II = 1
            const uint32_t bit = slice_bit(own_bits, i), asked = slice_bit(asked_bits, i);
            sender.put_word(x.data[slice.first + i] * (1 - 2 * bit) + step[i] * (2 * asked - 1));
        }
    }
    return Status::done;
}

Status Comparison::combine() {
    uint32_t base[SLICE_ELEMENTS], step[SLICE_ELEMENTS], received[SLICE_ELEMENTS];
    for (uint32_t number = 0; number < slice_count(elements); ++number) {
        const Slice slice = slice_of(number, elements);
        const bus_t own_bits = planes.read(POSITIVE, slice), asked_bits = planes.read(ASKING, slice);
        RRNET_TRY(own_words(at.step, slice, step));
        RRNET_TRY(dealt_words(at.base, slice, base));
        RRNET_TRY(dealt_words(at.received, slice, received));
        for (uint32_t i = 0; i < slice.elements; ++i) {
#pragma HLS PIPELINE II = 1
            const uint32_t bit = slice_bit(own_bits, i), asked_mask = base[i] + slice_bit(asked_bits, i) * step[i];
            uint32_t& word = x.data[slice.first + i];
            word = word * bit - asked_mask + received[i] + bit * answer.data[slice.first + i];
        }
    }
    return Status::done;
}

}  // namespace rrnet
