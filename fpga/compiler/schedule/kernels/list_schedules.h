/* List schedules forwards, with buffers, and backwards from the end (list_scheduler.py). */

#ifndef LIST_SCHEDULES_H
#define LIST_SCHEDULES_H

#include "chip_buffer.h"
#include "packed_jobs.h"

/* ---- the next time at which something happens: a queue is free, or the next job of a queue is there. One heap of all
   of these would be gone through from top to bottom for each; these few numbers are compared without a branch. */

#define NEVER INT64_MAX
#define SOURCES 16
#define COMING 8 /* bits of `due` from here on: a job of the queue is there; below: the queue is free */

typedef struct {
    word next[SOURCES];  /* by bit of `due`; NEVER where nothing is waited for */
    Heap coming[QUEUES]; /* jobs by cycle */
} Clock;

/* What happens at the next time, as bits; 0: nothing any more. */
static unsigned due_next(const Clock *clock, word *now) {
    word least = NEVER;
    unsigned due = 0;
    for (int at = 0; at < SOURCES; at++) least = clock->next[at] < least ? clock->next[at] : least;
    for (int at = 0; at < SOURCES; at++) due |= (unsigned)(clock->next[at] == least) << at;
    *now = least;
    return least == NEVER ? 0 : due;
}

static void expect(Clock *clock, word queue, word time, word job) {
    push(&clock->coming[queue], time, job);
    clock->next[COMING + queue] = clock->coming[queue].entries[0].key;
}

/* The job of the queue that is there next. */
static word arrived(Clock *clock, int queue) {
    Heap *coming = &clock->coming[queue];
    word job = pop(coming).value;
    clock->next[COMING + queue] = coming->size ? coming->entries[0].key : NEVER;
    return job;
}

/* Heaps of as many entries as the queues have jobs, out of twice as many entries as there are jobs. */
static void set_up(Clock *clock, Heap *ready, const Packed *packed, Entry *entries) {
    for (int at = 0; at < SOURCES; at++) clock->next[at] = NEVER;
    for (int queue = 0; queue < QUEUES; queue++) {
        clock->coming[queue] = (Heap){entries, 0};
        ready[queue] = (Heap){entries + packed->queued[queue], 0};
        entries += 2 * packed->queued[queue];
    }
}

/* Jobs that are brought into the cache ahead, of those that another one is about to touch. */
#define FETCHED 4

/* ---- forward: start cycle and buffer address of every job */

typedef struct {
    Packed packed;
    const word *order;
    word *starts, *addresses;
    Open *open;
    Heap ready[QUEUES];
    Clock clock;
    word running[QUEUES]; /* the job that each queue works on */
    Buffer buffer;
    const word *weights; /* the loads of weights, in program order */
    word weight_loads, next_weights, computing, prefetched;
    int loads_blocked; /* nothing about loads has changed since none could start */
} Forward;

static word next_load(Forward *run) {
    const Job *jobs = run->packed.job;
    Heap *ready = &run->ready[LOAD];
    word tile = -1, weights = -1;
    if (run->loads_blocked) return -1;
    if (ready->size) tile = ready->entries[0].value;
    if (run->next_weights < run->weight_loads) {
        word index = run->weights[run->next_weights];
        if (jobs[index].product <= run->computing + run->prefetched) weights = index;
    }
    int tile_first = weights < 0 || (tile >= 0 && (run->order[tile] < run->order[weights] ||
                                                   (run->order[tile] == run->order[weights] && tile < weights)));
    for (int turn = 0; turn < 2; turn++) {
        int is_tile = turn == 0 ? tile_first : !tile_first;
        word index = is_tile ? tile : weights;
        if (index < 0) continue;
        word size = jobs[index].allocates, address = run->addresses[jobs[index].load];
        if (size) address = is_tile ? allocate_low(&run->buffer, size) : allocate_high(&run->buffer, size);
        if (address < 0) continue;
        run->addresses[index] = address;
        if (is_tile) {
            pop(ready);
            if (jobs[index].product > run->computing) run->computing = jobs[index].product;
        } else {
            run->next_weights++;
        }
        return index;
    }
    run->loads_blocked = 1;
    return -1;
}

/* The most urgent job that a free queue has starts now, if there is one. */
static int start_next(Forward *run, int queue, word now) {
    Heap *ready = &run->ready[queue];
    word index = queue == LOAD ? next_load(run) : ready->size ? pop(ready).value : -1;
    if (index < 0) return 0;
    const Job *job = run->packed.job + index;
    if (!job->allocates) run->addresses[index] = run->addresses[job->load];
    run->starts[index] = now;
    for (int32_t at = 0; at < job->readers.count && at < FETCHED; at++) { /* what `finish` will read */
        int32_t reader = run->packed.readers[job->readers.first + at];
        __builtin_prefetch(run->open + reader);
        __builtin_prefetch(run->packed.job + reader);
        __builtin_prefetch(run->order + reader);
    }
    if (job->duration) {
        run->running[queue] = index;
        run->clock.next[queue] = now + job->duration;
    }
    if (job->latency || !job->duration) expect(&run->clock, queue, now + job->duration + job->latency, index);
    return 1;
}

static unsigned finish(Forward *run, word index) {
    const Job *jobs = run->packed.job, *job = jobs + index;
    const int32_t *releases = run->packed.releases + job->releases.first;
    const int32_t *readers = run->packed.readers + job->readers.first;
    unsigned touched = 0;
    for (int32_t at = 0; at < job->releases.count; at++) {
        word load = releases[at];
        if (--run->open[load].holders == 0) {
            release(&run->buffer, run->addresses[load], jobs[load].allocates);
            run->loads_blocked = 0;
        }
    }
    for (int32_t at = 0; at < job->readers.count; at++) {
        word reader = readers[at];
        if (--run->open[reader].missing) continue;
        word queue = jobs[reader].queue;
        touched |= 1u << queue;
        __builtin_prefetch(run->packed.readers + jobs[reader].readers.first);
        push(&run->ready[queue], run->order[reader], reader);
        if (queue == LOAD) run->loads_blocked = 0;
    }
    return touched;
}

