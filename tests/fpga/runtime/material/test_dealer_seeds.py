"""Both parties' seeds are the operating system's, whole, and unrelated."""

import os

from helpers.parties.prepared_by_parties import network
from helpers.statistics import assert_full_entropy

from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.material import dealer
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds, prepare_set
from rrnet_nni.fpga.runtime.material.key_chain import PartyKeys
from rrnet_nni.fpga.runtime.material.party_set import SET_ID_BYTES, party_directory, read_description, read_keys


def test_the_two_seeds_of_a_set_are_independent_in_every_bit():
    size = 2 * PartyKeys.SIZE
    assert_full_entropy([octets_of(DealerSeeds.fresh()) for _ in range(8 * size + 80)], size)


def octets_of(seeds):
    return b"".join(keys.octets for keys in seeds.parties)


def test_two_seeds_take_two_seeds_of_the_operating_systems_octets(monkeypatch):
    """A seed that is computed from the other one, however cleverly, takes fewer."""
    drawn, real = [], os.urandom
    monkeypatch.setattr(os, "urandom", lambda count: (drawn.append(count), real(count))[1])
    DealerSeeds.fresh()
    assert sum(drawn) >= 2 * PartyKeys.SIZE + SET_ID_BYTES


def test_a_prepared_set_has_the_fresh_seeds_on_disk_and_no_set_has_another_ones(tmp_path, monkeypatch):
    made, real = [], DealerSeeds.fresh
    monkeypatch.setattr(dealer.DealerSeeds, "fresh", lambda: (made.append(real()), made[-1])[1])
    stored = set()
    for name in ("first", "second"):
        prepare_set(tmp_path / name, network()[0], "d" * 64, get_execution("masked"), 1)
        for party in (0, 1):
            path = party_directory(tmp_path / name, party)
            assert read_keys(path) == made[-1].parties[party]
            assert bytes.fromhex(read_description(path).set_id) == made[-1].set_id
            stored |= {read_keys(path).weights, read_keys(path).link}
    assert len(stored) == 8
    assert made[0].set_id != made[1].set_id
