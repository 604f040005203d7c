/* Bounds of schedules: the critical path, and every queue as one machine with heads and tails (bounds.py). */

#ifndef QUEUE_BOUNDS_H
#define QUEUE_BOUNDS_H

#include "job_graph.h"

typedef struct { word head, duration, tail; } Task;

/* Tasks that wait, the longest tail first. In most graphs tails become shorter as heads become later, so that most tasks
   stand in line as they come; those with a longer tail than the last in line are in a heap. */
typedef struct {
    Entry *line; /* (-tail, rest of the duration), from `first` to `end` */
    word first, end;
    Heap ahead;
} Waiting;

static void wait_in(Waiting *waiting, word tail, word duration) {
    if (waiting->first == waiting->end || waiting->line[waiting->end - 1].key <= -tail)
        waiting->line[waiting->end++] = (Entry){-tail, duration};
    else
        push(&waiting->ahead, -tail, duration);
}

/* The one to work on; NULL: none. */
static Entry *longest_tail(const Waiting *waiting) {
    Entry *line = waiting->first < waiting->end ? waiting->line + waiting->first : NULL;
    Entry *ahead = waiting->ahead.size ? waiting->ahead.entries : NULL;
    return !ahead || (line && line->key <= ahead->key) ? line : ahead;
}

static void leave(Waiting *waiting, const Entry *done) {
    if (done == waiting->ahead.entries) pop(&waiting->ahead);
    else waiting->first++;
}

/* Jackson's preemptive schedule of one machine; tasks in order of their heads. `memory` holds twice as many entries. */
static word one_machine(const Task *tasks, word count, Entry *memory) {
    Waiting waiting = {memory, 0, 0, {memory + count, 0}};
    word now = 0, bound = 0;
    for (word at = 0; at <= count; at++) {
        word head = at < count ? tasks[at].head : INT64_MAX;
        for (Entry *first; now < head && (first = longest_tail(&waiting));) {
            if (first->value > head - now) {
                first->value -= head - now;
                now = head;
                break;
            }
            now += first->value;
            if (now - first->key > bound) bound = now - first->key;
            leave(&waiting, first);
        }
        if (at == count) break;
        if (now < head) now = head;
        wait_in(&waiting, tasks[at].tail, tasks[at].duration);
    }
    return bound;
}

static int by_head(const void *first, const void *second) {
    word a = ((const Task *)first)->head, b = ((const Task *)second)->head;
    return (a > b) - (a < b);
}

/* bounds: of every queue, then the critical path; 0 of no jobs. */
int queue_bounds(const Graph *graph, word *bounds) {
    size_t jobs = (size_t)graph->jobs;
    word *words = malloc(2 * jobs * sizeof(word));
    Task *tasks = malloc(jobs * sizeof(Task));
    Entry *entries = malloc(2 * jobs * sizeof(Entry));
    int status = NO_MEMORY;
    if (words && tasks && entries) {
        word *heads = words, *tails = words + jobs;
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
            bounds[queue] = one_machine(tasks, (word)count, entries);
        }
        status = DONE;
    }
    free(words);
    free(tasks);
    free(entries);
    return status;
}

#endif
