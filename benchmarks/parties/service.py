"""Throughput and latency of the private inference service, beside `rrnet-2pc-run` with batches of 16 in the same run.

Both take material that a dealer made beforehand, for the same build and images, on loopback, one thread per process.
Rounds of both alternate, so that load on the machine falls on both alike; medians are compared. The service's clients
are threads of one process, each with one image per request. `rrnet-2pc-run` is counted with what it computes on its
material once it is there (`sustained`), as a server must do that too, and without it (`online`).

    python benchmarks/parties/service.py build/ --input images.npy             1,000 requests from 32 clients, 5 rounds
    python benchmarks/parties/service.py build/ --input images.npy -o service.json
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.service.client import PrivateClassifier

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
BATCH = 16
RUN_IMAGES = 320


def main() -> None:
    """Measure and print."""
    options = _parser().parse_args()
    build, images = load_build(options.build), np.load(options.input)
    execution = get_execution(options.protocol)
    classes = run_reference(build.program, build.weights, images.astype(np.float64)).reshape(len(images), -1).argmax(1)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        root = Path(scratch)
        sets, each = options.rounds + 2, max(options.requests, RUN_IMAGES)
        for index in range(sets):
            prepare_set(root / "pool" / "m" / f"dealt-{index}", build.program, build.program_digest, execution, each)
        np.save(root / "x.npy", np.resize(images, (RUN_IMAGES, *images.shape[1:])))
        processes, urls = _start(options, root)
        try:
            _ask(urls, images, classes, 100, 4)  # warm
            rounds = []
            for _ in range(options.rounds):
                alone = _run(options, root, build, execution)
                rounds.append(alone | _ask(urls, images, classes, options.requests, options.clients))
                print(json.dumps(rounds[-1]), flush=True)
            link, clients = (_bytes(urls, name) for name in ("rrnet_link_bytes_total", "rrnet_client_bytes_total"))
            batches = _number(urls[0], "rrnet_batch_images_sum") / _number(urls[0], "rrnet_batch_images_count")
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
    answer = _summary(options, rounds) | {
        "images_per_execution": batches,
        "link_bytes_per_image": link / (100 + options.rounds * options.requests),
        "client_bytes_per_image": clients / (100 + options.rounds * options.requests),
    }
    print(json.dumps(answer, indent=1))
    if options.output:
        write_whole_json(options.output, answer)


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


def _start(options: argparse.Namespace, root: Path) -> tuple[list[subprocess.Popen[bytes]], list[str]]:
    link, *ports = (_free_port() for _ in range(3))
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    command = [sys.executable, "-m", "rrnet_nni.fpga.runtime.service.serve", f"m={options.build}", "--no-filling"]
    command += ["--protocol", options.protocol, "--pool", str(root / "pool"), "--lanes", str(options.lanes)]
    command += ["--batch", str(options.batch)]
    processes = [
        subprocess.Popen(
            [*command, "--party", str(party), place, f"127.0.0.1:{link}", "--http", f"127.0.0.1:{ports[party]}"],
            env=ENVIRONMENT,
            stderr=subprocess.DEVNULL,
        )
        for party, place in ((1, "--listen"), (0, "--connect"))
    ]
    while not all(_ready(url) for url in urls):
        time.sleep(0.1)
    return processes, urls


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/healthz") as answer:
            return bool(json.load(answer)["ready"])
    except (urllib.error.URLError, OSError):
        return False


def _run(options: argparse.Namespace, root: Path, build: Any, execution: Any) -> dict[str, float]:
    """Images per second of one run in batches of 16."""
    material = root / "run-material"
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


def _ask(urls: list[str], images: np.ndarray, classes: np.ndarray, requests: int, clients: int) -> dict[str, float]:
    """Throughput and latency of many clients, and how many answers were another class than the reference's."""
    seconds: list[float] = []
    other: list[int] = []

    def work(first: int) -> None:
        with PrivateClassifier(urls) as classifier:
            for index in range(first, requests, clients):
                place = index % len(images)
                started = time.perf_counter()
                found = classifier.predict(images[place : place + 1])[0]
                seconds.append(time.perf_counter() - started)
                if found != classes[place]:
                    other.append(place)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    if len(seconds) < requests:
        raise RuntimeError(f"{requests - len(seconds)} requests were not answered")
    cuts = statistics.quantiles(seconds, n=100)
    return {
        "service_per_s": requests / elapsed,
        "p50_ms": 1e3 * cuts[49],
        "p99_ms": 1e3 * cuts[98],
        "other_class": len(other),
    }


def _number(url: str, name: str) -> float:
    """A number of the daemon's, summed over its labels."""
    with urllib.request.urlopen(url + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


def _bytes(urls: list[str], name: str) -> float:
    """Bytes over all of the daemons' connections of a kind; between the two servers each byte is seen at both ends."""
    total = sum(_number(url, name) for url in urls)
    return total / 2 if "link" in name else total


def _summary(options: argparse.Namespace, rounds: list[dict[str, float]]) -> dict[str, Any]:
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0] if name != "other_class"}
    return {
        "requests": options.requests,
        "clients": options.clients,
        "protocol": options.protocol,
        **medians,
        "of_sustained": statistics.median(each["service_per_s"] / each["run_sustained_per_s"] for each in rounds),
        "of_online": statistics.median(each["service_per_s"] / each["run_online_per_s"] for each in rounds),
        "other_class": int(sum(each["other_class"] for each in rounds)),
        "rounds": rounds,
    }


if __name__ == "__main__":
    main()
