"""The private inference service between two network namespaces of this machine, everything encrypted.

Party 0's daemon and the clients live in one namespace, party 1's daemon in the other; between them is a link of chosen
rate and delay, over which the two daemons talk and clients reach party 1. Every answer is compared with the reference,
and both parties' stores are read for material used twice. Needs root.

    python benchmarks/parties/service_networks.py --build build/ --input images.npy       1,000 requests, LAN and WAN
    python benchmarks/parties/service_networks.py --resnet18 --requests 100 --clients 8   an untrained CIFAR ResNet-18
    ... -o docs/results/service.json                                                      add to the results
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from served_pair import ENVIRONMENT, Pair, Reference, ask, check_used
from shaped_link import LOOPBACK, SHAPES, Ends, shaped
from two_party_network import ResNet18

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.write_build import write_build

#: A truncation rounds at random; an answer further off than that part of the largest logit is wrong.
TOLERANCE = 0.1


def main() -> None:
    """Measure and print."""
    options = _parser().parse_args()
    if options.inside is not None:
        _ask_from_inside(options.inside)
        return
    results = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        build, images = (options.build, options.input) if not options.resnet18 else _resnet18(Path(scratch))
        for name in options.networks:
            root = Path(scratch) / name
            root.mkdir()
            results.append(_measure(options, build, np.load(images), name, root))
            print(json.dumps(results[-1]), flush=True)
    if options.output:
        kept = json.loads(options.output.read_text()) if options.output.exists() else {}
        key = "networks_resnet18" if options.resnet18 else "networks"
        write_whole_json(options.output, kept | {key: results})
    failed = [each for each in results if not (each["no_material_twice"] and each["same_at_both"])]
    if failed or any(each["largest_logit_error"] > TOLERANCE * each["largest_logit"] for each in results):
        raise SystemExit("an answer is not the reference's, or material was not used once")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path)
    parser.add_argument("--input", type=Path, help="images NCHW in the model's units (.npy)")
    parser.add_argument("--resnet18", action="store_true", help="build an untrained all-polynomial ResNet-18 at 32x32")
    parser.add_argument("--networks", nargs="+", choices=("loopback", *SHAPES), default=list(SHAPES))
    parser.add_argument("--protocol", default="masked")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", dest="output", type=Path)
    return parser


def _measure(options: argparse.Namespace, build: Path, images: np.ndarray, name: str, root: Path) -> dict[str, Any]:
    loaded = load_build(build)
    reference = Reference.of(loaded, images)
    np.savez(root / "reference.npz", images=reference.images, logits=reference.logits)
    if name == "loopback":
        return _served(options, build, root, LOOPBACK) | {"network": name}
    with shaped(SHAPES[name]) as ends:
        return _served(options, build, root, ends) | {"network": name}


def _served(options: argparse.Namespace, build: Path, root: Path, ends: Ends) -> dict[str, Any]:
    """Serve, and ask from party 0's end in a process of its own."""
    quiet = ("--batch", str(options.batch), "--expiry", "120", "--timeout", "300")
    pair = Pair(build, root, options.protocol, *quiet, ends=ends, encrypted=True)
    for lane in range(2):  # either may do all the work
        pair.deal(f"dealt-{lane}", options.requests)
    with pair:
        told = {"urls": pair.urls, "pins": pair.pins, "requests": options.requests, "clients": options.clients}
        (root / "ask.json").write_text(json.dumps(told))
        command = [*ends.prefixes[0], sys.executable, __file__, "--inside", str(root)]
        done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
        batches = pair.number(0, "rrnet_batch_images_sum") / pair.number(0, "rrnet_batch_images_count")
        crossed = sum(pair.number(party, "rrnet_link_bytes_total") for party in (0, 1)) / 2
    answer: dict[str, Any] = json.loads(done.stdout)
    counted: dict[str, Any] = {"load_average": round(os.getloadavg()[0], 1)}  # beside what else the machine did
    counted |= {"requests": options.requests, "clients": options.clients, "protocol": options.protocol}
    sizes = {"images_per_execution": batches, "link_bytes_per_image": crossed / options.requests}
    return counted | answer | sizes | check_used(pair, options.requests)


def _ask_from_inside(root: Path) -> None:
    told, known = json.loads((root / "ask.json").read_text()), np.load(root / "reference.npz")
    reference = Reference(known["images"], known["logits"])
    print(json.dumps(ask(told["urls"], reference, told["requests"], told["clients"], told["pins"])))


def _resnet18(root: Path) -> tuple[Path, Path]:
    """An untrained network is as hard to compute exactly as a trained one."""
    build, images = root / "build", root / "images.npy"
    program, weights = ResNet18("x2act").build()
    write_build(build, program, weights, {"device": "zcu104", "protocol": "masked"})
    np.save(images, np.random.default_rng(0).normal(size=(10, 3, 32, 32)))
    return build, images


if __name__ == "__main__":
    main()
