"""Parts of a batch side by side: the reference's logits and the predicted bytes, whatever the number of strands."""

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from helpers.parties.executing_parties import DIGEST, network
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.base.errors import ExecutionFault
from rrnet_nni.fpga.program.reference import decode, run_reference
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session.accounting import predict
from rrnet_nni.fpga.runtime.session.agreement import Terms
from rrnet_nni.fpga.runtime.session.batches import split_batches
from rrnet_nni.fpga.runtime.session.evaluator import PartyEvaluator
from rrnet_nni.fpga.runtime.session.session import Party

IMAGES = 5


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 16))
def test_batches_hold_all_images_and_as_many_at_once_as_one_batch_may(images, largest, strands):
    strands = min(strands, largest)
    sizes = split_batches(images, largest, strands)
    assert sum(sizes) == images
    assert max(sizes) - min(sizes) <= 1
    at_once = max(sum(sizes[at : at + strands]) for at in range(0, len(sizes), strands))
    assert at_once <= largest


def run_both(root, execution, terms, strands, ahead=(False, False)):
    """Both parties' results in one process, `strands` and `ahead` as each party would have it."""
    program, weights = network()
    pixels = np.random.default_rng(3).normal(size=(terms.images, 2, 16, 16))
    words = np.round(pixels * 2**8).astype(np.int64).astype(np.uint32)
    ends = socket.socketpair()

    def side(number):
        images = terms.images if number == 0 else None
        mine = replace(terms, images=images, strands=strands[number], ahead=ahead[number])
        with MaterialStore(root, number) as store, Link(ends[number], "the other", 20) as link:
            party = Party(number, program, execution, link, store)
            try:
                return party.run(mine, words if number == 0 else None, weights if number == 1 else None)
            except ExecutionFault as fault:
                link.abort(str(fault))
                raise

    with ThreadPoolExecutor(2) as pool:
        sides = [pool.submit(side, number) for number in (0, 1)]
        return [each.result() for each in sides], run_reference(program, weights, pixels)


@pytest.mark.parametrize("strands", [(1, 1), (2, 2), (3, 8), (16, 16)], ids=str)
@pytest.mark.parametrize("protocol", sorted(executions()))
def test_strands_change_neither_logits_nor_bytes(tmp_path, protocol, strands):
    execution, (program, _) = executions()[protocol], network()
    prepare_set(tmp_path, program, DIGEST, execution, IMAGES)
    (client, server), expected = run_both(tmp_path, execution, Terms(DIGEST, protocol, 0, IMAGES, 4), strands)
    assert client.batches == server.batches == tuple(split_batches(IMAGES, 4, min(4, *strands)))
    fraction_bits = program.tensor(program.output).fraction_bits
    assert np.abs(decode(client.logits, fraction_bits) - expected).max() < 0.25 * np.abs(expected).max()
    predicted = predict(execution, program, list(client.batches), 0)
    for row in client.rows:
        if (row.phase, row.operation) in predicted:
            entry = predicted[row.phase, row.operation]
            assert (row.bytes_sent, row.bytes_received, row.rounds) == (*entry.bytes_sent, entry.rounds), row
    assert client.counters.bytes_sent == sum(entry.bytes_sent[0] for entry in predicted.values())
    assert server.counters.bytes_received == client.counters.bytes_sent


def test_a_part_that_fails_ends_both_parties_with_its_reason(tmp_path, monkeypatch):
    program, _ = network()
    prepare_set(tmp_path, program, DIGEST, executions()["masked"], IMAGES)
    evaluate, failing = PartyEvaluator.evaluate, iter([False, False, True, False, False, False])

    def sometimes(self, share, prepared):
        if next(failing):
            raise ExecutionFault("no memory for it")
        return evaluate(self, share, prepared)

    monkeypatch.setattr(PartyEvaluator, "evaluate", sometimes)
    with pytest.raises(ExecutionFault, match="no memory for it"):
        run_both(tmp_path, executions()["masked"], Terms(DIGEST, "masked", 0, IMAGES, 4), (2, 2))


@pytest.mark.parametrize("asks", [(True, True), (True, False)], ids=str)
def test_rounds_begin_ahead_where_both_parties_ask_for_it(tmp_path, asks):
    """A network of one band per tensor has no more messages; what counts is that both parties go the same way."""
    execution, (program, _) = executions()["masked"], network()
    prepare_set(tmp_path, program, DIGEST, execution, 2)
    terms = Terms(DIGEST, "masked", 0, 2, 2)
    (client, server), expected = run_both(tmp_path, execution, terms, (2, 2), asks)
    assert client.batches == server.batches == ((2,) if all(asks) else (1, 1))
    fraction_bits = program.tensor(program.output).fraction_bits
    assert np.abs(decode(client.logits, fraction_bits) - expected).max() < 0.25 * np.abs(expected).max()
    predicted = predict(execution, program, list(client.batches), 0)
    assert client.counters.bytes_sent == sum(entry.bytes_sent[0] for entry in predicted.values())
    assert client.counters.rounds == server.counters.rounds == sum(entry.rounds for entry in predicted.values())
