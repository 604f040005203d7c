"""How often one address may ask."""

from rrnet_nni.fpga.runtime.service.web.limits import MOST_ADDRESSES, RateLimit


def test_a_burst_passes_then_requests_come_at_the_rate():
    now = [0.0]
    limit = RateLimit(5, burst_s=2, clock=lambda: now[0])
    assert [limit.wait_s("a") for _ in range(10)] == [0.0] * 10
    assert limit.wait_s("a") == 0.2
    assert limit.wait_s("b") == 0.0
    now[0] = 0.2
    assert limit.wait_s("a") == 0.0
    assert limit.wait_s("a") > 0


def test_zero_limits_nothing_and_few_addresses_are_remembered():
    assert all(RateLimit(0).wait_s("a") == 0 for _ in range(1000))
    limit = RateLimit(1)
    for index in range(MOST_ADDRESSES + 10):
        limit.wait_s(str(index))
    assert len(limit._buckets) == MOST_ADDRESSES
