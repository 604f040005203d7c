"""Random graphs of jobs, as small as constraint programming can solve."""

from hypothesis import strategies as st

from rrnet_nni.fpga.compiler.schedule.jobs import Job
from rrnet_nni.fpga.program.isa import Queue


@st.composite
def layered_jobs(draw: st.DrawFn) -> list[Job]:
    """Products of a few layers: weights, then tiles of load, work, message and store; tiles wait for some before."""
    jobs: list[Job] = []
    stored: list[int] = []
    for layer in range(draw(st.integers(1, 3))):
        weights = len(jobs)
        cycles = draw(st.integers(1, 30))
        jobs.append(Job(Queue.LOAD, cycles, 0, 48 * cycles, layer, 0, 0, 0, (), 48 * cycles, True, load=weights))
        made = []
        for tile in range(draw(st.integers(1, 3))):
            before = [index for index in stored if draw(st.booleans())] or stored[-1:]
            step, load = (layer, tile, 0, 1), len(jobs)
            jobs.append(Job(Queue.LOAD, 1, 0, 48, *step, (weights, *before), allocates=64, load=load))
            jobs.append(Job(Queue.ARRAY, draw(st.integers(1, 20)), 0, 1, *step, (load,), load=load))
            jobs.append(
                Job(Queue.SEND, draw(st.integers(1, 5)), draw(st.integers(0, 15)), 1, *step, (load + 1,), load=load)
            )
            jobs.append(Job(Queue.STORE, 1, 0, 4, *step, (load + 2,), releases=(load, weights), load=load))
            made.append(load + 3)
        stored = made
    return jobs
