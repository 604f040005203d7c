"""The two-party execution from Python, as the documentation shows it."""

import socket
import threading

import numpy as np

from rrnet_nni.fpga.program import LinearOp, ReluOp, TruncateOp
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder
from rrnet_nni.fpga.two_party import (
    Link,
    MaterialStore,
    Party,
    Terms,
    accept_one,
    connect,
    decode_tensor,
    encode_images,
    execute,
    get_execution,
    load_build,
    share_weights,
    share_words,
)


def write_small_build(path):
    b = ProgramBuilder((6,), 8)
    b.add(LinearOp, "fc", ["image"], (9,), 16, weight=b.constant("w", (9, 6), 8, 100), bias=None)
    b.add(TruncateOp, "t", ["fc"], (9,), 8, bits=8)
    b.add(ReluOp, "relu", ["t"], (9,), 8)
    write_build(path, b.program(), b.weights, {"device": "zcu104", "protocol": "masked"})
    return np.random.default_rng(0).normal(size=(5, 6))


def test_execute_runs_both_parties_on_shares(tmp_path):
    images = write_small_build(tmp_path / "build")
    build = load_build(tmp_path / "build")
    shared = share_words(encode_images(build.program, images))
    executed = execute(build.program, shared, share_weights(build.weights), get_execution("masked"))
    logits = decode_tensor(build.program, build.program.output, executed.output)
    assert np.abs(logits - run_reference(build.program, build.weights, images)).max() <= 2**-7
    assert np.array_equal(executed.shares[0] + executed.shares[1], executed.output)


def test_two_parties_meet_on_a_network_and_the_named_one_learns_the_logits(tmp_path):
    images = write_small_build(tmp_path / "build")
    build = load_build(tmp_path / "build")
    prepare_set(tmp_path / "m", build.program, build.program_digest, get_execution("masked"), 5)
    words = encode_images(build.program, images)
    address, results = free_address(), {}

    def run(number, open_socket, count, *secret):
        with MaterialStore(tmp_path / "m", number) as store, Link(open_socket(address, 20), "the other party") as link:
            party = Party(number, build.program, get_execution("masked"), link, store)
            terms = Terms(build.program_digest, "masked", reveal_to=0, images=count, batch=2)
            results[number] = party.run(terms, *secret)

    server = threading.Thread(target=run, args=(1, accept_one, None, None, build.weights))
    server.start()
    run(0, connect, len(words), words)
    server.join(20)
    logits = decode_tensor(build.program, build.program.output, results[0].logits)
    assert np.abs(logits - run_reference(build.program, build.weights, images)).max() <= 2**-7
    assert results[1].logits is None
    assert results[0].batches == (2, 2, 1)


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
