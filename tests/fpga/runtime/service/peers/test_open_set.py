"""Where two parties go on in a set of which each knows what it has used."""

import pytest

from rrnet_nni.fpga.runtime.service.peers.open_set import MOST_SKIPPED, common_start


@pytest.mark.parametrize("order", [1, -1])
def test_both_go_on_where_the_one_is_that_has_used_more_and_nowhere_when_nothing_is_left(order):
    def start(*used):
        return common_start(*used[::order], count=5000)

    assert start(0, 0) == 0
    assert start(3, 17) == 17
    assert start(0, MOST_SKIPPED) == MOST_SKIPPED
    assert start(0, MOST_SKIPPED + 1) is None
    assert start(4999, 4500) == 4999
    assert start(5000, 4500) is None
    assert start(5001, 4500) is None
