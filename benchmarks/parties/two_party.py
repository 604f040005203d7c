"""Online time and bytes of the two-party executions on the plain-stem ResNet-18, beside CrypTen, on every link.

32x32 images, random weights, two processes; the repetitions of all systems alternate, so that load on the machine falls
on all alike. Only ratios of one run mean something.

    python benchmarks/parties/two_party.py --install-peer         CrypTen, into a directory of its own
    python benchmarks/parties/two_party.py -o two_party.json      loopback and, as root, both shaped links (10 minutes)
    python benchmarks/parties/two_party.py --network loopback     on loopback alone (4 minutes)
    python benchmarks/parties/two_party.py --network lan          1 GB/s between two network namespaces (root)
    python benchmarks/parties/two_party.py --network wan          100 Mbit/s and 10 ms each way (root)

On a shaped link our parties talk TLS, as they must between machines; CrypTen does not. Every run's logits are compared
with the fixed-point reference. The batch of 16 is ours alone.
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
from pathlib import Path
from typing import Any

import crypten_peer
import numpy as np
from shaped_link import LOOPBACK, SHAPES, Ends, shaped
from two_party_network import ACTIVATIONS, ResNet18

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.link.tls import make_pair

NETWORKS = ("loopback", *SHAPES)
BATCHES = (1, 16)
PORT = 17700
#: Truncations round at random: logits differ by their noise, and by far more where anything is wrong. Part of the
#: largest logit.
LOGIT_TOLERANCE = 0.25


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"rrnet_nni.fpga.runtime.commands.{module}", *map(str, arguments)]


def run_ours(build: Path, protocol: str, batch: int, ends: Ends) -> dict[str, Any]:
    """One execution with material that was prepared before."""
    image = build.parent / f"{batch}.npy"
    common = ["--material", material_of(build, protocol), "--protocol", protocol, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if ends is LOOPBACK:
        arguments = command("run", build, "--input", image, *common)
        return json.loads(subprocess.run(arguments, capture_output=True, check=True, env=environment).stdout)
    address, tls = f"{ends.hosts[1]}:{PORT}", build.parent / "certificates"
    server = subprocess.Popen(
        [
            *ends.prefixes[1],
            *command("run", build, "--party", 1, "--listen", address, "--tls", tls / "party-1", *common),
        ],
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    arguments = ["--party", 0, "--connect", address, "--tls", tls / "party-0", "--input", image, *common]
    client = subprocess.run(
        [*ends.prefixes[0], *command("run", build, *arguments)], capture_output=True, check=True, env=environment
    )
    server.wait(timeout=60)
    return json.loads(client.stdout)


def measure(options: argparse.Namespace, network: str, peer: bool) -> list[dict[str, Any]]:
    """Medians and spreads over alternating repetitions on one link."""
    samples: dict[tuple[str, str, int], list[dict[str, Any]]] = collections.defaultdict(list)
    images = np.random.default_rng(0).normal(size=(max(BATCHES), 3, 32, 32))
    with contextlib.ExitStack() as stack:
        ends = stack.enter_context(shaped(SHAPES[network])) if network in SHAPES else LOOPBACK
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for batch in BATCHES:
            np.save(directory / f"{batch}.npy", images[:batch])
        make_pair(directory / "certificates")
        for activation in ACTIVATIONS:
            build = directory / activation
            program, weights = ResNet18(activation).build()
            write_build(build, program, weights, {"device": "zcu104", "protocol": "beaver-ot"})
            expected = run_reference(program, weights, images)
            protocols = options.protocol or tuple(executions())
            for protocol in protocols:
                batches = batches_of(protocol, network)
                images_needed = sum(batch * repetitions_of(batch, options.repetitions) for batch in batches)
                prepare(build, protocol, images_needed)
            for repetition in range(options.repetitions):
                for protocol, batch in ((p, batch) for p in protocols for batch in batches_of(p, network)):
                    if repetition < repetitions_of(batch, options.repetitions):
                        answer = checked(run_ours(build, protocol, batch, ends), expected[:batch])
                        samples[protocol, activation, batch].append(answer)
                if peer and repetition < options.peer_repetitions:
                    answer = crypten_peer.run_crypten(activation, ends.prefixes, ends.hosts[0], ends.interface)
                    samples["crypten", activation, 1].append(answer)
            shutil.rmtree(build)
    return [{"network": network, **summary(*key, answers, samples)} for key, answers in samples.items()]


def batches_of(protocol: str, network: str) -> tuple[int, ...]:
    """Throughput is this machine's: on loopback. Comparison keys of sixteen images would be seven gigabytes to make."""
    return BATCHES if network == "loopback" and protocol != "masked-dcf" else BATCHES[:1]


