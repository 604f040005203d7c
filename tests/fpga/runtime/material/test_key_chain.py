"""Keys of inferences go forward only: a party's files do not lead to those that it has used."""

import re

import pytest
from helpers.parties.prepared_by_parties import network

from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.protocols.shared.randomness import KEY_BYTES
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.material.key_chain import LINK_BYTES, PartyKeys
from rrnet_nni.fpga.runtime.material.party_set import party_directory, read_keys
from rrnet_nni.fpga.runtime.material.store import MaterialStore


@pytest.fixture(params=executions().values(), ids=executions())
def root(request, tmp_path):
    prepare_set(tmp_path / "material", network()[0], "d" * 64, request.param, 5)
    return tmp_path / "material"


def reachable_keys(directory, count=12):
    """All keys that follow from what a party's files hold, wherever it stands in them, as octets or hexadecimal."""
    found = set()
    for file in directory.iterdir():
        octets = file.read_bytes()
        texts = re.findall(rb"[0-9a-f]{32,}", octets)
        for data in (octets, *(bytes.fromhex(text[: len(text) // 2 * 2].decode()) for text in texts)):
            found.update(data[place : place + KEY_BYTES] for place in range(len(data)))
            for place in range(min(len(data), 512) - LINK_BYTES + 1):
                found.update(PartyKeys(b"", data[place : place + LINK_BYTES]).inferences(count)[0])
    return found


@pytest.mark.parametrize("party", [0, 1])
def test_a_partys_files_do_not_open_what_it_used(root, party):
    """The keys of claimed inferences follow from nothing in its directory, those of the others do."""
    directory = party_directory(root, party)
    keys, _ = read_keys(directory).inferences(5)
    assert reachable_keys(directory) >= set(keys)
    with MaterialStore(root, party) as store:
        claimed = store.claim(1, 2)
        assert reachable_keys(directory).isdisjoint(keys[:3])
        assert reachable_keys(directory) >= set(keys[3:])
        assert list(claimed.take(2).source(0).keys) == keys[1:3]
    with MaterialStore(root, party) as store:
        assert list(store.claim(4, 1).take(1).source(0).keys) == keys[4:]
    assert reachable_keys(directory).isdisjoint(keys)
