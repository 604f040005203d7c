/* Bounds of schedules: heads of jobs that grow at joins (bounds.py). */

#ifndef JOINS_BOUND_H
#define JOINS_BOUND_H

#include "queue_bounds.h"

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
    Entry *waiting; /* of `one_machine` */
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
        word alone = one_machine(state->tasks, count, state->waiting);
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
    Entry *waiting = malloc(2 * jobs * sizeof(Entry));
    int status = NO_MEMORY;
    if (words && tasks && late && waiting) {
        Heads state = {.graph = graph, .operation = operation, .heads = heads, .tails = words, .taken = words + jobs,
                       .first_release = words + 4 * jobs, .buffer_cycles = buffer_cycles,
                       .tasks = tasks, .late = late, .waiting = waiting};
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
    free(waiting);
    return status;
}

#endif
