"""Online time and bytes of the two-party executions on the plain-stem ResNet-18, beside CrypTen.

One 32x32 image, random weights, two processes; the repetitions of all systems alternate, so that load on the machine
falls on all alike. Only ratios of one run mean something.

    python benchmarks/two_party.py --install-peer     CrypTen, into a directory of its own
    python benchmarks/two_party.py                    on loopback
    python benchmarks/two_party.py --network lan      1 GB/s between two network namespaces (root)
    python benchmarks/two_party.py --network wan      100 Mbit/s and 10 ms each way (root)

On a shaped link our parties talk TLS, as they must between machines; CrypTen does not. Every run's logits are compared
with the fixed-point reference.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import crypten_peer
import numpy as np
from shaped_link import LOOPBACK, Ends, Shape, shaped
from two_party_network import ACTIVATIONS, ResNet18

from rrnet_nni.fpga.board.executions import EXECUTIONS
from rrnet_nni.fpga.compiler.emit import write_build
from rrnet_nni.fpga.compiler.reference import run_reference

SHAPES = {"lan": Shape("lan", 1e9, 0.0), "wan": Shape("wan", 100e6 / 8, 0.010)}
PORT = 17700
#: Truncations round at random: logits differ by their noise, and by far more where anything is wrong. Part of the
#: largest logit.
LOGIT_TOLERANCE = 0.25


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"rrnet_nni.fpga.board.{module}", *map(str, arguments)]


def run_ours(build: Path, protocol: str, ends: Ends) -> dict[str, Any]:
    """One execution with material that was prepared before."""
    image = build.parent / "image.npy"
    common = ["--material", build.with_name(f"{build.name}.{protocol}"), "--protocol", protocol, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if ends is LOOPBACK:
        arguments = command("cli", build, "--input", image, *common)
        return json.loads(subprocess.run(arguments, capture_output=True, check=True, env=environment).stdout)
    address, tls = f"{ends.hosts[1]}:{PORT}", build.parent / "certificates"
    server = subprocess.Popen(
        [
            *ends.prefixes[1],
            *command("cli", build, "--party", 1, "--listen", address, "--tls", tls / "party-1", *common),
        ],
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    arguments = ["--party", 0, "--connect", address, "--tls", tls / "party-0", "--input", image, *common]
    client = subprocess.run(
        [*ends.prefixes[0], *command("cli", build, *arguments)], capture_output=True, check=True, env=environment
    )
    server.wait(timeout=60)
    return json.loads(client.stdout)


def measure(repetitions: int, ends: Ends, protocols: Sequence[str], peer: bool) -> list[dict[str, Any]]:
    """Medians over alternating repetitions."""
    samples: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    image = np.random.default_rng(0).normal(size=(1, 3, 32, 32))
    with tempfile.TemporaryDirectory() as directory:
        np.save(Path(directory) / "image.npy", image)
        subprocess.run(command("tls", Path(directory) / "certificates"), check=True, capture_output=True)
        for activation in ACTIVATIONS:
            build = Path(directory) / activation
            program, weights = ResNet18(activation).build()
            write_build(build, program, weights, {"device": "zcu104", "protocol": "beaver-ot"})
            expected = run_reference(program, weights, image)
            for protocol in protocols:
                prepare(build, protocol, repetitions)
            for _ in range(repetitions):
                for protocol in protocols:
                    samples[protocol, activation].append(checked(run_ours(build, protocol, ends), expected))
                if peer:
                    answer = crypten_peer.run_crypten(activation, ends.prefixes, ends.hosts[0], ends.interface)
                    samples["crypten", activation].append(answer)
            shutil.rmtree(build)
    return [summary(name, activation, answers, samples) for (name, activation), answers in samples.items()]


def prepare(build: Path, protocol: str, count: int) -> None:
    """Material for `count` executions."""
    material = build.with_name(f"{build.name}.{protocol}")
    arguments = command("prepare_cli", build, "--count", count, "-o", material, "--protocol", protocol)
    subprocess.run(arguments, check=True, capture_output=True)


def checked(answer: dict[str, Any], expected: np.ndarray) -> dict[str, Any]:
    """The answer with its bytes of one image; ends the benchmark where the logits are not the reference's."""
    error = float(np.abs(np.array(answer["logits"]) - expected).max() / np.abs(expected).max())
    if error > LOGIT_TOLERANCE:
        raise SystemExit(f"{answer['protocol']}: the logits are off by {error:.1%} of the largest")
    setup = sum(sum(row["bytes_sent"]) for row in answer["operations"] if row["phase"] == "setup")
    return answer | {"bytes": sum(answer["bytes_sent"]) - setup, "logit_error": error}


def summary(
    name: str, activation: str, answers: list[dict[str, Any]], samples: dict[tuple[str, str], list[dict[str, Any]]]
) -> dict[str, Any]:
    online_s = statistics.median(answer["online_s"] for answer in answers)
    row = {"system": name, "activation": activation, "online_s": online_s, "bytes_both_ways": answers[0]["bytes"]}
    for key in ("setup_s", "offline_s", "rounds", "memory_mb", "logit_error"):
        if key in answers[0]:
            row[key] = answers[0][key]
    peers = samples.get(("crypten", activation))
    if peers and name != "crypten":
        pairs = zip(answers, peers)
        row["time_ratio"] = statistics.median(ours["online_s"] / theirs["online_s"] for ours, theirs in pairs)
        row["bytes_ratio"] = answers[0]["bytes"] / peers[0]["bytes"]
    return row


def print_table(rows: list[dict[str, Any]], network: str) -> None:
    columns = ("online s", "MB both ways", "of its time", "of its bytes", "MB memory")
    print(f"{network:10} {'':8} " + " ".join(f"{column:>13}" for column in columns))
    for row in rows:
        ratios = [f"{row[key]:.4f}" if key in row else "" for key in ("time_ratio", "bytes_ratio")]
        memory = max(row["memory_mb"].values())
        print(
            f"{row['system']:10} {row['activation']:8} {row['online_s']:13.3f} {row['bytes_both_ways'] / 1e6:13.2f} "
            f"{ratios[0]:>13} {ratios[1]:>13} {memory:13.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--network", choices=("loopback", *SHAPES), default="loopback")
    parser.add_argument("--protocol", choices=tuple(EXECUTIONS), action="append")
    parser.add_argument("--install-peer", action="store_true", help="install CrypTen into a directory of its own")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, and nothing else")
    options = parser.parse_args()
    if options.install_peer:
        crypten_peer.install()
        return
    peer = crypten_peer.is_installed()
    with contextlib.ExitStack() as stack:
        shape = SHAPES.get(options.network)
        ends = LOOPBACK if shape is None else stack.enter_context(shaped(shape))
        rows = measure(options.repetitions, ends, options.protocol or tuple(EXECUTIONS), peer)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    if not peer:
        print("CrypTen is not measured: --install-peer installs it\n")
    print_table(rows, options.network)


if __name__ == "__main__":
    main()
