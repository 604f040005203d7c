"""What a party's command gives its link, and what it says of a set."""

import argparse
import socket
from dataclasses import replace

import pytest
from helpers.parties.prepared_by_parties import network

from rrnet_nni.fpga.protocols import get_execution, preparations
from rrnet_nni.fpga.protocols.shared import preparation
from rrnet_nni.fpga.protocols.shared.lattice.modulus import SMALL
from rrnet_nni.fpga.protocols.shared.preparation import statistical_bits
from rrnet_nni.fpga.runtime.commands import party_options
from rrnet_nni.fpga.runtime.commands.answer import _prepared
from rrnet_nni.fpga.runtime.commands.party_options import open_link, party_progress
from rrnet_nni.fpga.runtime.link.frames import LinkFault
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.party_set import TWO_PARTY, SetDescription


@pytest.mark.parametrize("named", ["build", "material", "tls", "input"])
def test_the_link_of_a_command_knows_every_path_that_the_command_was_given(tmp_path, named):
    paths = {name: tmp_path / f"my secret {name}" for name in ("build", "material", "tls", "input")}
    ends = socket.socketpair()
    options = argparse.Namespace(party=1, link_fd=ends[1].detach(), timeout=5.0, **paths)
    with Link(ends[0], "the server", 5) as client, open_link(options) as server:
        server.abort(f"{paths[named]} is damaged")
        with pytest.raises(LinkFault) as heard:
            client.exchange_control(b"hello")
    assert str(heard.value) == "the server stopped: (a local file) is damaged"


def test_bytes_of_some_images_of_a_set_are_those_under_the_modulus_of_the_whole_set(monkeypatch):
    program, _ = network()
    monkeypatch.setattr(preparation, "STATISTICAL_BITS", statistical_bits(program, 2, SMALL))
    whole, some = (preparations()["masked"].manner(program, images) for images in (100, 2))
    assert some.modulus == SMALL != whole.modulus
    described = SetDescription("0" * 32, "masked", "d" * 64, 100, 1, 1.0, 0, TWO_PARTY)
    found = _prepared(get_execution("masked"), program, 2, described)
    assert found == preparations()["masked"].traffic(program, 2, whole)
    assert found != preparations()["masked"].traffic(program, 2, replace(whole, modulus=SMALL))


def test_of_steps_that_follow_at_once_one_is_told_and_every_one_is_heard(monkeypatch, capsys):
    program, _ = network()
    names, heard = [operation.name for operation in program.operations], []
    monkeypatch.setattr(party_options, "LINE_S", 3600.0)
    options = argparse.Namespace(progress_lines=True)
    report = party_progress(options, program, "open logits", lambda step: heard.append(step) or "")
    assert report is not None
    for name in (*names, "open logits"):
        report("online", name)
    assert heard == [*names, "open logits"]
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"progress online 1/{len(names)} {names[0]}"
    assert last.endswith("open logits")
    monkeypatch.setattr(party_options, "LINE_S", 0.0)
    for name in names:
        report("online", name)
    assert len(capsys.readouterr().err.splitlines()) == len(names)
