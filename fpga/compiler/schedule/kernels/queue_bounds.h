/* Bounds of schedules: the critical path, and every queue as one machine with heads and tails (bounds.py). */

#ifndef QUEUE_BOUNDS_H
#define QUEUE_BOUNDS_H

#include "job_graph.h"

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

#endif
