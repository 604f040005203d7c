/* A graph of jobs, and heaps.

   The columns are those of job_table.py: what each job is, and the jobs that it waits for, that wait for it, and the
   loads whose buffers it gives back, as ranges of one list each. */

#ifndef JOB_GRAPH_H
#define JOB_GRAPH_H

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

#endif
