/* List schedules and their bounds: the loops of list_scheduler.py and bounds.py, cycle for cycle the same answers.

   A graph of jobs is one table: per job its columns, and the jobs that it waits for, that wait for it, and the loads
   whose buffers it gives back, as ranges of one list each. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define QUEUES 7
#define LOAD 0

typedef int64_t word;

enum { DONE = 0, NO_MEMORY = 1, STUCK = 2 };

typedef struct {
    word jobs;
    const word *queue, *duration, *latency, *allocates, *weights, *load, *product;
    const word *first_dependency, *dependencies; /* first_dependency has jobs + 1 entries, and so on */
    const word *first_reader, *readers;
    const word *first_release, *releases;
    const word *holders; /* stores that must be done before a load's buffer is free */
} Graph;

/* ---- heaps of (key, value), the least first; values break ties, so that the order of insertion does not matter */

typedef struct { word key, value; } Entry;
typedef struct { Entry *entries; word size; } Heap;

static int less(Entry a, Entry b) { return a.key < b.key || (a.key == b.key && a.value < b.value); }

static void push(Heap *heap, word key, word value) {
    Entry entry = {key, value};
    word at = heap->size++;
    while (at && less(entry, heap->entries[(at - 1) / 2])) {
        heap->entries[at] = heap->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->entries[at] = entry;
}

static Entry pop(Heap *heap) {
    Entry top = heap->entries[0], last = heap->entries[--heap->size];
    word at = 0, child;
    while ((child = 2 * at + 1) < heap->size) {
        if (child + 1 < heap->size && less(heap->entries[child + 1], heap->entries[child])) child++;
        if (!less(heap->entries[child], last)) break;
        heap->entries[at] = heap->entries[child];
        at = child;
    }
    heap->entries[at] = last;
    return top;
}

/* ---- the on-chip buffer: free ranges in order of address, first fit (buffers.py) */

typedef struct { word start, length; } Range;
typedef struct { Range *free; word ranges, reserve; } Buffer;

static void drop_range(Buffer *buffer, word at) {
    buffer->ranges--;
    memmove(buffer->free + at, buffer->free + at + 1, (size_t)(buffer->ranges - at) * sizeof(Range));
}

static word allocate_low(Buffer *buffer, word size) {
    for (word at = 0; at < buffer->ranges; at++) {
        Range *range = buffer->free + at;
        word start = range->start;
        if (range->length < size) continue;
        range->start += size;
        range->length -= size;
        if (!range->length) drop_range(buffer, at);
        return start;
    }
    return -1;
}

static word allocate_high(Buffer *buffer, word size) {
    for (word at = buffer->ranges - 1; at >= 0; at--) {
        Range *range = buffer->free + at;
        word begin = range->start + range->length - size;
        if (begin < range->start || begin < buffer->reserve) continue;
        range->length -= size;
        if (!range->length) drop_range(buffer, at);
        return begin;
    }
    return -1;
}

static void release(Buffer *buffer, word start, word size) {
    word at = 0;
    while (at < buffer->ranges && buffer->free[at].start < start) at++;
    int joins_before = at && buffer->free[at - 1].start + buffer->free[at - 1].length == start;
    int joins_after = at < buffer->ranges && buffer->free[at].start == start + size;
    if (joins_before) {
        buffer->free[at - 1].length += size;
        if (joins_after) {
            buffer->free[at - 1].length += buffer->free[at].length;
            drop_range(buffer, at);
        }
    } else if (joins_after) {
        buffer->free[at].start = start;
        buffer->free[at].length += size;
    } else {
        memmove(buffer->free + at + 1, buffer->free + at, (size_t)(buffer->ranges - at) * sizeof(Range));
        buffer->free[at] = (Range){start, size};
        buffer->ranges++;
    }
}

/* ---- forward: start cycle and buffer address of every job */

typedef struct {
    const Graph *graph;
    const word *order;
    word *starts, *addresses, *missing, *holders;
    Heap ready[QUEUES], events; /* an event is (cycle, 2 * job + whether its result is there) */
    Buffer buffer;
    const word *weights; /* the loads of weights, in program order */
    word weight_loads, next_weights, computing, prefetched;
    int loads_blocked; /* nothing about loads has changed since none could start */
} Forward;

static word next_load(Forward *run) {
    const Graph *graph = run->graph;
    Heap *ready = &run->ready[LOAD];
    word tile = -1, weights = -1;
    if (run->loads_blocked) return -1;
    if (ready->size) tile = ready->entries[0].value;
    if (run->next_weights < run->weight_loads) {
        word index = run->weights[run->next_weights];
        if (graph->product[index] <= run->computing + run->prefetched) weights = index;
    }
    int tile_first = weights < 0 || (tile >= 0 && (run->order[tile] < run->order[weights] ||
                                                   (run->order[tile] == run->order[weights] && tile < weights)));
    for (int turn = 0; turn < 2; turn++) {
        int is_tile = turn == 0 ? tile_first : !tile_first;
        word index = is_tile ? tile : weights;
        if (index < 0) continue;
        word size = graph->allocates[index], address = run->addresses[graph->load[index]];
        if (size) address = is_tile ? allocate_low(&run->buffer, size) : allocate_high(&run->buffer, size);
        if (address < 0) continue;
        run->addresses[index] = address;
        if (is_tile) {
            pop(ready);
            if (graph->product[index] > run->computing) run->computing = graph->product[index];
        } else {
            run->next_weights++;
        }
        return index;
    }
    run->loads_blocked = 1;
    return -1;
}

static void start(Forward *run, word index, word now, word *free_at) {
    const Graph *graph = run->graph;
    word end = now + graph->duration[index];
    if (!graph->allocates[index]) run->addresses[index] = run->addresses[graph->load[index]];
    run->starts[index] = now;
    free_at[graph->queue[index]] = end;
    push(&run->events, end, 2 * index + !graph->latency[index]);
    if (graph->latency[index]) push(&run->events, end + graph->latency[index], 2 * index + 1);
}

static unsigned finish(Forward *run, word index) {
    const Graph *graph = run->graph;
    unsigned touched = 0;
    for (word at = graph->first_release[index]; at < graph->first_release[index + 1]; at++) {
        word load = graph->releases[at];
        if (--run->holders[load] == 0) {
            release(&run->buffer, run->addresses[load], graph->allocates[load]);
            run->loads_blocked = 0;
        }
    }
    for (word at = graph->first_reader[index]; at < graph->first_reader[index + 1]; at++) {
        word reader = graph->readers[at], queue = graph->queue[reader];
        if (--run->missing[reader]) continue;
        touched |= 1u << queue;
        push(&run->ready[queue], run->order[reader], reader);
        if (queue == LOAD) run->loads_blocked = 0;
    }
    return touched;
}

static int forward_loop(Forward *run) {
    const Graph *graph = run->graph;
    word free_at[QUEUES] = {0}, now = 0, done = 0;
    unsigned touched = ~0u;
    for (word index = 0; index < graph->jobs; index++) {
        run->missing[index] = graph->first_dependency[index + 1] - graph->first_dependency[index];
        run->holders[index] = graph->holders[index];
        if (!run->missing[index] && !graph->weights[index])
            push(&run->ready[graph->queue[index]], run->order[index], index);
    }
    while (done < graph->jobs) {
        for (word queue = 0; queue < QUEUES; queue++) {
            if (queue != LOAD && !(touched >> queue & 1)) continue;
            while (free_at[queue] <= now) {
                Heap *ready = &run->ready[queue];
                word index = queue == LOAD ? next_load(run) : ready->size ? pop(ready).value : -1;
                if (index < 0) break;
                start(run, index, now, free_at);
            }
        }
        if (!run->events.size) return STUCK;
        now = run->events.entries[0].key;
        touched = 0;
        while (run->events.size && run->events.entries[0].key == now) {
            word event = pop(&run->events).value;
            touched |= 1u << graph->queue[event / 2];
            if (event % 2) {
                done++;
                touched |= finish(run, event / 2);
            }
        }
    }
    return DONE;
}

int schedule_forward(const Graph *graph, const word *order, const word *weights, word weight_loads, word prefetched,
                     word buffer_bytes, word reserve, word *starts, word *addresses) {
    word jobs = graph->jobs;
    Forward run = {.graph = graph, .order = order, .starts = starts, .addresses = addresses, .weights = weights,
                   .weight_loads = weight_loads, .prefetched = prefetched};
    size_t queued[QUEUES] = {0}, before = 0;
    for (word index = 0; index < jobs; index++) queued[graph->queue[index]]++;
    word *counts = malloc(2 * (size_t)jobs * sizeof(word));
    Entry *entries = malloc(3 * (size_t)jobs * sizeof(Entry));
    Range *ranges = malloc(((size_t)jobs + 2) * sizeof(Range));
    int status = NO_MEMORY;
    memset(addresses, 0, (size_t)jobs * sizeof(word));
    if (counts && entries && ranges) {
        run.missing = counts;
        run.holders = counts + jobs;
        for (int queue = 0; queue < QUEUES; queue++) {
            run.ready[queue].entries = entries + before;
            before += queued[queue];
        }
        run.events.entries = entries + jobs;
        ranges[0] = (Range){0, buffer_bytes};
        run.buffer = (Buffer){ranges, 1, reserve};
        status = forward_loop(&run);
    }
    free(counts);
    free(entries);
    free(ranges);
    return status;
}

/* ---- backward: the same from the end, buffers not counted; starts are negative cycles before the end */

int schedule_backward(const Graph *graph, const word *ends, word *starts) {
    word jobs = graph->jobs, free_at[QUEUES] = {0};
    size_t queued[QUEUES] = {0}, before = 0;
    for (word index = 0; index < jobs; index++) queued[graph->queue[index]]++;
    word *counts = malloc(2 * (size_t)jobs * sizeof(word));
    Entry *entries = malloc(3 * (size_t)jobs * sizeof(Entry));
    if (!counts || !entries) {
        free(counts);
        free(entries);
        return NO_MEMORY;
    }
    word *missing = counts, *available = counts + jobs;
    Heap ready[QUEUES], events = {entries + jobs, 0};
    for (int queue = 0; queue < QUEUES; queue++) {
        ready[queue] = (Heap){entries + before, 0};
        before += queued[queue];
    }
    for (word index = 0; index < jobs; index++) {
        missing[index] = graph->first_reader[index + 1] - graph->first_reader[index];
        available[index] = 0;
        if (!missing[index]) push(&events, graph->latency[index], 2 * index);
    }
    while (events.size) {
        word now = events.entries[0].key;
        unsigned touched = 0;
        while (events.size && events.entries[0].key == now) {
            word event = pop(&events).value, index = event / 2;
            touched |= 1u << graph->queue[index];
            if (event % 2 == 0) push(&ready[graph->queue[index]], -ends[index], index);
        }
        for (int queue = 0; queue < QUEUES; queue++) {
            while (touched >> queue & 1 && ready[queue].size && free_at[queue] <= now) {
                word index = pop(&ready[queue]).value, reached = now + graph->duration[index];
                free_at[queue] = reached;
                starts[index] = -reached;
                push(&events, reached, 2 * index + 1);
                for (word at = graph->first_dependency[index]; at < graph->first_dependency[index + 1]; at++) {
                    word earlier = graph->dependencies[at];
                    if (available[earlier] < reached) available[earlier] = reached;
                    if (--missing[earlier] == 0)
                        push(&events, available[earlier] + graph->latency[earlier], 2 * earlier);
                }
            }
        }
    }
    free(counts);
    free(entries);
    return DONE;
}

/* ---- bounds: heads of jobs that grow at joins (bounds.py) */

typedef struct { word head, duration, tail; } Task;

/* Jackson's preemptive schedule of one machine; tasks in order of their heads. */
static word one_machine(const Task *tasks, word count, Heap *waiting) {
    word now = 0, bound = 0;
    waiting->size = 0;
    for (word at = 0; at < count; at++) {
        while (waiting->size && now < tasks[at].head) {
            Entry *first = waiting->entries; /* (-tail, rest of the duration) */
            if (now + first->value > tasks[at].head) {
                Entry entry = pop(waiting);
                push(waiting, entry.key, entry.value - (tasks[at].head - now));
                break;
            }
            now += first->value;
            if (now - first->key > bound) bound = now - first->key;
            pop(waiting);
        }
        if (now < tasks[at].head) now = tasks[at].head;
        push(waiting, -tasks[at].tail, tasks[at].duration);
    }
    while (waiting->size) {
        Entry entry = pop(waiting);
        now += entry.value;
        if (now - entry.key > bound) bound = now - entry.key;
    }
    return bound;
}

typedef struct { word tail, duration, head, release, rounding; } Late;

typedef struct {
    const Graph *graph;
    const word *operation;
    word *heads, *tails, *taken; /* taken[job]: the number of the join for which tails[job] holds */
    word *sorted[QUEUES], counts[QUEUES]; /* jobs of each queue in order of their heads */
    word *first_release; /* by operation: cycle before which its weights stay on the chip; -1: not known yet */
    word buffer_cycles, joins;
    Task *tasks;
    Late *late;
    Heap waiting;
} Heads;

static int by_tail(const void *first, const void *second) {
    word a = ((const Late *)first)->tail, b = ((const Late *)second)->tail;
    return (a < b) - (a > b);
}

/* All loads that must come after some first release, less a buffer full of weights, then the least tail. */
static word weights_bound(Heads *state, word lowest, word first) {
    const Graph *graph = state->graph;
    word count = 0, bound = 0, releases = 0;
    for (word at = first; at < state->counts[LOAD]; at++) {
        word index = state->sorted[LOAD][at];
        if (index < lowest || state->taken[index] != state->joins) continue;
        word release = graph->weights[index] ? state->first_release[state->operation[index]] : -1;
        state->late[count++] = (Late){state->tails[index] + graph->latency[index], graph->duration[index],
                                      state->heads[index], release, release >= 0};
        releases += release >= 0;
    }
    if (!releases) return 0;
    qsort(state->late, (size_t)count, sizeof(Late), by_tail);
    word last = -1;
    for (;;) { /* every distinct release, the least first */
        word release = -1;
        for (word at = 0; at < count; at++) {
            word candidate = state->late[at].release;
            if (candidate > last && (release < 0 || candidate < release)) release = candidate;
        }
        if (release < 0) return bound;
        word total = -state->buffer_cycles;
        for (word at = 0; at < count; at++) {
            const Late *late = state->late + at;
            if ((late->rounding ? late->release : late->head) < release) continue;
            total += late->duration - late->rounding; /* durations are rounded up to whole cycles */
            if (total > 0 && release + total + late->tail > bound) bound = release + total + late->tail;
        }
        last = release;
    }
}

/* Where the jobs of a queue begin whose heads are at least so late. */
static word first_of_head(const Heads *state, int queue, word head) {
    word low = 0, high = state->counts[queue];
    while (low < high) {
        word middle = (low + high) / 2;
        if (state->heads[state->sorted[queue][middle]] < head) low = middle + 1;
        else high = middle;
    }
    return low;
}

static int busiest(const word *work, unsigned among) {
    int best = -1;
    for (int queue = 0; queue < QUEUES; queue++)
        if (among >> queue & 1 && (best < 0 || work[queue] > work[best])) best = queue;
    return best;
}

/* A cycle before which not all of `last` can be done, from at most `limit` jobs that lead to them. */
static word all_done(Heads *state, const word *last, word lasts, word limit) {
    const Graph *graph = state->graph;
    word bound = 0, taken = 0, index = -1, lowest = 0, join = ++state->joins;
    word work[QUEUES] = {0}, outside[QUEUES] = {0}, least[QUEUES];
    for (int queue = 0; queue < QUEUES; queue++) least[queue] = INT64_MAX;
    for (word at = 0; at < lasts; at++) {
        state->taken[last[at]] = join;
        state->tails[last[at]] = 0;
        if (last[at] > index) index = last[at];
    }
    for (; index >= 0 && taken < limit; index--) {
        if (state->taken[index] != join) continue;
        taken++;
        lowest = index;
        word queue = graph->queue[index], head = state->heads[index];
        word after = state->tails[index] + graph->latency[index], tail = after + graph->duration[index];
        if (head + tail > bound) bound = head + tail;
        if (head + after > outside[queue]) outside[queue] = head + after;
        if (head < least[queue]) least[queue] = head;
        work[queue] += graph->duration[index];
        for (word at = graph->first_dependency[index]; at < graph->first_dependency[index + 1]; at++) {
            word earlier = graph->dependencies[at];
            if (state->taken[earlier] != join) {
                state->taken[earlier] = join;
                state->tails[earlier] = tail;
            } else if (state->tails[earlier] < tail) {
                state->tails[earlier] = tail;
            }
        }
    }
    for (unsigned rest = (1u << QUEUES) - 1; rest;) { /* the busiest queue first, which mostly spares the others */
        int queue = busiest(work, rest);
        rest &= ~(1u << queue);
        /* no subset of the tasks can take longer than all of them between the longest head and tail of one */
        if (work[queue] + outside[queue] <= bound) continue;
        word count = 0;
        for (word at = first_of_head(state, queue, least[queue]); at < state->counts[queue]; at++) {
            word job = state->sorted[queue][at];
            if (job < lowest || state->taken[job] != join) continue;
            state->tasks[count++] = (Task){state->heads[job], graph->duration[job],
                                           state->tails[job] + graph->latency[job]};
        }
        word alone = one_machine(state->tasks, count, &state->waiting);
        if (alone > bound) bound = alone;
    }
    word weights = weights_bound(state, lowest, first_of_head(state, LOAD, least[LOAD]));
    return weights > bound ? weights : bound;
}

static void add_head(Heads *state, word index, word head) {
    word queue = state->graph->queue[index], *sorted = state->sorted[queue], at = state->counts[queue]++;
    state->heads[index] = head;
    while (at && state->heads[sorted[at - 1]] > head) {
        sorted[at] = sorted[at - 1];
        at--;
    }
    sorted[at] = index;
}

static void add_heads(Heads *state, const word *join, word limit, word *bounded, word *last) {
    const Graph *graph = state->graph;
    for (word index = 0; index < graph->jobs; index++) {
        word head = 0, lasts = 0;
        for (word at = graph->first_dependency[index]; at < graph->first_dependency[index + 1]; at++) {
            word before = graph->dependencies[at];
            word end = state->heads[before] + graph->duration[before] + graph->latency[before];
            if (end > head) head = end;
            if (!graph->weights[before]) last[lasts++] = before;
        }
        if (join[index] >= 0) {
            word *known = bounded + join[index];
            if (*known < 0) *known = all_done(state, last, lasts, limit);
            if (*known > head) head = *known;
        }
        add_head(state, index, head);
        for (word at = graph->first_release[index]; at < graph->first_release[index + 1]; at++) {
            word *release = state->first_release + state->operation[index];
            word stored = head + graph->duration[index];
            if (!graph->weights[graph->releases[at]]) continue;
            if (*release < 0 || stored < *release) *release = stored;
        }
    }
}

/* The end of the last job by heads that grow at joins. `join` numbers the distinct sets of tiles that a job waits for
   and that are to be bounded, from at most `limit` jobs each; -1: not bounded. */
int joins_bound(const Graph *graph, const word *operation, word operations, const word *join, word joins, word limit,
                word buffer_cycles, word *heads, word *bound) {
    size_t jobs = (size_t)graph->jobs, queued = 0;
    word *words = malloc((4 * jobs + (size_t)operations + (size_t)joins) * sizeof(word));
    Task *tasks = malloc(jobs * sizeof(Task));
    Late *late = malloc(jobs * sizeof(Late));
    Entry *entries = malloc(jobs * sizeof(Entry));
    int status = NO_MEMORY;
    if (words && tasks && late && entries) {
        Heads state = {.graph = graph, .operation = operation, .heads = heads, .tails = words, .taken = words + jobs,
                       .first_release = words + 4 * jobs, .buffer_cycles = buffer_cycles,
                       .tasks = tasks, .late = late, .waiting = {entries, 0}};
        word *last = words + 3 * jobs, *bounded = state.first_release + operations, ends = 0;
        for (int queue = 0; queue < QUEUES; queue++) {
            state.sorted[queue] = words + 2 * jobs + queued;
            for (size_t index = 0; index < jobs; index++) queued += graph->queue[index] == queue;
        }
        memset(state.taken, 0, jobs * sizeof(word));
        memset(state.first_release, -1, ((size_t)operations + (size_t)joins) * sizeof(word));
        add_heads(&state, join, limit, bounded, last);
        for (word index = 0; index < graph->jobs; index++)
            if (graph->first_reader[index] == graph->first_reader[index + 1]) last[ends++] = index;
        *bound = ends ? all_done(&state, last, ends, graph->jobs) : 0;
        status = DONE;
    }
    free(words);
    free(tasks);
    free(late);
    free(entries);
    return status;
}

/* ---- bounds: the critical path, and every queue as one machine with heads and tails (bounds.py) */

static int by_head(const void *first, const void *second) {
    word a = ((const Task *)first)->head, b = ((const Task *)second)->head;
    return (a > b) - (a < b);
}

/* bounds: of every queue, then the critical path; 0 of no jobs. */
int queue_bounds(const Graph *graph, word *bounds) {
    size_t jobs = (size_t)graph->jobs;
    word *words = malloc(2 * jobs * sizeof(word));
    Task *tasks = malloc(jobs * sizeof(Task));
    Entry *entries = malloc(jobs * sizeof(Entry));
    int status = NO_MEMORY;
    if (words && tasks && entries) {
        word *heads = words, *tails = words + jobs;
        Heap waiting = {entries, 0};
        memset(tails, 0, jobs * sizeof(word));
        memset(bounds, 0, (QUEUES + 1) * sizeof(word));
        for (size_t index = 0; index < jobs; index++) {
            word head = 0;
            for (word at = graph->first_dependency[index]; at < graph->first_dependency[index + 1]; at++) {
                word before = graph->dependencies[at];
                word end = heads[before] + graph->duration[before] + graph->latency[before];
                if (end > head) head = end;
            }
            heads[index] = head;
        }
        for (size_t index = jobs; index-- > 0;) { /* tails[index]: after the job's queue is free */
            word whole = (tails[index] += graph->latency[index]) + graph->duration[index];
            if (whole > bounds[QUEUES]) bounds[QUEUES] = whole;
            for (word at = graph->first_dependency[index]; at < graph->first_dependency[index + 1]; at++) {
                word *before = tails + graph->dependencies[at];
                if (*before < whole) *before = whole;
            }
        }
        for (int queue = 0; queue < QUEUES; queue++) {
            size_t count = 0;
            for (size_t index = 0; index < jobs; index++)
                if (graph->queue[index] == queue)
                    tasks[count++] = (Task){heads[index], graph->duration[index], tails[index]};
            qsort(tasks, count, sizeof(Task), by_head);
            bounds[queue] = one_machine(tasks, (word)count, &waiting);
        }
        status = DONE;
    }
    free(words);
    free(tasks);
    free(entries);
    return status;
}
