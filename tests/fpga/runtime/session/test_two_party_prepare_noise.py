"""What two parties say while they prepare, and what they keep, is noise."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from helpers.parties.prepared_by_parties import Preparation, network
from helpers.statistics import LIMIT, chi_square

from rrnet_nni.fpga.protocols import PROTOCOLS, executions, preparations
from rrnet_nni.fpga.protocols.shared.lattice.modulus import SMALL
from rrnet_nni.fpga.protocols.shared.preparation import WEIGHT_KEY_BYTES, setup_bytes
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session.two_party_prepare import SETUP_STEP, prepare_in_process

each_protocol = pytest.mark.parametrize("protocol", preparations())


class RecordingChannel:
    """A channel that keeps what was sent."""

    def __init__(self, channel):
        self._channel, self.sent = channel, []

    def exchange(self, outgoing, incoming_bytes):
        if outgoing is not None:
            self.sent.append(np.frombuffer(np.ascontiguousarray(outgoing).tobytes(), np.uint8))
        return self._channel.exchange(outgoing, incoming_bytes)


def record_preparation(monkeypatch, protocol, seeds, images):
    """What each party says, by step from the start of the preparation on: [(step, octets), ...] of both."""
    program, _ = network()
    said = {0: [], 1: []}

    class Recording(preparations()[protocol]):
        def start(self, *arguments):
            channel = self._channel = RecordingChannel(self._channel)
            super().start(*arguments)
            said[self.number].append((SETUP_STEP, np.concatenate(channel.sent)))

        def prepare(self, sources, indices, observe):
            channel = self._channel

            @contextlib.contextmanager
            def record(name):
                channel.sent = []
                with observe(name):
                    yield
                said[self.number].append((name, np.concatenate([np.zeros(0, np.uint8), *channel.sent])))

            return super().prepare(sources, indices, record)

    with monkeypatch.context() as patched:
        patched.setitem(PROTOCOLS, protocol, replace(PROTOCOLS[protocol], preparation=Recording))
        prepare_in_process(program, executions()[protocol], seeds.parties, images)
    return said


@each_protocol
def test_everything_that_either_party_sends_is_noise(protocol, monkeypatch):
    """Per step and direction: the octets are uniform, with the same seeds and other coins they are others."""
    seeds = DealerSeeds.fresh()
    transcripts = [record_preparation(monkeypatch, protocol, seeds, 8) for _ in range(2)]
    checked = 0
    for party in (0, 1):
        assert transcripts[0][party][0][0] == SETUP_STEP
        for (name, first), (_, second) in zip(transcripts[0][party], transcripts[1][party], strict=True):
            if len(first) < 2_000:
                continue
            checked += 1
            for octets in (first, second, first ^ second):
                if name != SETUP_STEP or party == 0:  # points of a curve have bits that are not uniform
                    assert abs(chi_square(octets)) < LIMIT, (party, name)
    assert checked >= 13


@each_protocol
def test_two_preparations_with_the_same_seeds_say_nothing_twice_but_the_key_of_the_weights(protocol, monkeypatch):
    """From the first octet on: base transfers, trees and the encryption key are made of fresh coins."""
    seeds = DealerSeeds.fresh()
    transcripts = [record_preparation(monkeypatch, protocol, seeds, 1) for _ in range(2)]
    for party in (0, 1):
        first, second = (dict(transcript[party])[SETUP_STEP] for transcript in transcripts)
        assert len(first) == setup_bytes(SMALL)[party]
        if party == 0:
            assert (
                first[-WEIGHT_KEY_BYTES:].tobytes() == second[-WEIGHT_KEY_BYTES:].tobytes() == seeds.parties[0].weights
            )
            first, second = first[:-WEIGHT_KEY_BYTES], second[:-WEIGHT_KEY_BYTES]
        blocks = [
            octets[start:][: len(octets[start:]) // 16 * 16].reshape(-1, 16)
            for octets in (first, second)
            for start in (0, 8)
        ]
        assert len(np.unique(np.concatenate(blocks), axis=0)) == sum(len(each) for each in blocks)


@each_protocol
def test_party_ones_files_alone_are_noise(protocol, tmp_path):
    run = Preparation(tmp_path, protocol)
    assert [run.outcome(party, 30) for party in (0, 1)] == [("prepared", True)] * 2
    with MaterialStore(tmp_path / "machine-1" / "material", 1) as store:
        parts = store.claim(0, 2).take(2)._parts
    octets = np.concatenate([buffer for image in parts for buffer in image])
    assert abs(chi_square(octets)) < LIMIT