static int forward_loop(Forward *run) {
    const Job *jobs = run->packed.job;
    Clock *clock = &run->clock;
    word now = 0, done = 0;
    unsigned touched = (1u << QUEUES) - 1;
    memcpy(run->open, run->packed.open, (size_t)run->packed.jobs * sizeof(Open));
    for (word index = 0; index < run->packed.jobs; index++)
        if (!run->open[index].missing && !jobs[index].weights)
            push(&run->ready[jobs[index].queue], run->order[index], index);
    while (done < run->packed.jobs) {
        for (unsigned rest = touched | 1u << LOAD; rest; rest &= rest - 1) {
            int queue = __builtin_ctz(rest);
            while (clock->next[queue] == NEVER && start_next(run, queue, now)) {}
        }
        unsigned due = due_next(clock, &now);
        if (!due) return STUCK;
        touched = 0;
        for (; due; due &= due - 1) {
            int source = __builtin_ctz(due), queue = source % COMING;
            word index = run->running[queue];
            if (source < COMING) {
                clock->next[queue] = NEVER;
                touched |= 1u << queue;
                if (!jobs[index].latency) touched |= finish(run, index), done++;
                continue;
            }
            while (clock->next[source] == now) touched |= finish(run, arrived(clock, queue)), done++;
        }
    }
    return DONE;
}

/* `packed` is what `pack_jobs` made of the graph. */
int schedule_forward(const Graph *graph, const void *packed, const word *order, const word *weights, word weight_loads,
                     word prefetched, word buffer_bytes, word reserve, word *starts, word *addresses) {
    size_t jobs = (size_t)graph->jobs;
    Forward run = {.packed = packed_at(graph, packed), .order = order, .starts = starts, .addresses = addresses,
                   .weights = weights, .weight_loads = weight_loads, .prefetched = prefetched};
    Entry *entries = malloc(2 * jobs * sizeof(Entry) + 1);
    Range *ranges = malloc((jobs + 2) * sizeof(Range));
    int status = NO_MEMORY;
    run.open = malloc(jobs * sizeof(Open) + 1);
    memset(addresses, 0, jobs * sizeof(word));
    if (run.open && entries && ranges) {
        set_up(&run.clock, run.ready, &run.packed, entries);
        ranges[0] = (Range){0, buffer_bytes};
        run.buffer = (Buffer){ranges, 1, reserve};
        status = forward_loop(&run);
    }
    free(run.open);
    free(entries);
    free(ranges);
    return status;
}

/* ---- backward: the same from the end, buffers not counted; starts are negative cycles before the end */

typedef struct { word available, missing; } Reached; /* when all that read it are done, and how many are not */

static void backward_loop(const Packed *packed, const word *ends, Clock *clock, Heap *ready, Reached *state,
                          word *starts) {
    const Job *jobs = packed->job;
    for (word index = 0; index < packed->jobs; index++) {
        state[index] = (Reached){0, packed->unread[index]};
        if (!packed->unread[index]) expect(clock, jobs[index].queue, jobs[index].latency, index);
    }
    word now;
    for (unsigned due; (due = due_next(clock, &now));) {
        unsigned touched = 0;
        for (; due; due &= due - 1) {
            int source = __builtin_ctz(due), queue = source % COMING;
            touched |= 1u << queue;
            if (source < COMING) clock->next[queue] = NEVER;
            else while (clock->next[source] == now) {
                word index = arrived(clock, queue);
                const int32_t *dependencies = packed->dependencies + jobs[index].dependencies.first;
                for (int32_t at = 0; at < jobs[index].dependencies.count && at < FETCHED; at++) {
                    __builtin_prefetch(state + dependencies[at]);
                    __builtin_prefetch(jobs + dependencies[at]);
                }
                push(&ready[queue], -ends[index], index);
            }
        }
        for (; touched; touched &= touched - 1) {
            int queue = __builtin_ctz(touched);
            while (clock->next[queue] == NEVER && ready[queue].size) {
                word index = pop(&ready[queue]).value, reached = now + jobs[index].duration;
                if (jobs[index].duration) clock->next[queue] = reached;
                starts[index] = -reached;
                const int32_t *dependencies = packed->dependencies + jobs[index].dependencies.first;
                for (int32_t at = 0; at < jobs[index].dependencies.count; at++) {
                    word earlier = dependencies[at];
                    if (state[earlier].available < reached) state[earlier].available = reached;
                    if (--state[earlier].missing == 0) {
                        __builtin_prefetch(packed->dependencies + jobs[earlier].dependencies.first);
                        __builtin_prefetch(ends + earlier);
                        expect(clock, jobs[earlier].queue, state[earlier].available + jobs[earlier].latency, earlier);
                    }
                }
            }
        }
    }
}

int schedule_backward(const Graph *graph, const void *packed, const word *ends, word *starts) {
    size_t jobs = (size_t)graph->jobs;
    Packed read = packed_at(graph, packed);
    Reached *state = malloc(jobs * sizeof(Reached) + 1);
    Entry *entries = malloc(2 * jobs * sizeof(Entry) + 1);
    Heap ready[QUEUES];
    Clock clock;
    int status = NO_MEMORY;
    if (state && entries) {
        set_up(&clock, ready, &read, entries);
        backward_loop(&read, ends, &clock, ready, state, starts);
        status = DONE;
    }
    free(state);
    free(entries);
    return status;
}

#endif
