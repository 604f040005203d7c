"""`rrnet-2pc-prepare` and `rrnet-2pc-run` as a user meets them: real processes on real files."""

import json
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.networks.small_programs import digits_network
from helpers.parties.party_commands import answer, command, run

from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.program.revealed import with_argmax
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.commands.answer import table
from rrnet_nni.fpga.runtime.link.tls import CERTIFICATE, fingerprint, make_pair, read_certificate
from rrnet_nni.fpga.runtime.material.party_set import party_directory, unused_count
from rrnet_nni.fpga.runtime.session.quota import LEDGER


def test_a_run_gives_the_logits_of_the_reference_and_the_predicted_bytes(build):
    result = answer(run(build, "--json", "--batch", "2"))
    program, weights = digits_network()
    reference = run_reference(program, weights, np.load(build.parent / "x.npy"))
    assert np.abs(np.array(result["logits"]) - reference).max() < 0.2
    assert result["bytes_sent"] == result["predicted_bytes"]
    assert result["preprocessing"] == "dealer"
    assert result["preprocessing_source"] == "made for this run"
    for row in result["operations"]:
        assert row["bytes_sent"] == row["predicted_bytes"], row["operation"]
        assert row["rounds"] == row["predicted_rounds"], row["operation"]
    assert result["rounds"] == sum(row["predicted_rounds"] for row in result["operations"])
    assert (result["batches"], result["strands"]) == ([1, 1, 1], 2)  # two strands share batches of two
    assert result["online_s"] > 0
    assert result["offline_s"] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "in 2 parts, 2 side by side"),
        (("--batch", "1"), "in 3 parts, one after the other"),
        (("--batch", "2"), "in 3 parts, 2 side by side"),
        (("--strands", "1"), "rounds; bytes sent"),
    ],
)
def test_the_answer_says_how_many_parts_its_rounds_are_of_and_how_many_go_side_by_side(build, options, said):
    assert f" {said}" in run(build, *options).stdout


def test_every_executable_protocol_runs_the_same_build(build):
    for protocol in executions():
        result = answer(run(build, "--json", "--protocol", protocol))
        assert result["protocol"] == protocol
        assert result["bytes_sent"] == result["predicted_bytes"]


def test_prepared_material_is_used_once_and_then_refused(build):
    prepared = command("prepare", build, "--count", 4, "--json")
    assert answer(prepared)["count"] == 4
    assert answer(run(build, "--json"))["preprocessing_source"] == "prepared before"
    again = run(build, "--material", build.parent / "build.material")
    assert again.returncode == 2
    assert "enough for 1 of 3 images" in again.stderr
    assert answer(run(build, "--json"))["preprocessing_source"] == "made for this run"


@pytest.mark.parametrize(("folder", "name"), [("build", "."), ("build/within", "..")])
def test_material_lies_beside_the_build_however_that_is_named(build, monkeypatch, folder, name):
    (build.parent / folder).mkdir(exist_ok=True)
    monkeypatch.chdir(build.parent / folder)
    assert command("prepare", name, "--count", 1).returncode == 0
    assert unused_count(party_directory(build.parent / "build.material", 0)) == 1


def test_unused_material_is_not_thrown_away_unasked(build):
    assert command("prepare", build, "--count", 1).returncode == 0
    refused = command("prepare", build, "--count", 1)
    assert refused.returncode == 2
    assert "--replace" in refused.stderr
    assert command("prepare", build, "--count", 1, "--replace").returncode == 0


