"""What a client's certificate uses is counted durably, over sessions and sets, before anything is computed for it."""

import json
import socket
import stat
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.parties.prepared_by_parties import network

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.material.party_set import party_directory, unused_count
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session.agreement import Terms
from rrnet_nni.fpga.runtime.session.quota import LEDGER, Quota
from rrnet_nni.fpga.runtime.session.session import Party

DIGEST, CLIENT = "d" * 64, "c" * 64


def test_a_quota_holds_over_processes_and_identities_have_their_own(tmp_path):
    for _ in range(3):
        Quota(tmp_path, CLIENT, 10).claim(3)
    with pytest.raises(Refusal, match="asks for 2 images, and 1 of its quota of 10 are left"):
        Quota(tmp_path, CLIENT, 10).claim(2)
    Quota(tmp_path, CLIENT, 10).claim(1)
    Quota(tmp_path, "a" * 64, 10).claim(10)
    assert json.loads((tmp_path / LEDGER).read_text()) == {CLIENT: 10, "a" * 64: 10}
    assert stat.S_IMODE((tmp_path / LEDGER).stat().st_mode) == 0o600


def test_a_quota_that_was_lowered_leaves_nothing(tmp_path):
    Quota(tmp_path, CLIENT, 10).claim(8)
    with pytest.raises(Refusal, match="0 of its quota of 5"):
        Quota(tmp_path, CLIENT, 5).claim(1)


def test_sessions_side_by_side_use_no_more_than_there_is(tmp_path):
    def claim(_):
        try:
            Quota(tmp_path, CLIENT, 40).claim(3)
        except Refusal:
            return 0
        return 3

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(40))) == 39


@pytest.mark.parametrize("text", ["{", "[]", '{"x": -1}', '{"x": "1"}'])
def test_a_count_that_cannot_be_read_is_refused(tmp_path, text):
    (tmp_path / LEDGER).write_text(text)
    with pytest.raises(Refusal, match="unknown"):
        Quota(tmp_path, CLIENT, 40).claim(1)
    assert (tmp_path / LEDGER).read_text() == text


def test_a_client_without_quota_is_told_so_and_no_material_is_used(tmp_path):
    program, weights = network()
    prepare_set(tmp_path / "m", program, DIGEST, get_execution("masked"), 4)

    def session():
        ends = socket.socketpair()

        def side(number):
            terms = Terms(DIGEST, "masked", 0, 2 if number == 0 else None, 2)
            quota = Quota(tmp_path, CLIENT, 2) if number == 1 else None
            words = np.zeros((2, 2, 8, 8), np.uint32) if number == 0 else None
            with MaterialStore(tmp_path / "m", number) as store, Link(ends[number], "the other", 10) as link:
                try:
                    party = Party(number, program, get_execution("masked"), link, store, quota=quota)
                    party.run(terms, words, weights if number == 1 else None)
                except (Refusal, ExecutionFault) as error:
                    link.abort(str(error))
                    return str(error)
            return None

        with ThreadPoolExecutor(2) as pool:
            return [future.result() for future in [pool.submit(side, number) for number in (0, 1)]]

    assert session() == [None, None]
    client, server = session()
    assert "0 of its quota of 2" in str(server)
    assert "0 of its quota of 2" in str(client)
    assert unused_count(party_directory(tmp_path / "m", 1)) == 2
