"""Throughput and latency of the private inference service, beside `rrnet-2pc-run` with batches of 16 in the same run.

Both take material that a dealer made beforehand, for the same build and images, on loopback, one thread per process.
Rounds of both alternate, so that load on the machine falls on both alike; medians are compared. The service's clients
are threads of one process, each with one image per request. `rrnet-2pc-run` is counted with what it computes on its
material once it is there (`sustained`), as a server must do that too, and without it (`online`).

    python benchmarks/parties/service.py build/ --input images.npy             1,000 requests from 32 clients, 5 rounds
    python benchmarks/parties/service.py build/ --input images.npy -o docs/results/service.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from served_pair import ENVIRONMENT, Pair, Reference, ask, check_used

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.fpga.program.build import Build, load_build
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.material.dealer import prepare_set

BATCH = 16
RUN_IMAGES = 320
WARM_REQUESTS = 100


def main() -> None:
    """Measure and print."""
    options = _parser().parse_args()
    build = load_build(options.build)
    reference = Reference.of(build, np.load(options.input))
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        root = Path(scratch)
        pair = Pair(options.build, root, options.protocol, "--lanes", str(options.lanes), "--batch", str(options.batch))
        for index in range(options.rounds + 2):
            pair.deal(f"dealt-{index}", max(options.requests, RUN_IMAGES))
        np.save(root / "x.npy", np.resize(reference.images, (RUN_IMAGES, *reference.images.shape[1:])))
        with pair:
            ask(pair.urls, reference, WARM_REQUESTS, 4)
            rounds = []
            for _ in range(options.rounds):
                alone = _run(options, root, build)
                rounds.append(alone | ask(pair.urls, reference, options.requests, options.clients))
                print(json.dumps(rounds[-1]), flush=True)
            asked = WARM_REQUESTS + options.rounds * options.requests
            batches = pair.number(0, "rrnet_batch_images_sum") / pair.number(0, "rrnet_batch_images_count")
            link, clients = (
                sum(pair.number(party, f"rrnet_{name}_bytes_total") for party in (0, 1)) for name in ("link", "client")
            )
        answer = _summary(options, rounds) | check_used(pair, asked)
    answer |= {
        "images_per_execution": batches,
        "link_bytes_per_image": link / 2 / asked,  # each byte is seen at both ends
        "client_bytes_per_image": clients / asked,
    }
    print(json.dumps(answer, indent=1))
    if options.output:
        kept = json.loads(options.output.read_text()) if options.output.exists() else {}
        write_whole_json(options.output, kept | {"throughput": answer})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--input", type=Path, required=True, help="images NCHW in the model's units (.npy)")
    parser.add_argument("--protocol", default="masked")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="images that one execution of the service takes")
    parser.add_argument("--scratch", type=Path, help="where material lies meanwhile")
    parser.add_argument("-o", dest="output", type=Path)
    return parser


def _run(options: argparse.Namespace, root: Path, build: Build) -> dict[str, float]:
    """Images per second of one run in batches of 16."""
    material, execution = root / "run-material", get_execution(options.protocol)
    prepare_set(material, build.program, build.program_digest, execution, RUN_IMAGES, replace=True)
    command = [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.run", str(options.build), "--json"]
    command += ["--input", str(root / "x.npy"), "--protocol", options.protocol, "--batch", str(BATCH)]
    done = subprocess.run([*command, "--material", str(material)], env=ENVIRONMENT, capture_output=True, check=True)
    answer = json.loads(done.stdout)
    prepare_s = sum(row["time_ms"] for row in answer["operations"] if row["phase"] == "prepare") / 1e3
    return {
        "run_online_per_s": RUN_IMAGES / answer["online_s"],
        "run_sustained_per_s": RUN_IMAGES / (answer["online_s"] + prepare_s),
    }


def _summary(options: argparse.Namespace, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    timed = [name for name in rounds[0] if name.endswith(("_per_s", "_ms"))]
    medians = {name: statistics.median(each[name] for each in rounds) for name in timed}
    return {
        "load_average": round(os.getloadavg()[0], 1),
        "requests": options.requests,
        "clients": options.clients,
        "protocol": options.protocol,
        **medians,
        "of_sustained": statistics.median(each["service_per_s"] / each["run_sustained_per_s"] for each in rounds),
        "of_online": statistics.median(each["service_per_s"] / each["run_online_per_s"] for each in rounds),
        "other_class": [other for each in rounds for other in each["other_class"]],
        "largest_logit_error": max(each["largest_logit_error"] for each in rounds),
        "largest_logit": rounds[0]["largest_logit"],
        "rounds": rounds,
    }


if __name__ == "__main__":
    main()
