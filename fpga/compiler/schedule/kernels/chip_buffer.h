/* The on-chip buffer: free ranges in order of address, first fit (buffers.py). */

#ifndef CHIP_BUFFER_H
#define CHIP_BUFFER_H

#include "job_graph.h"

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

#endif
