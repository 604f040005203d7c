// Drives one verilated module: words into every stream, words out of one, each stalling at random.
//
// Standard input and output are little-endian uint32 words.
//   in:  number of runs, then per run: seed, stalls (of 256 cycles), most cycles, values of the configuration pins,
//        per input stream the number of bus words and the words, number of bus words that must come out
//   out: per run: status (0 done, 1 stuck, 2 too many words), cycles, number of bus words, the words
// With an argument, a waveform of the first run is written to that file (built with --trace only). Exit status 3: the
// input ends early, 4: the waveform's file cannot be written.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "ports.h"  // generated: Model, Stream, bind_ports, CONFIG_PINS, INPUT_STREAMS
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

static uint32_t get() {
    uint32_t word;
    if (std::fread(&word, 4, 1, stdin) != 1) std::exit(3);
    return word;
}

static void put(uint32_t word) { std::fwrite(&word, 4, 1, stdout); }

struct Random {
    uint64_t state;
    uint32_t next() {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return uint32_t(state >> 24);
    }
    bool stalls(uint32_t of_256) { return (next() & 255) < of_256; }
};

struct Source {
    std::vector<uint32_t> words;
    size_t position = 0, count = 0;
    bool offered = false;  // a word that is offered stays until it is taken
};

static const int EXTRA_CYCLES = 64;  // in which no further word may come

int main(int argc, char** argv) {
    VerilatedContext context;
    Model top(&context);
    std::vector<Stream> inputs;
    Stream output;
    std::vector<CData*> pins;
    bind_ports(top, pins, inputs, output);
    uint64_t time = 0;
#if VM_TRACE
    VerilatedVcdC trace;
    if (argc > 1) {
        context.traceEverOn(true);
        top.trace(&trace, 2);
        trace.open(argv[1]);
        if (!trace.isOpen()) return 4;
    }
#endif
    auto tick = [&]() {
        top.clk = 1;
        top.eval();
#if VM_TRACE
        if (argc > 1) trace.dump(time + 1);
#endif
        top.clk = 0;
        time += 2;
    };
    const uint32_t runs = get();
    for (uint32_t run = 0; run < runs; run++) {
        Random random{0x9E3779B97F4A7C15ull + get() * 0xBF58476D1CE4E5B9ull};
        const uint32_t stalls = get(), most = get();
        for (CData* pin : pins) *pin = CData(get());
        std::vector<Source> sources(inputs.size());
        for (size_t i = 0; i < inputs.size(); i++) {
            sources[i].count = get();
            sources[i].words.resize(sources[i].count * inputs[i].words);
            for (uint32_t& word : sources[i].words) word = get();
            *inputs[i].valid = 0;
        }
        const uint32_t expected = get();
        *output.ready = 0;
        top.rst = 1;
        for (int i = 0; i < 12; i++) {
            top.eval();
            tick();
        }
        top.rst = 0;
        std::vector<uint32_t> received;
        uint32_t count = 0, cycles = 0, done_at = 0;
        for (; cycles < most && (count < expected || cycles < done_at + EXTRA_CYCLES); cycles++) {
            for (size_t i = 0; i < inputs.size(); i++) {
                Source& source = sources[i];
                if (!source.offered && source.position < source.count && !random.stalls(stalls)) {
                    source.offered = true;
                    for (int w = 0; w < inputs[i].words; w++)
                        inputs[i].data[w] = source.words[source.position * inputs[i].words + w];
                }
                *inputs[i].valid = source.offered;
            }
            *output.ready = !random.stalls(stalls);
            top.eval();
#if VM_TRACE
            if (argc > 1) trace.dump(time);
#endif
            for (size_t i = 0; i < inputs.size(); i++)
                if (sources[i].offered && *inputs[i].ready) sources[i].offered = false, sources[i].position++;
            if (*output.valid && *output.ready) {
                received.insert(received.end(), output.data, output.data + output.words);
                count++;
                done_at = cycles + 1;
            }
            tick();
        }
        put(count < expected ? 1 : count > expected ? 2 : 0);
        put(done_at);
        put(count);
        for (uint32_t word : received) put(word);
#if VM_TRACE
        if (argc > 1) trace.flush();
#endif
    }
    return 0;
}
