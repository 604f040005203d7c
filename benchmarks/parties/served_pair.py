"""A pair of daemons of the private inference service, many clients, and what they answered beside the reference."""

from __future__ import annotations

import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from shaped_link import LOOPBACK, Ends

from rrnet_nni.fpga.program.build import Build, load_build
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.link.tls import fingerprint, make_pair, read_certificate
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.service.client import PrivateClassifier

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Reference:
    """Images and the reference's logits for them, [N, classes]."""

    images: np.ndarray
    logits: np.ndarray

    @staticmethod
    def of(build: Build, images: np.ndarray) -> Reference:
        logits = run_reference(build.program, build.weights, images.astype(np.float64))
        return Reference(images, np.asarray(logits).reshape(len(images), -1))


@dataclass
class Answers:
    """What clients were told: seconds of every request, and how far answers are from the reference."""

    seconds: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    #: Where the class is another one: the image, how far apart the reference's two best are, and the logits' error.
    other_class: list[dict[str, float]] = field(default_factory=list)

    def summary(self, requests: int, elapsed_s: float) -> dict[str, Any]:
        if len(self.seconds) < requests:
            raise RuntimeError(f"{requests - len(self.seconds)} requests were not answered")
        cuts = statistics.quantiles(self.seconds, n=100)
        return {
            "service_per_s": requests / elapsed_s,
            "p50_ms": 1e3 * cuts[49],
            "p99_ms": 1e3 * cuts[98],
            "largest_logit_error": max(self.errors),
            "other_class": self.other_class,
        }


def ask(
    urls: Sequence[str], reference: Reference, requests: int, clients: int, pins: Sequence[str] | None = None
) -> dict[str, Any]:
    """Throughput, latency and exactness of many clients with one image per request each."""
    answers = Answers()

    def work(first: int) -> None:
        with PrivateClassifier(urls, pins=pins, timeout_s=600) as classifier:
            for index in range(first, requests, clients):
                place = index % len(reference.images)
                started = time.perf_counter()
                found = classifier.logits(reference.images[place : place + 1]).reshape(-1)
                answers.seconds.append(time.perf_counter() - started)
                expected = reference.logits[place]
                error = float(np.abs(found - expected).max())
                answers.errors.append(error)
                if found.argmax() != expected.argmax():
                    second, best = np.sort(expected)[-2:]
                    answers.other_class.append({"image": place, "margin": float(best - second), "error": error})

    threads = [threading.Thread(target=work, args=(index,)) for index in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = answers.summary(requests, time.perf_counter() - started)
    return found | {"largest_logit": float(np.abs(reference.logits).max())}


class Pair:
    """Both daemons while a context lasts; with `encrypted` links and clients are, by certificates of this run."""

    def __init__(
        self,
        build: Path,
        root: Path,
        protocol: str,
        *options: str,
        ends: Ends = LOOPBACK,
        encrypted: bool = False,
    ) -> None:
        self.build, self.root, self.protocol = build, root, protocol
        self._options, self._ends, self._encrypted = options, ends, encrypted
        self._processes: list[subprocess.Popen[bytes]] = []
        link, *ports = (_free_port() for _ in range(3))
        self._link = f"{ends.hosts[1]}:{link}"
        self._fronts = [f"{host}:{port}" for host, port in zip(ends.hosts, ports)]
        self.urls = [f"http{'s' * encrypted}://{front}" for front in self._fronts]
        self.pins: list[str] | None = None

    def deal(self, name: str, count: int) -> None:
        """Material for so many images, by a dealer."""
        built, execution = load_build(self.build, weights=False), get_execution(self.protocol)
        prepare_set(self.root / "pool" / "m" / name, built.program, built.program_digest, execution, count)

    def __enter__(self) -> Pair:
        if self._encrypted:
            make_pair(self.root / "keys")
            files = [self.root / "keys" / f"party-{party}" / "certificate.pem" for party in (0, 1)]
            self.pins = [fingerprint(read_certificate(file)) for file in files]
        self._processes = [self._start(party) for party in (1, 0)]
        deadline = time.monotonic() + 120
        while not all(self._ready(party) for party in (0, 1)):
            if time.monotonic() > deadline or any(process.poll() is not None for process in self._processes):
                raise RuntimeError("the daemons do not start; see party-0.log and party-1.log")
            time.sleep(0.1)
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def _start(self, party: int) -> subprocess.Popen[bytes]:
        command = [*self._ends.prefixes[party], sys.executable, "-m"]
        command += ["rrnet_nni.fpga.runtime.service.serve", f"m={self.build}", "--party", str(party), "--no-filling"]
        command += [("--connect", "--listen")[party], self._link, "--http", self._fronts[party]]
        command += ["--protocol", self.protocol, "--pool", str(self.root / "pool"), *self._options]
        keys = self.root / "keys" / f"party-{party}"
        if self._encrypted:
            command += ["--tls", str(keys), "--http-certificate", str(keys / "certificate.pem")]
            command += ["--http-key", str(keys / "key.pem")]
        with (self.root / f"party-{party}.log").open("wb") as log:
            return subprocess.Popen(command, env=ENVIRONMENT, stderr=log)

    def _ready(self, party: int) -> bool:
        return bool(json.loads(self._get(party, "/healthz") or b"{}").get("ready"))

    def _get(self, party: int, path: str) -> bytes:
        """What a daemon answers, asked from its own end of the link; nothing while it does not."""
        command = [*self._ends.prefixes[party], sys.executable, __file__, self.urls[party] + path]
        return subprocess.run(command, capture_output=True).stdout if self._ends.prefixes[party] else _read(command[-1])

    def number(self, party: int, name: str) -> float:
        """A number of a daemon's, summed over its labels."""
        lines = self._get(party, "/metrics").decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))

    def used(self) -> list[list[tuple[str, int]]]:
        """Every inference whose material was used, as the two stores note it: per party (set, index)."""
        lines = [json.loads(line) for line in (self.root / "pool" / "m" / "used.jsonl").read_text().splitlines()]
        return [
            [
                (line["set"], line["start"] + index)
                for line in lines
                if line["party"] == party
                for index in range(line["count"])
            ]
            for party in (0, 1)
        ]


def check_used(pair: Pair, requests: int) -> dict[str, bool]:
    """Whether both stores used the same material, each unit once, and one for every request."""
    zero, one = pair.used()
    return {
        "no_material_twice": len(set(zero)) == len(zero) and len(set(one)) == len(one),
        "same_at_both": sorted(zero) == sorted(one) and len(zero) >= requests,
    }


def _read(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=10, context=ssl._create_unverified_context()) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError):
        return b""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.stdout.buffer.write(_read(sys.argv[1]))
