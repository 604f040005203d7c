"""Parts of a step cover it once, and kernels compute the same bits for any number of threads."""

import ctypes
import functools
import multiprocessing
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.native import workers
from rrnet_nni.fpga.native.threads import available_cores, run_parts, thread_count, use_threads
from rrnet_nni.fpga.protocols.masked.kernels import agrees_with_numpy, kernels
from rrnet_nni.fpga.ring import pack_weights, ring_conv2d


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    use_threads(request.param)
    yield request.param
    use_threads(1)


@given(size=st.integers(0, 200), step=st.integers(1, 17), count=st.integers(1, 6))
def test_parts_cover_a_step_once_and_begin_at_whole_steps(size, step, count):
    done = []
    use_threads(count)
    try:
        run_parts(lambda first, end: done.append((first, end)), size, step)
    finally:
        use_threads(1)
    assert [at for first, end in sorted(done) for at in range(first, end)] == list(range(size))
    assert all(first % step == 0 for first, _ in done)
    assert len(done) <= count


def test_parts_run_at_once(threads):
    barrier, met = threading.Barrier(threads, timeout=10), []

    def work(first, end):
        barrier.wait()  # broken, and raised here, unless as many parts wait together
        met.append((first, end))

    run_parts(work, threads)
    assert sorted(met) == [(part, part + 1) for part in range(threads)]


def test_a_forked_process_has_threads_of_its_own(threads):
    run_parts(lambda first, end: None, 10)
    child = multiprocessing.get_context("fork").Process(target=run_parts, args=(lambda first, end: None, 10))
    child.start()
    child.join(20)
    ended = child.exitcode
    child.kill()
    assert ended == 0


def test_what_a_part_raises_is_raised_when_all_have_ended(threads):
    ended = []

    def work(first, end):
        if end == 10:
            raise MemoryError("no memory")
        ended.append(first)

    with pytest.raises(MemoryError, match="no memory"):
        run_parts(work, 10)
    assert len(ended) == threads - 1


@pytest.mark.parametrize(
    ("images", "inputs", "outputs", "size", "groups"),
    [(1, 3, 20, 33, 1), (1, 70, 90, 4, 1), (5, 12, 33, 9, 3), (3, 6, 6, 8, 6)],
)
def test_convolutions_are_the_same_bits_for_any_number_of_threads(threads, images, inputs, outputs, size, groups):
    generator = np.random.default_rng(size)
    x = generator.integers(0, 2**32, (images, inputs, size, size), dtype=np.uint32)
    weights = pack_weights(generator.integers(0, 2**32, (outputs, inputs // groups, 3, 3), dtype=np.uint32), groups)
    found = ring_conv2d(x, weights, padding=(1, 1, 1, 1))
    use_threads(1)
    assert np.array_equal(found, ring_conv2d(x, weights, padding=(1, 1, 1, 1)))


def test_kernels_agree_with_numpy_for_any_number_of_threads(threads):
    assert thread_count() == threads
    assert agrees_with_numpy(kernels())


def test_cores_are_shared_and_nobody_gets_none():
    assert available_cores() >= available_cores(2) >= available_cores(10**6) == 1


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="not by 0"):
        use_threads(0)


@pytest.mark.parametrize("awake", [True, False], ids=["awake", "asleep"])
def test_steps_of_many_callers_at_once_are_each_done_once(monkeypatch, awake):
    if not awake:
        monkeypatch.setattr(workers, "_waiting", lambda: workers._asleep)
    use_threads(3)
    totals = np.zeros(8, np.int64)

    def caller(number):
        for _ in range(50):
            done = np.zeros(40, np.int64)

            def work(first, end, done=done):
                done[first:end] += np.arange(first, end)

            run_parts(work, 40)
            totals[number] += done.sum()

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(len(totals))]
    try:
        for each in callers:
            each.start()
        for each in callers:
            each.join(60)
    finally:
        use_threads(1)
    assert totals.tolist() == [50 * sum(range(40))] * len(totals)


def test_threads_without_work_sleep():
    use_threads(3)
    try:
        run_parts(lambda first, end: None, 10)
        time.sleep(0.1)  # a thread is not always scheduled at once
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.1
    finally:
        use_threads(1)


def test_a_step_keeps_nothing_of_what_it_worked_on():
    use_threads(2)
    try:
        array = np.zeros(10)
        gone = weakref.ref(array)
        run_parts(functools.partial(lambda kept, first, end: None, array), 10)
        use_threads(1)
        del array
        assert gone() is None
    finally:
        use_threads(1)


@pytest.mark.skipif(workers._waiting() is workers._asleep, reason="no compiler here")
def test_who_waits_awake_gives_up_in_time_and_sees_a_change():
    waiting, word = workers._waiting(), ctypes.c_uint32(3)
    assert waiting(word, 2, 10**12, 0)
    started = time.perf_counter()
    assert not waiting(word, 3, 2_000_000, 10**12)
    assert time.perf_counter() - started >= 0.002
    timer = threading.Timer(0.05, lambda: setattr(word, "value", 4))
    timer.start()
    assert waiting(word, 3, 10 * 10**9, 0)
    timer.join()
