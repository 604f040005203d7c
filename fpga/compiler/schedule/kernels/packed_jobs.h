/* A graph of jobs packed for list schedules: what they ask of a job together lies in one line of the cache. */

#ifndef PACKED_JOBS_H
#define PACKED_JOBS_H

#include "job_graph.h"

typedef struct { int32_t first, count; } Part; /* of one of the lists behind the jobs */

typedef struct {
    word duration, latency, allocates;
    int32_t load, product;
    int16_t queue, weights;
    int32_t unused;
    Part dependencies, readers, releases;
} Job; /* 64 bytes */

typedef struct { int32_t missing, holders; } Open; /* jobs that it waits for, stores that its buffer waits for */

/* What `packed_bytes` bytes from the begin of a line hold: 8 numbers, the jobs, and the lists. */
typedef struct {
    word jobs;
    const word *queued; /* jobs of each queue */
    const Job *job;
    const Open *open;      /* of every job before anything is done */
    const int32_t *unread; /* how many wait for each job */
    const int32_t *dependencies, *readers, *releases;
} Packed;

static Packed packed_at(const Graph *graph, const void *memory) {
    word jobs = graph->jobs;
    const word *queued = memory;
    const Job *job = (const Job *)(queued + 8);
    const Open *open = (const Open *)(job + jobs);
    const int32_t *unread = (const int32_t *)(open + jobs), *lists = unread + jobs;
    const int32_t *readers = lists + graph->first_dependency[jobs];
    return (Packed){jobs, queued, job, open, unread, lists, readers, readers + graph->first_reader[jobs]};
}

size_t packed_bytes(const Graph *graph) {
    word jobs = graph->jobs;
    word listed = graph->first_dependency[jobs] + graph->first_reader[jobs] + graph->first_release[jobs];
    return 8 * sizeof(word) + (size_t)jobs * (sizeof(Job) + sizeof(Open) + sizeof(int32_t)) +
           (size_t)listed * sizeof(int32_t);
}

static Part part(const word *first, word job) {
    return (Part){(int32_t)first[job], (int32_t)(first[job + 1] - first[job])};
}

/* Once for all schedules of a graph. */
void pack_jobs(const Graph *graph, void *memory) {
    Packed packed = packed_at(graph, memory);
    word *queued = memory;
    Job *jobs = (Job *)packed.job;
    memset(queued, 0, 8 * sizeof(word));
    for (word job = 0; job < graph->jobs; job++) {
        jobs[job] = (Job){graph->duration[job], graph->latency[job], graph->allocates[job], (int32_t)graph->load[job],
                          (int32_t)graph->product[job], (int16_t)graph->queue[job], (int16_t)graph->weights[job], 0,
                          part(graph->first_dependency, job), part(graph->first_reader, job),
                          part(graph->first_release, job)};
        ((Open *)packed.open)[job] = (Open){jobs[job].dependencies.count, (int32_t)graph->holders[job]};
        ((int32_t *)packed.unread)[job] = jobs[job].readers.count;
        queued[graph->queue[job]]++;
    }
    const word *lists[] = {graph->dependencies, graph->readers, graph->releases};
    const word counts[] = {graph->first_dependency[graph->jobs], graph->first_reader[graph->jobs],
                           graph->first_release[graph->jobs]};
    int32_t *to = (int32_t *)packed.dependencies;
    for (int list = 0; list < 3; list++)
        for (word at = 0; at < counts[list]; at++) *to++ = (int32_t)lists[list][at];
}

#endif