def test_two_commands_on_two_ends_of_a_network_reveal_to_the_server_alone(build, unused_tcp_port, tmp_path):
    assert command("prepare", build, "--count", 3).returncode == 0
    make_pair(tmp_path / "certificates")
    tls = [tmp_path / "certificates" / f"party-{party}" for party in (0, 1)]
    address, common = f"127.0.0.1:{unused_tcp_port}", ["--json", "--reveal-to", 1]
    arguments = [build, "--party", 1, "--listen", address, "--tls", tls[1], "--quota", 5, *common]
    server = subprocess.Popen(
        [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.run", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    client = answer(run(build, "--party", 0, "--connect", address, "--tls", tls[0], *common))
    output, _ = server.communicate(timeout=60)
    served = json.loads(output)
    assert client["logits"] is None
    assert np.shape(served["logits"]) == (3, 3)
    assert client["bytes_sent"] == served["bytes_sent"] == client["predicted_bytes"]
    assert json.loads((tls[1] / LEDGER).read_text()) == {fingerprint(read_certificate(tls[0] / CERTIFICATE)): 3}


@pytest.fixture
def unused_tcp_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def bad_inputs():
    good = np.zeros((1, 1, 6, 6))
    infinite = good.copy()
    infinite[0, 0, 0, 0] = np.inf
    return {
        "shape": (np.zeros((1, 3, 6, 6)), "shape"),
        "rank": (np.zeros((1, 6, 6)), "shape"),
        "empty": (np.zeros((0, 1, 6, 6)), "no images"),
        "infinite": (infinite, "not finite"),
        "huge": (good + 1e9, "beyond"),
        "text": (np.array([["a"]]), "not numbers"),
    }


@pytest.mark.parametrize("name", bad_inputs())
def test_bad_images_are_refused_in_one_sentence(build, name):
    images, sentence = bad_inputs()[name]
    np.save(build.parent / "x.npy", images)
    refused = run(build, "--json")
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert refused.stdout == ""


def test_what_is_seen_beforehand_is_refused_before_material_is_used(build, tmp_path):
    assert command("prepare", build, "--count", 3).returncode == 0
    cases = {
        ("--output", tmp_path / "nowhere" / "y.npy"): "cannot be written",
        ("--output", tmp_path): "is a directory",
        ("--party", 0, "--connect", "127.0.0.1:9", "--tls", tmp_path / "none"): "lacks key.pem",
        ("--tls", tmp_path): "belong to one party",
        ("--party", 0, "--connect", "127.0.0.1:9", "--quota", 5): "it needs --tls",
    }
    for arguments, sentence in cases.items():
        refused = run(build, *arguments)
        assert refused.returncode == 2, refused.stderr
        assert sentence in refused.stderr
    assert unused_count(party_directory(build.parent / "build.material", 0)) == 3


def test_logits_that_cannot_be_saved_are_printed_all_the_same(build):
    completed = run(build, "--json", "--output", "/dev/full")
    assert completed.returncode == 1
    assert completed.stderr.endswith("/dev/full cannot be written: No space left on device\n")
    assert np.shape(json.loads(completed.stdout)["logits"]) == (3, 3)


def test_images_beyond_the_words_that_a_protocol_opens_are_refused_by_it_alone(build):
    program, weights = digits_network()
    tensors = dict(program.tensors) | {"image": replace(program.tensor("image"), ring_bits=16)}
    write_build(build.parent / "narrow", replace(program, tensors=tensors), weights, {"device": "zcu104"})
    np.save(build.parent / "x.npy", np.full((1, 1, 6, 6), 2.0**14 / 2**10))
    arguments = build.parent / "narrow", "--input", build.parent / "x.npy", "--protocol"
    refused = command("run", *arguments, "masked")
    assert refused.returncode == 2
    assert "image 0 reaches 16, beyond ±16, the limit of this build and protocol;" in refused.stderr
    assert command("run", *arguments, "beaver-ot").returncode == 0


def test_modules_in_the_working_directory_do_not_take_the_place_of_pythons(build, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "inspect.py").write_text("raise RuntimeError('not of Python')")
    monkeypatch.chdir(tmp_path / "here")
    assert run(build).returncode == 0


def test_an_unknown_host_is_reported_at_once(build):
    assert command("prepare", build, "--count", 3).returncode == 0
    make_pair(build.parent / "keys")
    address, keys = "no-such-host.invalid:7700", ("--timeout", 1000, "--tls", build.parent / "keys" / "party-0")
    absent = run(build, "--party", 0, "--connect", address, *keys)
    elsewhere = command("run", build, "--party", 1, "--listen", address, *keys)
    assert absent.returncode == elsewhere.returncode == 1
    assert f"cannot connect to {address}: " in absent.stderr
    assert f"cannot listen on {address}: " in elsewhere.stderr
    assert "Unknown error" not in absent.stderr + elsewhere.stderr


def test_debug_shows_where_a_process_failed(build):
    assert command("prepare", build, "--count", 3).returncode == 0
    (party_directory(build.parent / "build.material", 1) / "weights.key").unlink()
    refused = run(build, "--debug")
    assert refused.returncode == 2
    assert "party 1 said:" in refused.stderr
    assert "in read_keys" in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("rrnet-2pc-run: ")


def test_a_port_in_use_and_an_absent_peer_are_reported_in_one_sentence(build, unused_tcp_port):
    assert command("prepare", build, "--count", 3).returncode == 0
    address = f"127.0.0.1:{unused_tcp_port}"
    with socket.create_server(("127.0.0.1", unused_tcp_port)):
        taken = command("run", build, "--party", 1, "--listen", address, "--timeout", 1)
    assert taken.stderr.strip() == f"rrnet-2pc-run: cannot listen on {address}: Address already in use"
    nobody = command("run", build, "--party", 1, "--listen", address, "--timeout", 0.3)
    assert f"nobody connected to {address} within 0.3 s" in nobody.stderr
    absent = run(build, "--party", 0, "--connect", address, "--timeout", 0.3)
    assert f"cannot connect to {address}" in absent.stderr
    assert taken.returncode == nobody.returncode == absent.returncode == 1


def test_the_table_for_people_has_a_line_per_operation_that_sends_and_the_clock(build):
    completed = run(build, "--protocol", "masked", "--pace", "device")
    assert completed.returncode == 0, completed.stderr
    names = [line.split()[0] for line in completed.stdout.splitlines()[1:] if line.strip()]
    assert names.count("conv") == 2  # its weights' opening, and itself
    assert names.count("relu") == 1
    assert "two boards would take" in completed.stdout
    assert "bytes sent" in completed.stdout


def test_bad_usage_is_refused_in_one_sentence(build):
    (build.parent / "broken.npy").write_bytes(b"nothing")
    cases = {
        ("--protocol", "paper"): "cannot be executed",
        ("--batch", "0"): "positive",
        ("--material", "/nowhere"): "no prepared material",
        ("--listen", "127.0.0.1:1"): "--party",
        ("--party", "0", "--connect", "nowhere"): "HOST:PORT",
        ("--party", "0", "--connect", "198.51.100.1:7700"): "--tls",
    }
    for arguments, sentence in cases.items():
        refused = run(build, *arguments)
        assert refused.returncode == 2, arguments
        assert sentence in refused.stderr
        assert "Traceback" not in refused.stderr
    refused = command("run", build, "--input", build.parent / "broken.npy")
    assert refused.returncode == 2
    assert "broken.npy" in refused.stderr
    refused = command("run", build.parent / "nothing", "--input", build.parent / "x.npy")
    assert refused.returncode == 2


def test_npz_takes_the_array_named_like_the_input(build):
    images = np.load(build.parent / "x.npy")
    path = build.parent / "x.npz"
    np.savez(path, image=images, labels=np.arange(3))
    assert answer(command("run", build, "--input", path, "--json"))["images"] == 3
    np.savez(path, pictures=images, labels=np.arange(3))
    refused = command("run", build, "--input", path, "--json")
    assert refused.returncode == 2
    assert "'image'" in refused.stderr


def test_no_secret_is_printed(build):
    completed = run(build, "--debug")
    said = completed.stdout + completed.stderr
    assert completed.returncode == 0
    assert "1.2345" not in said


def test_an_argmax_build_opens_the_class_and_nothing_else(build):
    program, weights = digits_network()
    reference = run_reference(program, weights, np.load(build.parent / "x.npy"))
    write_build(build, with_argmax(program), weights, {"device": "zcu104", "protocol": "masked"})
    result = answer(run(build, "--json"))
    assert result["reveal"] == "argmax"
    assert result["logits"] == np.eye(3)[reference.argmax(axis=1)].tolist()
    assert result["outputs"] == reference.argmax(axis=1).tolist()
    assert result["bytes_sent"] == result["predicted_bytes"]
    assert all(one["probability"] is None for one in result["predictions"])
    assert f"image 0: class {reference[0].argmax()}\n" in table(result) + "\n"
    refused = run(build, "--reveal", "logits")
    assert refused.returncode == 2
    assert "this build computes the argmax" in refused.stderr
    assert "makes it now" not in refused.stderr


def test_rounded_logits_are_multiples_of_what_is_kept_for_the_predicted_bytes(build):
    result = answer(run(build, "--json", "--reveal", "rounded:2"))
    logits = np.array(result["logits"])
    assert np.array_equal(logits * 4, np.rint(logits * 4))
    program, weights = digits_network()
    reference = run_reference(program, weights, np.load(build.parent / "x.npy"))
    assert np.abs(logits - reference).max() < 0.25 + 0.2
    assert result["bytes_sent"] == result["predicted_bytes"]
    assert result["reveal"] == "rounded:2"
