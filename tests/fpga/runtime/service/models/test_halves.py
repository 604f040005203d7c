"""The queue in which halves of requests wait for their partners."""

import threading
import time

import numpy as np
import pytest

from rrnet_nni.fpga.runtime.service.models.halves import (
    Answer,
    Duplicate,
    Half,
    HalfQueue,
    Interrupted,
    Overload,
    Withdrawn,
)


def half(name, images=1):
    return Half(name, np.zeros((images, 2), np.uint32))


def names(halves):
    return [each.request_id for each in halves]


def test_a_batch_takes_the_oldest_that_fit_and_no_more():
    queue = HalfQueue(100)
    for name, images in (("a", 2), ("b", 1), ("c", 2)):
        queue.add(half(name, images))
    assert names(queue.take(4, 0.0, 0.0)) == ["a", "b"]
    assert names(queue.take(4, 0.0, 0.0)) == ["c"]
    assert queue.take(4, 0.0, 0.0) == []


def test_a_request_waits_its_window_for_others_and_a_full_batch_does_not():
    queue = HalfQueue(100)
    queue.add(half("a"))
    threading.Timer(0.05, lambda: queue.add(half("b"))).start()
    assert names(queue.take(4, 0.3, 1.0)) == ["a", "b"]
    queue.add(half("c", 4))
    started = time.monotonic()
    assert names(queue.take(4, 5.0, 1.0)) == ["c"]
    assert time.monotonic() - started < 1


def test_a_half_that_is_withdrawn_while_it_is_proposed_does_not_wait_again():
    queue = HalfQueue(100)
    left = half("a")
    queue.add(left)
    proposed = queue.take(4, 0.0, 0.0)
    assert not queue.withdraw(left)
    queue.put_back(proposed)
    assert queue.images == 0
    assert queue.take(4, 0.0, 0.2) == []
    with pytest.raises(Withdrawn):
        left.answer.result(0)


def test_while_a_batch_is_executed_requests_wait_longer_for_others():
    queue = HalfQueue(100)
    queue.add(half("a"))
    running = queue.take(4, 0.0, 0.0)
    queue.add(half("b"))
    threading.Timer(0.1, lambda: queue.add(half("c"))).start()
    threading.Timer(0.2, lambda: queue.finish(running, Interrupted("gone"))).start()
    assert names(queue.take(4, 0.05, 1.0)) == ["b", "c"]


def test_the_other_server_waits_a_moment_for_halves_that_are_on_their_way():
    queue = HalfQueue(100)
    queue.add(half("a"))
    threading.Timer(0.05, lambda: queue.add(half("b"))).start()
    assert names(queue.claim(["b", "a", "never"], 0.3)) == ["b", "a"]
    assert names(queue.claim(["never"], 0.0)) == []


def test_a_half_without_partner_waits_longer_each_time_and_can_be_withdrawn():
    queue = HalfQueue(100)
    alone = half("a")
    queue.add(alone)
    first = queue.take(4, 0.0, 0.0)
    queue.put_back(first)
    assert queue.take(4, 0.0, 0.0) == []
    assert names(queue.take(4, 0.0, 1.0)) == ["a"]
    queue.put_back([alone])
    assert alone.retry_s == pytest.approx(0.08)
    assert queue.withdraw(alone)
    assert queue.images == 0


def test_an_id_is_here_once_and_no_more_images_than_allowed():
    queue = HalfQueue(3)
    queue.add(half("a", 2))
    with pytest.raises(Duplicate):
        queue.add(half("a"))
    with pytest.raises(Overload):
        queue.add(half("b", 2))
    running = queue.take(4, 0.0, 0.0)
    with pytest.raises(Duplicate):
        queue.add(half("a"))
    queue.finish(running, Interrupted("gone"))
    queue.add(half("a", 3))


def test_answers_go_to_their_halves_and_a_fault_to_all():
    queue = HalfQueue(10)
    both = [half("a"), half("b")]
    for each in both:
        queue.add(each)
    queue.finish(queue.take(4, 0.0, 0.0), [Answer(np.zeros(1), "x:0:1"), Answer(np.ones(1), "x:1:1")])
    assert [each.answer.result().execution for each in both] == ["x:0:1", "x:1:1"]
    again = half("a")
    queue.add(again)
    queue.finish(queue.take(4, 0.0, 0.0), Interrupted("gone"))
    with pytest.raises(Interrupted):
        again.answer.result()


def test_no_half_is_lost_or_answered_twice_by_many_threads():
    queue, rounds = HalfQueue(10_000), 300
    halves = [half(f"{index}") for index in range(rounds)]
    seen = []

    def work():
        while taken := queue.take(7, 0.0, 0.3):
            seen.extend(names(taken))
            queue.finish(taken, [Answer(np.zeros(1), each.request_id) for each in taken])

    workers = [threading.Thread(target=work) for _ in range(4)]
    for each in workers:
        each.start()
    for each in halves:
        queue.add(each)
    for each in workers:
        each.join()
    assert sorted(seen) == sorted(names(halves))
    assert all(each.answer.result().execution == each.request_id for each in halves)
    assert queue.images == 0


def test_where_executions_take_long_requests_wait_for_a_part_of_that_instead():
    queue = HalfQueue(100)
    for _ in range(20):  # executions of 0.6 s
        queue.add(half("slow"))
        taken = queue.take(4, 0.0, 0.0)
        taken[0].begun_s -= 0.6
        queue.finish(taken, [Answer(np.zeros(1), "x:0:1")])
    queue.add(half("a"))
    running = queue.take(4, 0.0, 0.0)
    queue.add(half("b"))
    threading.Timer(0.1, lambda: queue.add(half("c"))).start()
    started = time.monotonic()
    assert names(queue.take(4, 0.001, 1.0)) == ["b", "c"]
    assert 0.2 < time.monotonic() - started < 0.9
    queue.finish(running, Interrupted("gone"))
