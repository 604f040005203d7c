"""Orders of jobs that list schedules start from: the program's own, and wavefronts through its layers.

In the program's order, a layer takes a queue for as long as it has tiles, although the layers after it have long been
waiting for that queue with the tiles that are done. What these layers need most, a product between two ReLUs for
instance, may then idle for a whole layer. A wavefront lets the first rows run ahead: it takes the jobs in the order of
their layer plus a slant times how far down the image they lie. Passes backwards and forwards find no such order of a
deep network by themselves.
"""

from __future__ import annotations

import numpy as np

from .job_table import JobGraph, JobTable

#: How many operations the first rows may run ahead of the last ones; 0 is the program's own order.
SLANTS = (0, 2, 4, 8, 16, 32, 64)
#: Parts of an operation that a place in the image is told in.
PLACES = 1 << 16


def starting_order(graph: JobGraph, table: JobTable, slant: int) -> np.ndarray:
    """A number of every job, int64, the least first; `table` is that of the graph's jobs."""
    if not slant:
        return (table.operation << 32) + (table.tile << 16) + table.phase
    return (table.operation << 32) + (slant * places(graph, table) << 16) - table.phase


def places(graph: JobGraph, table: JobTable) -> np.ndarray:
    """How far down the image the last row of every job's tile lies, of PLACES; 0 for weights."""
    down = np.zeros(len(table), np.int64)
    for stage in graph.stages:
        ends = np.array([region.rows[1] for region in stage.regions], np.int64)
        jobs = slice(stage.first_job, stage.end_job)
        down[jobs] = (PLACES * ends // max(1, ends.max(initial=0)))[table.tile[jobs]]
    return down
