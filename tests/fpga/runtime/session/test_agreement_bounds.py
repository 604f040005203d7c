"""What a peer can make a party do before anything is computed: use up so much material, learn so much, and no more."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.parties.prepared_by_parties import network
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.link.frames import LinkFault, without_paths
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session.agreement import MOST_SKIPPED, Terms, agree

DIGEST = "e" * 64


class Elsewhere:
    """A store whose owner says of itself that it has used so many."""

    def __init__(self, store, used):
        self.description, self.next_index = store.description, used


@pytest.fixture
def both(tmp_path):
    """A function from both parties' used counts and a session's images to what each agrees on, or says instead."""
    prepare_set(tmp_path / "m", network()[0], DIGEST, get_execution("masked"), 2)

    def run(used, images):
        ends = socket.socketpair()

        def side(number):
            terms = Terms(DIGEST, "masked", 0, images if number == 0 else None, 1)
            with MaterialStore(tmp_path / "m", number) as store, Link(ends[number], "the other", 10) as link:
                try:
                    return agree(link, number, terms, Elsewhere(store, used[number]))
                except (Refusal, ExecutionFault) as error:
                    return str(error)

        with ThreadPoolExecutor(2) as pool:
            return [future.result() for future in [pool.submit(side, number) for number in (0, 1)]]

    return run


def test_a_peer_moves_the_index_as_far_as_crashes_can_and_not_further(both):
    assert both((0, MOST_SKIPPED), 1) == [(1, MOST_SKIPPED, 1, False)] * 2
    assert both((2_000, 0), 1_000) == [(1_000, 2_000, 1, False)] * 2
    for used in ((0, MOST_SKIPPED + 1), (10**9, 0)):
        assert all("inferences of the material are used here" in said for said in both(used, 1))


def test_a_negative_index_is_no_index(both):
    assert any("incomplete" in str(said) for said in both((-5, 0), 1))


def test_material_is_bound_to_the_certificates_of_both_parties(tmp_path):
    prepare_set(tmp_path / "m", network()[0], DIGEST, get_execution("masked"), 2)
    for _ in range(2):
        with MaterialStore(tmp_path / "m", 1) as store:
            store.bind_certificates("a" * 64)
    with MaterialStore(tmp_path / "m", 1) as store, pytest.raises(Refusal, match="another pair of certificates"):
        store.bind_certificates("b" * 64)


def test_an_abort_tells_the_peer_no_path():
    ends = socket.socketpair()
    with Link(ends[0], "the server", 5) as client, Link(ends[1], "the client", 5) as server:
        server.abort("the material in /home/a user/my models/x.material/party-1 was made for another program")
        with pytest.raises(LinkFault) as heard:
            client.exchange_control(b"hello")
    assert str(heard.value) == "the server stopped: the material in (a local file) was made for another program"


def test_an_abort_tells_the_peer_no_name_with_blanks_of_a_path_that_the_link_knows(tmp_path):
    known = tmp_path / "my secret models"
    ends = socket.socketpair()
    with Link(ends[0], "the server", 5) as client, Link(ends[1], "the client", 5, (known,)) as server:
        server.abort(f"the material in {known} was made for another program")
        with pytest.raises(LinkFault) as heard:
            client.exchange_control(b"hello")
    assert str(heard.value) == "the server stopped: the material in (a local file) was made for another program"


names = st.text("abcdefgh. -_", min_size=1, max_size=12).map(str.strip).filter(bool)


@given(st.lists(names, min_size=1, max_size=5), st.booleans())
def test_no_part_of_a_path_is_left_in_a_sentence(parts, absolute):
    path = ("/" if absolute else "./") + "/".join(f"Q{part}Q" for part in parts) + "/file"
    said = without_paths(f"it cannot write {path}: no space left on device")
    assert "Q" not in said
    assert said.startswith("it cannot write ")
    assert said.endswith(": no space left on device")


@given(names, names, st.sampled_from(["", "/seed", "/party-0/set.json"]), st.booleans())
def test_no_part_of_a_known_path_is_left_whatever_blanks_its_last_name_has(parent, name, below, absolute):
    known = Path(("/" if absolute else "") + f"Q{parent}Q") / f"Q{name}Q"
    said = without_paths(f"the material in {known}{below} was made for another program", [known])
    assert said == "the material in (a local file) was made for another program"
    bare = Path(f"Q{name} Q")
    said = without_paths(f"{bare}{below} and {bare.absolute()} are damaged", [bare])
    assert said == "(a local file) and (a local file) are damaged"


def test_a_sentence_without_a_path_stays_as_it_is():
    said = "the parties differ in the ring: 32 here, 16 there"
    assert without_paths(said) == said
