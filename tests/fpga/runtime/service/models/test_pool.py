"""A party's pool: sets that suit, each used by one lane, and gone when it is used up."""

import time

import pytest
from helpers.parties.served import PROTOCOL, write_digits_sized_build

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.material import store as material_store
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.material.party_set import party_directory
from rrnet_nni.fpga.runtime.service.models.pool import ASIDE_S, SETTLED_S, Pool


@pytest.fixture
def deal(tmp_path):
    build = write_digits_sized_build(tmp_path / "build")

    def add(name, count=3, protocol=PROTOCOL):
        root = tmp_path / "pool" / name
        prepare_set(root, build.program, build.program_digest, get_execution(protocol), count)
        return root

    add.build = build
    return add


def pool_of(deal, tmp_path, party=1, certificates=None, weights=None):
    traffic = get_execution(PROTOCOL).traffic(deal.build.program, 1)
    corrections = sum(each.offline_bytes[party] for each in traffic)
    return Pool(tmp_path / "pool", party, deal.build.program_digest, PROTOCOL, corrections, certificates, weights)


def test_only_sets_for_this_program_and_protocol_count(deal, tmp_path):
    pool = pool_of(deal, tmp_path)
    assert pool.left() == 0
    deal("a", 3)
    deal("b", 4)
    deal("other", 5, protocol="beaver-ot")
    (tmp_path / "pool" / "rubbish").mkdir()
    pool.changed()
    assert pool.left() == 7
    assert [each.root.name for each in pool.sets()] == ["a", "b"]


def test_a_set_belongs_to_one_lane_and_goes_when_it_is_used_up(deal, tmp_path):
    deal("a", 3)
    pool = pool_of(deal, tmp_path)
    set_id = pool.sets()[0].description.set_id
    store = pool.open(set_id)
    with pytest.raises(Refusal, match="another process"):
        pool.open(set_id)
    store.claim(0, 2)
    pool.note(set_id, 0, 2, 1)
    assert pool.left() == 1
    pool.close(store)
    assert pool.left() == 1
    store = pool.open(set_id)
    assert store.next_index == 2
    store.claim(2, 1)
    pool.note(set_id, 2, 1, 0)
    pool.close(store, used_up=True)
    assert pool.left() == 0
    assert not party_directory(tmp_path / "pool" / "a", 1).exists()
    assert party_directory(tmp_path / "pool" / "a", 0).exists()  # the other party's own
    with pytest.raises(Refusal, match="no set"):
        pool.open(set_id)


def test_a_set_that_one_party_cannot_use_does_not_count_until_it_is_opened_or_some_time_has_passed(
    deal, tmp_path, monkeypatch
):
    deal("a", 3)
    deal("b", 4)
    pool = pool_of(deal, tmp_path)
    first, second = (each.description.set_id for each in pool.sets())
    pool.set_aside(first)
    assert pool.left() == 4
    pool.close(pool.open(first))
    assert pool.left() == 7
    pool.set_aside(second)
    assert pool.left() == 3
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + ASIDE_S + 1)
    assert pool.left() == 7


def test_a_set_that_cannot_be_bound_is_not_kept_from_others(deal, tmp_path, monkeypatch):
    deal("a", 3)
    pool = pool_of(deal, tmp_path, certificates="a" * 64)
    set_id = pool.sets()[0].description.set_id

    def disk_is_full(*arguments):
        raise ExecutionFault("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(material_store, "write_durably", disk_is_full)
        with pytest.raises(ExecutionFault, match="full"):
            pool.open(set_id)
    assert pool.left() == 0, "it does not count for a while"
    pool.close(pool.open(set_id))
    assert pool.left() == 3


def test_a_set_of_other_certificates_does_not_count(deal, tmp_path):
    deal("a", 3)
    deal("b", 4)
    pool = pool_of(deal, tmp_path, certificates="a" * 64)
    first, second = (each.description.set_id for each in pool.sets())
    pool.close(pool.open(first))
    other = pool_of(deal, tmp_path, certificates="b" * 64)
    with pytest.raises(Refusal, match="another pair of certificates"):
        other.open(first)
    other.close(other.open(second))
    assert other.left() == 4


def test_a_set_that_was_used_with_other_weights_is_refused_and_does_not_count(deal, tmp_path):
    deal("a", 3)
    deal("b", 4)
    weights = deal.build.weights
    pool = pool_of(deal, tmp_path, weights=weights)
    first, second = (each.description.set_id for each in pool.sets())
    pool.close(pool.open(first))
    name = next(iter(weights))
    other = pool_of(deal, tmp_path, weights={**weights, name: weights[name] + 1})
    with pytest.raises(Refusal, match="other weights"):
        other.open(first)
    other.close(other.open(second))
    assert other.left() == 4


def test_what_only_one_party_has_goes_unless_it_is_fresh_or_an_operators(deal, tmp_path, monkeypatch):
    pool = pool_of(deal, tmp_path)
    made, dealt = deal("made-0123"), deal("dealt")
    for each in pool.sets():
        pool.discard(each.description.set_id)
    assert party_directory(made, 1).exists()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + SETTLED_S + 1)
    for each in pool.sets():
        pool.discard(each.description.set_id)
    assert not party_directory(made, 1).exists()
    assert party_directory(dealt, 1).exists()
