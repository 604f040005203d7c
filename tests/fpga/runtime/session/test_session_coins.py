"""A session's nonces and seeds are fresh, at both parties, when they run and when they prepare."""

import json

import numpy as np
import pytest
from helpers.parties.prepared_by_parties import network
from helpers.statistics import assert_full_entropy

from rrnet_nni.fpga.protocols import executions, get_execution
from rrnet_nni.fpga.protocols.shared.randomness import SEED_BYTES
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session import in_process
from rrnet_nni.fpga.runtime.session.agreement import Terms, agree
from rrnet_nni.fpga.runtime.session.batches import send_seed
from rrnet_nni.fpga.runtime.session.two_party_prepare import Preparer

DIGEST = "c" * 64
SESSIONS = 8 * SEED_BYTES + 80


class FirstWord(Exception):
    """What a party says first."""


class Listener:
    """A link whose other end hears the first message and hangs up."""

    def exchange_control(self, message):
        raise FirstWord(message)


def nonce_of(say):
    with pytest.raises(FirstWord) as heard:
        say(Listener())
    return bytes.fromhex(json.loads(heard.value.args[0])["nonce"])


@pytest.mark.parametrize("number", [0, 1])
def test_every_session_has_a_nonce_of_full_entropy(tmp_path, number):
    prepare_set(tmp_path / "material", network()[0], DIGEST, get_execution("masked"), 1)
    terms = Terms(DIGEST, "masked", 0, 1, 1)
    with MaterialStore(tmp_path / "material", number) as store:
        nonces = [nonce_of(lambda link: agree(link, number, terms, store)) for _ in range(SESSIONS)]
    assert_full_entropy(nonces, 16)


@pytest.mark.parametrize("number", [0, 1])
def test_every_preparation_has_a_nonce_of_full_entropy(number):
    def say(link):
        preparer = Preparer(number, network()[0], DIGEST, executions()["masked"], None)
        preparer._link = link
        preparer._agree(1)

    assert_full_entropy([nonce_of(say) for _ in range(SESSIONS)], 16)


def test_the_seeds_that_share_images_and_weights_have_full_entropy():
    class Sink:
        def exchange(self, outgoing, incoming_bytes):
            self.sent = outgoing.tobytes()

    link, seeds = Sink(), []
    for _ in range(SESSIONS):
        seeds.append(send_seed(link, sender=True))
        assert link.sent == seeds[-1]
    assert_full_entropy(seeds, SEED_BYTES)


def test_shares_made_in_one_process_are_fresh():
    shares = [in_process.share_words(np.zeros(4, np.int32)) for _ in range(SESSIONS)]
    assert all(not (first + second).any() for first, second in shares)
    assert_full_entropy([first.tobytes() for first, _ in shares], 16)
