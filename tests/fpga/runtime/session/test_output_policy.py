"""What is revealed of the logits is decided where they are not learned: dropped bits never leave that party."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from helpers.parties.prepared_by_parties import network
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program.revealed import with_argmax
from rrnet_nni.fpga.runtime.session.accounting import Recorder
from rrnet_nni.fpga.runtime.session.batches import Conversation
from rrnet_nni.fpga.runtime.session.output_policy import check_policy, drop, dropped_bits, restore

words = arrays.arrays(np.uint32, 8, elements=st.integers(0, 2**32 - 1))
values = arrays.arrays(np.int32, 8, elements=st.integers(-(2**30), 2**30))


@given(values, words, st.integers(0, 24))
def test_what_is_opened_is_the_floor_or_one_more_on_the_bits_that_are_kept(logits, first, bits):
    second = logits.view(np.uint32) - first
    opened = restore(drop(0, first, bits) + drop(1, second, bits), bits).view(np.int32).astype(np.int64)
    floor = logits.astype(np.int64) >> bits << bits
    assert np.isin(opened - floor, [0, 1 << bits] if bits else [0]).all()


@given(words, st.integers(2, 24), st.integers(1, 2**24 - 1), st.sampled_from([0, 1]))
def test_what_is_sent_does_not_depend_on_which_low_bits_a_share_has(share, bits, other, number):
    low = np.uint32(2**bits - 1)
    first, second = share | np.uint32(1), (share & ~low) | np.uint32(max(1, other & int(low)))
    assert (drop(number, first, bits) < 2 ** (32 - bits)).all()
    assert np.array_equal(drop(number, first, bits), drop(number, second, bits))


class Heard:
    """A link that keeps what is sent."""

    def exchange(self, outgoing, incoming_bytes):
        self.sent = outgoing
        return np.zeros(incoming_bytes, np.uint8)


@pytest.mark.parametrize(("policy", "dropped"), [("logits", 0), ("rounded:3", 10), ("rounded:20", 0)])
def test_the_server_sends_only_the_bits_of_the_policy(policy, dropped, monkeypatch):
    program, _ = network()
    heard = Heard()
    monkeypatch.setattr(Recorder, "measure", lambda self, *step: nullcontext())
    conversation = Conversation(1, program, heard, None, Recorder(heard), 0, policy)
    share = np.random.default_rng(0).integers(0, 2**32, (500, 3), np.uint32)
    conversation.open_logits(share.copy())
    assert dropped_bits(policy, program) == dropped
    assert int(heard.sent.max()).bit_length() == 32 - dropped
    assert np.array_equal(heard.sent, share) == (dropped == 0)


@pytest.mark.parametrize("text", ["arg", "rounded", "rounded:", "rounded:-1", "rounded:32", "rounded:1.5", ""])
def test_another_policy_is_refused(text):
    with pytest.raises(ValueError, match="neither"):
        check_policy(text)


def test_the_argmax_policy_refuses_a_build_that_opens_logits_and_the_other_way_round():
    program, _ = network()
    for policy, refused in (("argmax", program), ("logits", with_argmax(program)), ("rounded:3", with_argmax(program))):
        with pytest.raises(Refusal, match="this build computes the"):
            dropped_bits(policy, refused)
    assert dropped_bits("argmax", with_argmax(program)) == 0


def test_a_build_that_says_argmax_and_does_not_end_in_it_is_refused():
    program, _ = network()
    with pytest.raises(Refusal, match="does not end in computing it"):
        dropped_bits("argmax", replace(program, reveals="argmax"))


def test_a_policy_that_leaves_nothing_is_refused():
    program, _ = network()
    tensors = dict(program.tensors)
    tensors[program.output] = replace(tensors[program.output], fraction_bits=40)
    with pytest.raises(Refusal, match="leaves no bit"):
        dropped_bits("rounded:0", replace(program, tensors=tensors))
