"""`--preprocessing two-party` as a user meets it: real processes, on one machine and on two ends of a network."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.parties.forked_parties import SURVIVAL_S, wait_for_child
from helpers.parties.prepared_by_parties import network

from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.protocols import preparations
from rrnet_nni.fpga.protocols.shared import preparation
from rrnet_nni.fpga.protocols.shared.lattice.modulus import LARGE
from rrnet_nni.fpga.protocols.shared.preparation import statistical_bits
from rrnet_nni.fpga.runtime.commands import prepare
from rrnet_nni.fpga.runtime.commands import run as cli
from rrnet_nni.fpga.runtime.link.tls import load_identity, make_pair
from rrnet_nni.fpga.runtime.material.party_set import CERTIFICATES, party_directory, read_description, unused_count
from rrnet_nni.fpga.runtime.session import two_party_prepare

SECRET_PIXEL = 1.2345678
each_protocol = pytest.mark.parametrize("protocol", preparations())


@pytest.fixture
def build(tmp_path):
    program, weights = network()
    write_build(tmp_path / "build", program, weights, {"device": "zcu104", "protocol": "masked"})
    images = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    images[0, 0, 0, :3] = SECRET_PIXEL
    np.save(tmp_path / "x.npy", images)
    return tmp_path / "build"


def command(main, *arguments):
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = main([str(argument) for argument in arguments])
    return status, output.getvalue(), errors.getvalue()


@each_protocol
def test_prepared_by_two_parties_and_run_a_build_gives_the_references_logits(protocol, build):
    options = "--protocol", protocol, "--json"
    status, output, errors = command(prepare.main, build, "--count", 3, "--preprocessing", "two-party", *options)
    prepared = json.loads(output)
    assert status == 0
    assert not errors
    assert 40 < prepared["set_statistical_bits"] < prepared["statistical_bits"]
    assert prepared["preprocessing"] == "two-party"
    assert prepared["bytes_sent"] == prepared["predicted_bytes"]
    assert all(row["bytes_sent"] == row["predicted_bytes"] for row in prepared["operations"])
    status, output, errors = command(cli.main, build, "--input", build.parent / "x.npy", *options)
    assert status == 0, errors
    result = json.loads(output)
    assert (result["preprocessing"], result["protocol"]) == ("two-party", protocol)
    assert result["preprocessing_source"] == "prepared before"
    assert result["bytes_sent"] == result["predicted_bytes"]
    assert result["offline_bytes"] == [round(sent * 2 / 3) for sent in prepared["bytes_sent"]]
    program, weights = network()
    reference = run_reference(program, weights, np.load(build.parent / "x.npy"))
    assert np.abs(np.array(result["logits"]) - reference).max() < 0.3
    material = build.parent / "build.material"
    assert unused_count(party_directory(material, 0)) == 1
    status, _, errors = command(
        cli.main,
        build,
        "--input",
        build.parent / "x.npy",
        "--preprocessing",
        "dealer",
        "--material",
        material,
        *options,
    )
    assert status == 2
    assert "two-party preprocessing, not of dealer" in errors
    assert "1.2345" not in output + errors


def test_a_dealer_needs_neither_weights_nor_images(build):
    (build / "weights.bin").unlink()
    (build.parent / "x.npy").unlink()
    status, output, errors = command(prepare.main, build, "--count", 1, "--json")
    assert (status, json.loads(output)["preprocessing"]) == (0, "dealer"), errors


def test_a_set_that_hides_the_weights_too_badly_is_refused_before_anything_is_made(build, monkeypatch):
    program, _ = network()
    wanted = statistical_bits(program, 3, LARGE)
    for module in (two_party_prepare, preparation):
        monkeypatch.setattr(module, "STATISTICAL_BITS", wanted)
    options = "--protocol", "masked", "--preprocessing", "two-party"
    status, _, errors = command(prepare.main, build, "--count", 6, *options)
    assert status == 2
    assert errors.count("share the weights' masks") == errors.count("\n") == 1
    assert f"{wanted - 1} statistical bits, not {wanted}: prepare sets of at most " in errors
    assert not (build.parent / "build.material").exists()


def test_two_machines_prepare_over_tls_and_keep_what_is_unused(build):
    make_pair(build.parent / "keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    parts = []
    for party, flag in ((1, "--listen"), (0, "--connect")):
        arguments = [str(build), "--count", "1", "--preprocessing", "two-party", "--party", str(party), flag, address]
        arguments += [
            "--tls",
            str(build.parent / "keys" / f"party-{party}"),
            "-o",
            str(build.parent / f"m{party}"),
            "--json",
        ]
        command_line = [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.prepare", *arguments]
        parts.append(subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    for part in parts:
        output, errors = part.communicate(timeout=60)
        assert part.returncode == 0, errors
        assert json.loads(output)["bytes_sent"] == json.loads(output)["predicted_bytes"]
    stored = [read_description(party_directory(build.parent / f"m{party}", party)) for party in (0, 1)]
    assert stored[0].set_id == stored[1].set_id
    pair = load_identity(build.parent / "keys" / "party-0", server_side=False).pair
    for party in (0, 1):
        assert (party_directory(build.parent / f"m{party}", party) / CERTIFICATES).read_text() == pair
    again = [
        "--count",
        1,
        "--preprocessing",
        "two-party",
        "--party",
        0,
        "--connect",
        address,
        "-o",
        build.parent / "m0",
    ]
    status, _, errors = command(prepare.main, build, *again)
    assert status == 2
    assert "still holds material for 1 inferences" in errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--preprocessing", "two-party", "--protocol", "masked-dcf"], "needs a dealer"),
        (["--party", "0", "--connect", "127.0.0.1:9"], "--preprocessing two-party"),
        (["--preprocessing", "two-party", "--party", "0"], "--listen ADDRESS or --connect ADDRESS"),
        (["--preprocessing", "two-party", "--party", "0", "--connect", "10.0.0.9:1"], "--tls"),
        (["--preprocessing", "two-party", "--connect", "127.0.0.1:9"], "--party"),
    ],
)
def test_bad_usage_of_two_party_preprocessing_is_refused(build, arguments, sentence):
    status, output, errors = command(prepare.main, build, "--count", 1, *arguments)
    assert status == 2
    assert output == ""
    assert sentence in errors


@pytest.mark.parametrize("module", ["prepare", "run"])
def test_a_command_whose_party_is_killed_while_it_prepares_says_so_and_leaves_nothing(build, module):
    np.save(build.parent / "many.npy", np.full((40, 2, 8, 8), SECRET_PIXEL))
    arguments = ["--count", "40"] if module == "prepare" else ["--input", str(build.parent / "many.npy")]
    line = [sys.executable, "-m", f"rrnet_nni.fpga.runtime.commands.{module}", str(build), *arguments, "--json"]
    running = subprocess.Popen(
        [*line, "--preprocessing", "two-party"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.kill(wait_for_child(running.pid, "--party\x000"), signal.SIGKILL)
    killed = time.monotonic()
    output, errors = running.communicate(timeout=60)
    assert time.monotonic() - killed < SURVIVAL_S + 5
    assert running.returncode == 1
    assert output == ""
    assert "party 0 was ended by SIGKILL" in errors
    assert "1.2345" not in errors
    assert not (build.parent / "build.material").exists()
    assert not list(build.parent.glob(".*partial*"))


def test_a_party_killed_in_the_middle_of_a_command_leaves_nothing(build):
    line = [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.prepare", str(build), "--count", "4000", "--json"]
    running = subprocess.Popen([*line, "--preprocessing", "two-party"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    party = wait_for_child(running.pid, "--party\x001")
    deadline = time.monotonic() + 30
    while not list(build.parent.glob(".*partial*/.*partial*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(build.parent.glob(".*partial*/.*partial*"))
    os.kill(party, signal.SIGKILL)
    running.communicate(timeout=60)
    assert running.returncode == 1
    assert sorted(path.name for path in build.parent.iterdir()) == ["build", "x.npy"]
