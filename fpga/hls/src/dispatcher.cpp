#include "dispatcher.h"

namespace rrnet {

namespace {

bool moves_message(uint8_t opcode) { return opcode == RRNET_OP_SEND || opcode == RRNET_OP_RECEIVE; }
int direction_of(uint8_t opcode) { return opcode == RRNET_OP_SEND ? 0 : 1; }

}  // namespace

#ifndef __SYNTHESIS__
Network* attached_network = nullptr;
#endif

// The next instruction of a queue becomes its head; none where the program has no more of it.
Status Dispatcher::fetch(uint32_t queue) {
    while (!ready[queue] && position[queue] < program.count()) {
        RRNET_TRY(program.instruction(position[queue]++, head[queue]));
        ready[queue] = head[queue].fields.queue == queue;
    }
    return Status::done;
}

bool Dispatcher::waits_hold(const Instruction& instruction) const {
    for (int i = 0; i < RRNET_WAITS; ++i) {
        if (completed[instruction.wait_queue[i]] < instruction.wait_count[i]) return false;
    }
    return true;
}

// Party 0 sends what SEND says and receives what RECEIVE says; party 1 swaps the two.
bool Dispatcher::arrives_here(const Instruction& instruction) const {
    return moves_message(instruction.fields.opcode) && direction_of(instruction.fields.opcode) != chip.party;
}

// On the fabric a message's words are waited for one by one (message.h).
bool Dispatcher::has_arrived(uint32_t octets) const {
#ifdef __SYNTHESIS__
    (void)octets;
    return true;
#else
    return from_peer.size() >= message_words(octets);
#endif
}

uint32_t Dispatcher::first_queue() {
    if (!random) return 0;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return static_cast<uint32_t>(random % QUEUES);
}

Status Dispatcher::run(Counters& counters) {
    while (counted.instructions < program.count()) {
        uint32_t started = 0;
        bool waits_for_message = false;
        const Status status = take_turns(started, waits_for_message);
        counters = counted;
        RRNET_TRY(status);
        if (started) continue;
        RRNET_REQUIRE(waits_for_message, stuck);
#ifndef __SYNTHESIS__
        RRNET_REQUIRE(attached_network && attached_network->wait(), link);
#endif
    }
    return Status::done;
}

// One round over the queues: each starts at most one instruction.
Status Dispatcher::take_turns(uint32_t& started, bool& waits_for_message) {
    const uint32_t first = first_queue();
    for (uint32_t i = 0; i < QUEUES; ++i) {
        const uint32_t queue = (first + i) % QUEUES;
        RRNET_TRY(fetch(queue));
        if (!ready[queue] || !waits_hold(head[queue])) continue;
        if (arrives_here(head[queue]) && !has_arrived(head[queue].fields.amount)) {
            waits_for_message = true;
            continue;
        }
        RRNET_TRY(execute(head[queue]));
        ready[queue] = false;
        ++completed[queue];
        ++counted.instructions;
        ++started;
    }
    return Status::done;
}

Status Dispatcher::execute(const Instruction& instruction) {
    const rrnet_instruction& fields = instruction.fields;
    if (fields.opcode == RRNET_OP_WAIT) return Status::done;
    if (fields.opcode == RRNET_OP_LOAD || fields.opcode == RRNET_OP_LOAD_WEIGHTS) return load(instruction);
    Tile tile;
    RRNET_TRY(find_tile(instruction, tile));
    RRNET_REQUIRE(tile.state->loaded, order);
    if (moves_message(fields.opcode)) return exchange(instruction, tile);
    if (fields.opcode == RRNET_OP_STORE) {
        RRNET_TRY(advance(tile, tile.stage.end_phase));
        RRNET_TRY(store_tile(chip, tile));
        tile.state->loaded = false;
        return Status::done;
    }
    return advance(tile, uint32_t{fields.phase} + 1);
}

// The stage of the operation that has the instruction's phase, and its tile.
Status Dispatcher::find_tile(const Instruction& instruction, Tile& tile) const {
    const rrnet_instruction& fields = instruction.fields;
    tile.index = fields.operation;
    RRNET_TRY(program.operation(tile.index, tile.op));
    const bool store = fields.opcode == RRNET_OP_STORE;
    for (uint32_t i = 0; i < tile.op.stages; ++i) {
        RRNET_TRY(program.stage(tile.op.first_stage + i, tile.stage));
        const rrnet_stage& stage = tile.stage;
        const bool inside = stage.first_phase <= fields.phase && fields.phase < stage.end_phase;
        if (store ? fields.phase != stage.end_phase : !inside) continue;
        RRNET_REQUIRE(stage.operation == tile.index, operands);
        if (fields.opcode == RRNET_OP_LOAD_WEIGHTS) return Status::done;
        RRNET_REQUIRE(fields.tile < stage.tiles, instructions);
        rrnet_tile record;
        RRNET_TRY(program.tile(stage.first_tile + fields.tile, record));
        tile.region = {record.channel_begin, record.channel_end, record.row_begin, record.row_end};
        tile.needed = needed_region(tile.op, tile.region);
        tile.band = record.band == RRNET_NO_BAND ? RRNET_NO_BAND : stage.first_band + record.band;
        const uint32_t height = stage.opens ? tile.op.height : tile.op.out_height;
        const uint32_t width = stage.opens ? tile.op.width : tile.op.out_width;
        tile.elements = tile.region.channels() * tile.region.rows() * width;
        tile.runs = region_runs(tile.region, height, width);
        tile.state = &chip.tiles[stage.first_tile + fields.tile];
        return Status::done;
    }
    return Status::instructions;
}

// A load takes its place on the chip: what it moves and the tile's result, in whole granules.
Status Dispatcher::load(const Instruction& instruction) {
    constexpr uint64_t GRANULE = 64;
    const rrnet_instruction& fields = instruction.fields;
    Tile tile;
    RRNET_TRY(find_tile(instruction, tile));
    RRNET_REQUIRE(fields.address % GRANULE == 0, buffer);
    if (fields.opcode == RRNET_OP_LOAD_WEIGHTS) {
        RRNET_REQUIRE(fields.tile < tile.stage.bands && tile.product(), instructions);
        return load_weights(chip, tile, tile.stage.first_band + fields.tile, fields.address, fields.count, fields.amount);
    }
    RRNET_REQUIRE(fields.count == tile.elements, instructions);
    RRNET_REQUIRE(!tile.state->loaded, order);
    const uint64_t result = uint64_t{tile.stored_octets()} * fields.count;
    const uint64_t size = (fields.amount + result + GRANULE - 1) / GRANULE * GRANULE;
    RRNET_REQUIRE(fields.address + size <= RRNET_BUFFER_BYTES, buffer);
    *tile.state = {fields.address, static_cast<uint32_t>(size), tile.stage.first_phase, 0, true};
    return load_tile(chip, tile);
}

// Everything of the tile before `phase`: a step whose cycles round to nothing has no instruction of its own.
Status Dispatcher::advance(Tile& tile, uint32_t phase) {
    TileState& state = *tile.state;
    while (state.next_phase < phase) {
        if (is_exchange(chip, tile, state.next_phase)) {
            for (int direction = 0; direction < 2; ++direction) {
                const bool due = message_octets(chip, tile, state.next_phase, direction) != 0;
                RRNET_REQUIRE(!due || (state.moved >> direction & 1), order);
            }
            state.moved = 0;
        } else {
            RRNET_TRY(compute_phase(chip, tile, state.next_phase));
        }
        ++state.next_phase;
    }
    return Status::done;
}

// A message of the tile, in the direction that the opcode names; both directions of one exchange come in any order.
Status Dispatcher::exchange(const Instruction& instruction, Tile& tile) {
    const rrnet_instruction& fields = instruction.fields;
    const int direction = direction_of(fields.opcode);
    RRNET_REQUIRE(is_exchange(chip, tile, fields.phase), instructions);
    RRNET_REQUIRE(fields.amount == message_octets(chip, tile, fields.phase, direction), message);
    RRNET_TRY(advance(tile, fields.phase));
    RRNET_REQUIRE(tile.state->next_phase == fields.phase && !(tile.state->moved >> direction & 1), order);
    tile.state->moved = static_cast<uint8_t>(tile.state->moved | 1 << direction);
    if (direction == chip.party) {
        Sender sender(to_peer, fields.amount);
        RRNET_TRY(send_phase(chip, tile, fields.phase, sender));
        counted.octets_sent += fields.amount;
        return sender.finish();
    }
    Receiver receiver(from_peer, fields.amount);
    RRNET_TRY(receive_phase(chip, tile, fields.phase, receiver));
    counted.octets_received += fields.amount;
    return receiver.finish();
}

}  // namespace rrnet