def repetitions_of(batch: int, repetitions: int) -> int:
    """Large batches average over their images."""
    return repetitions if batch == 1 else min(2, repetitions)


def material_of(build: Path, protocol: str) -> Path:
    return build.with_name(f"{build.name}.{protocol}")


def prepare(build: Path, protocol: str, count: int) -> None:
    """Material for `count` images."""
    arguments = command("prepare", build, "--count", count, "-o", material_of(build, protocol))
    subprocess.run([*arguments, "--protocol", protocol], check=True, capture_output=True)


def checked(answer: dict[str, Any], expected: np.ndarray) -> dict[str, Any]:
    """The answer with its online bytes; ends the benchmark where the logits are not the reference's."""
    error = float(np.abs(np.array(answer["logits"]) - expected).max() / np.abs(expected).max())
    if error > LOGIT_TOLERANCE:
        raise SystemExit(f"{answer['protocol']}: the logits are off by {error:.1%} of the largest")
    setup = sum(sum(row["bytes_sent"]) for row in answer["operations"] if row["phase"] == "setup")
    return answer | {"bytes": sum(answer["bytes_sent"]) - setup, "logit_error": error}


def summary(
    name: str,
    activation: str,
    batch: int,
    answers: list[dict[str, Any]],
    samples: dict[tuple[str, str, int], list[dict[str, Any]]],
) -> dict[str, Any]:
    times = sorted(answer["online_s"] for answer in answers)
    row = {
        "system": name,
        "activation": activation,
        "batch": batch,
        "online_s": statistics.median(times),
        "online_range_s": [times[0], times[-1]],
        "images_per_s": batch / statistics.median(times),
        "bytes_both_ways": answers[0]["bytes"],
        "memory_mb": max(max(answer["memory_mb"].values()) for answer in answers),
    }
    for key in ("setup_s", "offline_s", "rounds", "logit_error"):
        if key in answers[0]:
            row[key] = answers[0][key]
    peers = samples.get(("crypten", activation, 1))
    if peers and name != "crypten" and batch == 1:
        theirs = sorted(answer["online_s"] for answer in peers)
        row["time_ratio"] = row["online_s"] / statistics.median(theirs)
        row["time_ratio_range"] = [times[0] / theirs[-1], times[-1] / theirs[0]]
        row["bytes_ratio"] = answers[0]["bytes"] / peers[0]["bytes"]
    return row


def print_table(rows: list[dict[str, Any]]) -> None:
    columns = ("batch", "online s", "least", "most", "images/s", "MB both ways", "of its time", "of its bytes", "MB")
    print(f"{'network':9} {'system':11} {'':6} " + " ".join(f"{column:>12}" for column in columns))
    for row in rows:
        ratios = [f"{row[key]:.4f}" if key in row else "" for key in ("time_ratio", "bytes_ratio")]
        least, most = row["online_range_s"]
        print(
            f"{row['network']:9} {row['system']:11} {row['activation']:6} {row['batch']:12} {row['online_s']:12.3f} "
            f"{least:12.3f} {most:12.3f} {row['images_per_s']:12.2f} {row['bytes_both_ways'] / 1e6:12.2f} "
            f"{ratios[0]:>12} {ratios[1]:>12} {row['memory_mb']:12.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--peer-repetitions", type=int, default=2, help="of CrypTen, which takes far longer")
    parser.add_argument("--network", choices=NETWORKS, action="append", help="default: all that this user may shape")
    parser.add_argument("--protocol", choices=tuple(executions()), action="append")
    parser.add_argument("--install-peer", action="store_true", help="install CrypTen into a directory of its own")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the rows to this JSON file")
    options = parser.parse_args()
    if options.install_peer:
        crypten_peer.install()
        return
    networks = options.network or (NETWORKS if os.geteuid() == 0 else NETWORKS[:1])
    peer = crypten_peer.is_installed()
    rows = [row for network in networks for row in measure(options, network, peer)]
    if options.output is not None:
        write_whole_json(options.output, rows)
    if not peer:
        print("CrypTen is not measured: --install-peer installs it\n")
    print_table(rows)


if __name__ == "__main__":
    main()
