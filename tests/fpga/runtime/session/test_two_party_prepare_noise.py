"""What two parties say while they prepare, and what they keep, is noise."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from helpers.prepared_by_parties import Preparation, network

from rrnet_nni.fpga.protocols import PROTOCOLS, executions, preparations
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.material.two_party_prepare import prepare_in_process

each_protocol = pytest.mark.parametrize("protocol", preparations())


class RecordingChannel:
    """A channel that keeps what was sent."""

    def __init__(self, channel):
        self._channel, self.sent = channel, []

    def exchange(self, outgoing, incoming_bytes):
        if outgoing is not None:
            self.sent.append(np.frombuffer(np.ascontiguousarray(outgoing).tobytes(), np.uint8))
        return self._channel.exchange(outgoing, incoming_bytes)


@each_protocol
def test_everything_that_either_party_sends_is_noise(protocol, monkeypatch):
    """Per operation and direction: the octets are uniform, with the same seeds and other coins they are others."""
    program, _ = network()
    seeds = DealerSeeds.fresh()
    transcripts = []
    for _ in range(2):
        said = {0: [], 1: []}

        class Recording(preparations()[protocol]):
            def prepare(self, sources, indices, observe, said=said):
                channel = RecordingChannel(self._channel)
                self._transfers._channel = channel

                @contextlib.contextmanager
                def record(name):
                    channel.sent = []
                    with observe(name):
                        yield
                    said[self.number].append((name, np.concatenate([np.zeros(0, np.uint8), *channel.sent])))

                return super().prepare(sources, indices, record)

        with monkeypatch.context() as patched:
            patched.setitem(PROTOCOLS, protocol, replace(PROTOCOLS[protocol], preparation=Recording))
            prepare_in_process(program, executions()[protocol], seeds.roots, 8)
        transcripts.append(said)
    checked = 0
    for party in (0, 1):
        for (name, first), (_, second) in zip(transcripts[0][party], transcripts[1][party], strict=True):
            if len(first) < 2_000:
                continue
            checked += 1
            for octets in (first, second, first ^ second):
                counts = np.bincount(octets, minlength=256)
                expected = len(octets) / 256
                score = (((counts - expected) ** 2 / expected).sum() - 255) / np.sqrt(510)
                assert abs(score) < 6, (party, name, score)
    assert checked >= 12


@each_protocol
def test_party_ones_files_alone_are_noise(protocol, tmp_path):
    run = Preparation(tmp_path, protocol)
    assert [run.outcome(party, 30) for party in (0, 1)] == [("prepared", True)] * 2
    with MaterialStore(tmp_path / "machine-1" / "material", 1) as store:
        parts = store.claim(0, 2).take(2)._parts
    octets = np.concatenate([buffer for image in parts for buffer in image])
    counts = np.bincount(octets, minlength=256)
    expected = octets.size / 256
    assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 6 * np.sqrt(510)
