"""Both parties' seeds are the operating system's, whole, and unrelated."""

import os

from helpers.parties.prepared_by_parties import network
from helpers.statistics import assert_full_entropy

from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.protocols.shared.randomness import ROOT_BYTES
from rrnet_nni.fpga.runtime.material import dealer
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds, prepare_set
from rrnet_nni.fpga.runtime.material.store import party_directory


def test_the_two_seeds_of_a_set_are_independent_in_every_bit():
    assert_full_entropy([b"".join(DealerSeeds.fresh().roots) for _ in range(16 * ROOT_BYTES + 80)], 2 * ROOT_BYTES)


def test_two_seeds_take_two_seeds_of_the_operating_systems_octets(monkeypatch):
    """A seed that is computed from the other one, however cleverly, takes fewer."""
    drawn, real = [], os.urandom
    monkeypatch.setattr(os, "urandom", lambda count: (drawn.append(count), real(count))[1])
    DealerSeeds.fresh()
    assert sum(drawn) >= 2 * ROOT_BYTES


def test_a_prepared_set_has_the_fresh_seeds_on_disk_and_no_set_has_another_ones(tmp_path, monkeypatch):
    made, real = [], DealerSeeds.fresh
    monkeypatch.setattr(dealer.DealerSeeds, "fresh", lambda: (made.append(real()), made[-1])[1])
    stored = set()
    for name in ("first", "second"):
        prepare_set(tmp_path / name, network()[0], "d" * 64, get_execution("masked"), 1)
        for party in (0, 1):
            seed = (party_directory(tmp_path / name, party) / "seed").read_bytes()
            assert seed == made[-1].roots[party]
            stored.add(seed)
    assert len(stored) == 4
