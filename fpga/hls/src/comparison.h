// Comparison by oblivious transfer: max(x, 0) of shared words (fpga/protocols/beaver_ot_compare.py), tile by tile.
//
// Seven exchanges: the receiver's masked choices, the sender's tables (drelu's leaves), three levels of AND, the
// multiplexer's masked bits and its words.
#ifndef RRNET_COMPARISON_H
#define RRNET_COMPARISON_H

#include "dcf.h"
#include "message.h"
#include "planes.h"

namespace rrnet {

constexpr int DIGITS = 8, LOWEST_BITS = 3, DIGIT_BITS = 4;
constexpr uint32_t CHOICE_PLANES = 31, MESSAGE_PLANES = 217, OT_MASK_PLANES = 232, LEAF_PLANES = 15;
constexpr uint32_t ONEHOT_PLANES = 120;
constexpr int AND_LEVELS = 3;
constexpr uint32_t AND_OPENED_PLANES[AND_LEVELS] = {11, 5, 2}, AND_GATES[AND_LEVELS] = {7, 3, 1};

// Planes of a tile's working state in the buffer.
constexpr uint32_t GREATER = 0, EQUAL = 8, SHARED = 15, THEIRS = SHARED + 11, POSITIVE = 46, ASKED = 47, ASKING = 48;
constexpr uint32_t STATE_PLANES = 49;

// Phases of one comparison, as the protocol counts them.
enum ComparePhase : uint32_t {
    CHOICES = 0, SEND_CHOICES, LEAVES, SEND_TABLES, AND0, OPEN0, AND1, OPEN1, AND2, OPEN2,
    SELECT, SEND_BITS, MULTIPLEX, SEND_WORDS, COMBINE, COMPARE_PHASES
};

// Octets at which the parts of one comparison of `elements` words begin in a party's keystream and corrections.
struct CompareOffsets {
    uint64_t tables = 0, choices = 0, masks[AND_LEVELS] = {}, products[AND_LEVELS] = {};
    uint64_t base = 0, step = 0, choice = 0, received = 0, keys = 0;
    uint64_t own_end = 0, dealt_end = 0;

    CompareOffsets() = default;
    CompareOffsets(int party, uint64_t elements, uint64_t own_start, uint64_t dealt_start);
    // Of `masked`: tables are the one-hot words, choice the sign's mask, base r_d and received its products with the
    // forms of the mask. Of `masked-dcf` tables are the roots of the comparison keys, and keys their correction words.
    static CompareOffsets masked(int party, uint64_t elements, uint64_t own_start, uint64_t dealt_start, int forms,
                                 bool functions);
};

// What is truncated or lifted lies within ±2^30: opened words are raised by it.
constexpr uint32_t TRUNCATION_BOUND = uint32_t{1} << 30;

// A and t of z = A − ρ_t from the opened word, where z is y without its `bits` low bits.
inline uint64_t lifted_public(uint32_t opened, uint32_t bits, uint32_t& form) {
    const uint32_t word = opened + TRUNCATION_BOUND;
    form = word >> 31;
    return uint64_t{word >> bits} - (TRUNCATION_BOUND >> bits);
}

// Where the forms ρ_t of a value x = A − ρ_t lie: with the comparison in the buffer, in memory, in a keystream of this
// operation, or with the truncation that made the value.
struct MaskForms {
    Words held;
    const Port* memory = nullptr;
    uint32_t address = 0;
    bool lifted = false, wide = false;
    uint32_t bits = 0;  // that the truncation dropped
    Material material;
    uint64_t own_base = 0, dealt_base = 0;

    int count() const { return lifted ? 2 : 1; }
    // Elements [place, place + elements) of `whole`, of form t, as words of 64 bits.
    Status read(int form, uint64_t whole, uint64_t place, uint32_t elements, uint64_t* out) const;
};

// Octets that party 0 (direction 0) or party 1 (direction 1) sends in a phase.
uint64_t compare_message(uint32_t phase, int direction, uint32_t elements);

// One level of comparisons of one tile.
struct Comparison {
    int party = 0;
    uint32_t elements = 0;  // of the tile
    uint64_t whole = 0;     // of all tiles
    Runs runs;              // place of the tile's elements among them
    CompareOffsets at;
    Keystream own;
    Corrections dealt;
    Words x;       // shares in, shares of max(x, 0) out
    PlaneStore planes;
    Words answer;  // the other party's words, over planes that are no longer needed
    bool masked = false;     // x is the opened word M whose sign is asked for
    bool functions = false;  // by comparison functions, not by one-hot words
    const DcfKeys* keys = nullptr;  // of their hash
    MaskForms forms;

    Status compute(uint32_t phase);
    Status send(uint32_t phase, Sender& sender);
    Status receive(uint32_t phase, Receiver& receiver);
    // `masked`: the masked words of differences that are opened for themselves.
    Status send_opened(Sender& sender) const;

  private:
    Status send_choices(Sender& sender);
    Status send_tables(Sender& sender);
    Status choose(Receiver& receiver);
    Status prepare_and(int level);
    Status finish_and(int level);
    Status select();
    Status send_words(Sender& sender);
    Status combine();
    Status masked_leaves();
    Status evaluate_functions();
    template <typename Source>
    Status read_blocks(const Source& source, uint64_t base, const Slice& slice, bus_t* out) const;
    Status masked_select();
    Status masked_combine();
    Status mask_words(const Slice& slice, int form, uint32_t* out) const;
    template <typename Source>
    Status gather(const Source& source, uint64_t base, uint32_t plane, const Slice& slice, bus_t& out) const {
        return gather_slice(source, base, whole, plane, runs, slice, out);
    }
    Status own_words(uint64_t base, const Slice& slice, uint32_t* out) const;
    Status dealt_words(uint64_t base, const Slice& slice, uint32_t* out) const;
};

}  // namespace rrnet

#endif
