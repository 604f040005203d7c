"""Preprocessing by the two parties alone: what it makes, whom it refuses, and what is left when somebody dies."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from forked_parties import SURVIVAL_S, ForkedParties, relay_with

from rrnet_nni.fpga.board import cli, prepare_cli, two_party_prepare
from rrnet_nni.fpga.board.conformance import ProgramBuilder, first_divergence, preparation_mismatch
from rrnet_nni.fpga.board.dealer import DealerSeeds, deal_images
from rrnet_nni.fpga.board.executions import EXECUTIONS
from rrnet_nni.fpga.board.link import Link
from rrnet_nni.fpga.board.store import MaterialStore, party_directory, read_description, unused_count
from rrnet_nni.fpga.board.tls import make_pair
from rrnet_nni.fpga.board.two_party_prepare import Preparer, check_preparation, prepare_in_process
from rrnet_nni.fpga.compiler.emit import write_build
from rrnet_nni.fpga.compiler.reference import run_reference
from rrnet_nni.fpga.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.preprocessing.registry import PREPARATIONS
from rrnet_nni.fpga.program import (
    AffineOp,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    ReluOp,
    ReshapeOp,
    SquareOp,
    TruncateOp,
)

DIGEST = "b" * 64
each_protocol = pytest.mark.parametrize("protocol", PREPARATIONS)
SECRET_PIXEL = 1.2345678


def network():
    """Every kind of material once: convolution, truncation, ReLU, MaxPool, square, depthwise, linear."""
    b = ProgramBuilder((2, 8, 8), 8, seed=2)
    b.add(
        ConvOp,
        "conv",
        ["image"],
        (4, 8, 8),
        16,
        weight=b.constant("w", (4, 2, 3, 3), 8, 100),
        bias=None,
        padding=(1,) * 4,
    )
    b.add(TruncateOp, "conv.t", ["conv"], (4, 8, 8), 8, bits=8)
    b.add(ReluOp, "relu", ["conv.t"], (4, 8, 8), 8)
    b.add(MaxPoolOp, "pool", ["relu"], (4, 4, 4), 8, kernel=(3, 3), stride=(2, 2), padding=(1,) * 4)
    depthwise = b.constant("dw", (4, 1, 3, 3), 8, 128)
    b.add(ConvOp, "depthwise", ["pool"], (4, 2, 2), 16, weight=depthwise, bias=None, groups=4)
    b.add(TruncateOp, "depthwise.t", ["depthwise"], (4, 2, 2), 8, bits=8)
    b.add(SquareOp, "square", ["depthwise.t"], (4, 2, 2), 16)
    b.add(AffineOp, "affine", ["square", "depthwise.t"], (4, 2, 2), 16, multipliers=((1,), (256,)))
    b.add(TruncateOp, "affine.t", ["affine"], (4, 2, 2), 5, bits=11)
    b.add(ReshapeOp, "flat", ["affine.t"], (16,), 5)
    b.add(LinearOp, "fc", ["flat"], (3,), 13, weight=b.constant("fc", (3, 16), 8, 100), bias=None)
    return b.program(), b.weights


@each_protocol
def test_two_parties_make_what_a_dealer_with_their_seeds_would_deal(protocol):
    program, _ = network()
    seeds, execution = DealerSeeds.fresh(), EXECUTIONS[protocol]
    made = prepare_in_process(program, execution, seeds.roots, 3).corrections
    dealt = deal_images(execution.dealer(program, seeds.weight_masks), seeds, range(3))
    for ours, theirs in zip(made, dealt, strict=True):
        for operation, own, other in zip(program.operations, ours, theirs, strict=True):
            assert np.array_equal(own, other), operation.name


@pytest.mark.parametrize("seed", range(4))
def test_masks_of_narrow_words_are_prepared_as_a_dealer_would(seed):
    """On any rings: what is opened on how many bits, lifted where and squared how, follows from them."""
    program, _ = network()
    rings = np.random.default_rng(seed).choice([8, 12, 16, 20, 24, 32], len(program.tensors))
    tensors = {
        name: replace(tensor, ring_bits=int(bits)) for (name, tensor), bits in zip(program.tensors.items(), rings)
    }
    narrow, seeds, execution = replace(program, tensors=tensors), DealerSeeds.fresh(), EXECUTIONS["masked"]
    made = prepare_in_process(narrow, execution, seeds.roots, 2).corrections
    dealt = deal_images(execution.dealer(narrow, seeds.weight_masks), seeds, range(2))
    for ours, theirs in zip(made, dealt, strict=True):
        for operation, own, other in zip(program.operations, ours, theirs, strict=True):
            assert np.array_equal(own, other), operation.name
    assert preparation_mismatch(narrow, 2, execution) is None


@each_protocol
def test_images_prepared_apart_are_prepared_as_together(protocol, monkeypatch):
    """Groups of images are a matter of memory: what is made does not depend on them."""
    program, _ = network()
    seeds, execution = DealerSeeds.fresh(), EXECUTIONS[protocol]
    together = prepare_in_process(program, execution, seeds.roots, 3).corrections
    monkeypatch.setattr("rrnet_nni.fpga.preprocessing.preparation.GROUP_BYTES", 1)
    monkeypatch.setattr("rrnet_nni.fpga.preprocessing.linear_material.HELD_BYTES", 1)
    apart = prepare_in_process(program, execution, seeds.roots, 3).corrections
    for ours, theirs in zip(together, apart, strict=True):
        assert all(np.array_equal(own, other) for own, other in zip(ours, theirs, strict=True))


@each_protocol
@pytest.mark.parametrize("batch", [1, 3])
def test_an_execution_with_two_party_material_is_the_reference_bit_for_bit(protocol, batch):
    program, weights = network()
    images = np.random.default_rng(batch).normal(size=(batch, 2, 8, 8))
    assert first_divergence(program, weights, images, EXECUTIONS[protocol], "two-party") is None


@each_protocol
def test_each_operation_is_prepared_with_the_predicted_bytes(protocol):
    assert preparation_mismatch(network()[0], 2, EXECUTIONS[protocol]) is None


def preparing_process(number, end, other_end, root, timeout_s, count, digest, protocol, pipe):
    """One party in a process of its own; reports ("prepared", bytes) or ("fault", sentence)."""
    other_end.close()
    try:
        with Link(end, f"party {1 - number}", timeout_s) as link:
            try:
                prepared = Preparer(number, network()[0], digest, EXECUTIONS[protocol], link).run(root, count)
            except (ExecutionFault, Refusal) as error:
                link.abort(str(error))
                raise
        pipe.send(("prepared", prepared.bytes_sent == prepared.predicted_bytes))
    except (ExecutionFault, Refusal) as error:
        pipe.send(("fault", str(error)))


class Preparation(ForkedParties):
    """A preparation by both parties, each with a root of its own."""

    def __init__(self, root, protocol, count=2, timeout_s=20.0, relay=None, digests=(DIGEST, DIGEST)):
        def arguments_of(number):
            return root / f"machine-{number}" / "material", timeout_s, count, digests[number], protocol

        super().__init__(preparing_process, arguments_of, relay)


def leftovers(root):
    """Directories that a party left beside the place of its material."""
    return [path.name for machine in (0, 1) for path in (root / f"machine-{machine}").glob(".*partial*")]


def check_unusable(root):
    """No run takes what is there: a part is missing, or the two parts are of different sets."""
    identities = set()
    for party in (0, 1):
        try:
            with MaterialStore(root / f"machine-{party}" / "material", party) as store:
                identities.add(store.description.set_id)
        except Refusal:
            identities.add(None)
    assert None in identities or len(identities) == 2


def check_rerun(root, protocol):
    """A rerun works, and both parts are of one set."""
    for party in (0, 1):
        subprocess.run(["rm", "-rf", str(root / f"machine-{party}")], check=True)
    run = Preparation(root, protocol)
    assert [run.outcome(party, 30) for party in (0, 1)] == [("prepared", True)] * 2
    assert leftovers(root) == []
    described = [read_description(party_directory(root / f"machine-{party}" / "material", party)) for party in (0, 1)]
    assert described[0].set_id == described[1].set_id
    assert all((each.preprocessing, each.protocol) == ("two-party", protocol) for each in described)


def check_kills(root, protocol, moments, generator):
    started = time.monotonic()
    check_rerun(root, protocol)
    duration = time.monotonic() - started
    faults = 0
    for moment in range(moments):
        victim = moment % 2
        for party in (0, 1):
            subprocess.run(["rm", "-rf", str(root / f"machine-{party}")], check=True)
        run = Preparation(root, protocol)
        time.sleep(generator.uniform(0, duration))
        os.kill(run.processes[victim].pid, signal.SIGKILL)
        killed, survivor = run.outcome(victim), run.outcome(1 - victim)
        assert survivor is not None
        if survivor[0] == "fault":
            faults += 1
            assert f"party {victim}" in survivor[1], survivor
            check_unusable(root)
        else:
            assert killed is None or killed[0] == "prepared"
    assert faults
    check_rerun(root, protocol)


@each_protocol
def test_a_killed_party_stops_the_other_and_leaves_nothing_to_use(protocol, tmp_path):
    check_kills(tmp_path, protocol, 4, np.random.default_rng(0))


@each_protocol
@pytest.mark.slow
def test_each_party_killed_at_fifty_moments_of_the_preparation(protocol, tmp_path):
    check_kills(tmp_path, protocol, 100, np.random.default_rng(1))


def flip(place):
    def damage(position, octets):
        if position <= place < position + len(octets):
            octets[place - position] ^= 0x10
        return octets

    return damage


def cut(place):
    return lambda position, octets: None if position + len(octets) > place else octets


def stall(position, octets):
    if position > 10_000:
        time.sleep(3)
    return octets


@pytest.mark.parametrize(
    ("damage", "timeout_s"),
    [(flip(40), 20), (flip(3_000), 20), (flip(400_000), 20), (cut(0), 20), (cut(200_000), 20), (stall, 1)],
    ids=["flip hello", "flip points", "flip ciphertexts", "cut at once", "cut later", "stall"],
)
def test_a_damaged_cut_or_stalled_link_ends_both_and_leaves_nothing(tmp_path, damage, timeout_s):
    run = Preparation(tmp_path, "masked", timeout_s=timeout_s, relay=relay_with(damage))
    outcomes = run.outcome(0), run.outcome(1)
    assert [kind for kind, _ in outcomes] == ["fault", "fault"], outcomes
    assert leftovers(tmp_path) == []
    check_unusable(tmp_path)


def test_parties_that_prepare_different_programs_refuse_each_other(tmp_path):
    run = Preparation(tmp_path, "masked", digests=(DIGEST, "c" * 64))
    assert all("differ in program" in run.outcome(party)[1] for party in (0, 1))


def test_products_too_large_for_the_noise_that_hides_them_are_refused():
    b = ProgramBuilder((512, 512, 512), 8)
    for index in range(40):
        weight = b.constant(f"w{index}", (512, 512, 1, 1), 8, 1)
        b.add(ConvOp, f"c{index}", ["image"], (512, 512, 512), 16, weight=weight, bias=None)
    with pytest.raises(Refusal, match=r"too large for the noise .* 3\d statistical bits, at least 40"):
        check_preparation(EXECUTIONS["beaver-ot"], b.program())
    check_preparation(EXECUTIONS["beaver-ot"], network()[0])


def test_a_full_disk_stops_both_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(two_party_prepare, "write_corrections", full)
    run = Preparation(tmp_path, "masked")
    outcomes = run.outcome(0), run.outcome(1)
    assert [kind for kind, _ in outcomes] == ["fault", "fault"], outcomes
    assert all("No space left" in sentence for _, sentence in outcomes)
    assert leftovers(tmp_path) == []
    check_unusable(tmp_path)


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

        class Recording(PREPARATIONS[protocol]):
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
            patched.setitem(PREPARATIONS, protocol, Recording)
            prepare_in_process(program, EXECUTIONS[protocol], seeds.roots, 8)
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


def test_every_executable_protocol_prepares_by_two_parties_or_says_that_it_needs_a_dealer():
    program, _ = network()
    for name, execution in EXECUTIONS.items():
        if name not in PREPARATIONS:
            with pytest.raises(Refusal, match="needs a dealer"):
                prepare_in_process(program, execution, DealerSeeds.fresh().roots, 1)


@each_protocol
def test_party_ones_files_alone_are_noise(protocol, tmp_path):
    check_rerun(tmp_path, protocol)
    with MaterialStore(tmp_path / "machine-1" / "material", 1) as store:
        parts = store.claim(0, 2).take(2)._parts
    octets = np.concatenate([buffer for image in parts for buffer in image])
    counts = np.bincount(octets, minlength=256)
    expected = octets.size / 256
    assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 6 * np.sqrt(510)


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
    status, output, _ = command(prepare_cli.main, build, "--count", 3, "--preprocessing", "two-party", *options)
    prepared = json.loads(output)
    assert status == 0
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
        command_line = [sys.executable, "-m", "rrnet_nni.fpga.board.prepare_cli", *arguments]
        parts.append(subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    for part in parts:
        output, errors = part.communicate(timeout=60)
        assert part.returncode == 0, errors
        assert json.loads(output)["bytes_sent"] == json.loads(output)["predicted_bytes"]
    stored = [read_description(party_directory(build.parent / f"m{party}", party)) for party in (0, 1)]
    assert stored[0].set_id == stored[1].set_id
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
    status, _, errors = command(prepare_cli.main, build, *again)
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
    status, output, errors = command(prepare_cli.main, build, "--count", 1, *arguments)
    assert status == 2
    assert output == ""
    assert sentence in errors


@pytest.mark.parametrize("module", ["prepare_cli", "cli"])
def test_a_command_whose_party_is_killed_while_it_prepares_says_so_and_leaves_nothing(build, module):
    np.save(build.parent / "many.npy", np.full((40, 2, 8, 8), SECRET_PIXEL))
    arguments = ["--count", "40"] if module == "prepare_cli" else ["--input", str(build.parent / "many.npy")]
    line = [sys.executable, "-m", f"rrnet_nni.fpga.board.{module}", str(build), *arguments, "--json"]
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


def wait_for_child(parent, mark):
    """Process id of the parent's child whose command line has `mark`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), open(f"/proc/{parent}/task/{parent}/children") as file:
            for child in file.read().split():
                with contextlib.suppress(OSError), open(f"/proc/{child}/cmdline") as line:
                    if mark in line.read():
                        return int(child)
        time.sleep(0.01)
    raise AssertionError(f"no child with {mark!r} was seen")


def test_a_party_killed_in_the_middle_of_a_command_leaves_nothing(build):
    line = [sys.executable, "-m", "rrnet_nni.fpga.board.prepare_cli", str(build), "--count", "4000", "--json"]
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
