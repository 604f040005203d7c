"""Two daemons as real processes on loopback, with a small network and material that a dealer made."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from helpers.networks.small_programs import digits_network
from rrnet_nni.base.image_format import ImageFormat
from rrnet_nni.fpga.program.build import IMAGES, load_build
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.service.client import PrivateClassifier, ServiceFault

PROTOCOL = "masked"
#: The helper only asks whether servers are there.
ANY_CERTIFICATE = ssl._create_unverified_context()
PIXELS = ImageFormat(16, 16, "gray", (0.3,), (0.3,), tuple("0123456789"), contrast_bound=0.2)


def contrasting_pixels(side=16):
    """Pixels uint8 [2, 1, side, side] of more contrast than `PIXELS` allows: a wide spread, and a bright place."""
    pixels = np.random.default_rng(3).integers(0, 256, (2, 1, side, side), dtype=np.uint8)
    pixels[1] //= 8
    pixels[1, 0, 3, 3] = 255
    return pixels


def write_digits_sized_build(path, side=16):
    """A build of `digits_network` at the size of the digits, or smaller where its material is made slowly."""
    program, weights = digits_network(side=side, pool=side // 4, classes=10)
    report = {"device": "zcu104", "protocol": PROTOCOL}
    pixels = replace(PIXELS, height=side, width=side)
    write_build(path, program, weights, report, {IMAGES: pixels.to_json().encode()})
    return load_build(path)


def clear_images(build, count, seed=0):
    """Images whose class does not hang on the truncations' noise: float [count, *shape], and their classes."""
    from rrnet_nni.fpga.program.reference import run_reference

    shape = build.program.tensor(build.program.input).shape
    images = np.random.default_rng(seed).normal(size=(4 * count, *shape)).astype(np.float32)
    logits = run_reference(build.program, build.weights, images).reshape(len(images), -1)
    ordered = np.sort(logits, axis=1)
    clear = np.argsort(ordered[:, -2] - ordered[:, -1])[:count]
    return images[clear], logits[clear].argmax(axis=1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(holds, otherwise, deadline_s=30):
    """Wait until `holds()`; fail by the sentence `otherwise` when it does not in time."""
    deadline = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


class Servers:
    """A pair of daemons on `root`/build; each can be killed and started again; `named` tells the page of them."""

    def __init__(self, root, *options, dealt=(), named=False, scheme="http", options_of=((), ())):
        self.root, self.build = Path(root), Path(root) / "build"
        self._options_of = options_of
        loaded = load_build(self.build)
        for index, count in enumerate(dealt):
            pool = self.build.with_name("build.pool")
            pool.mkdir(exist_ok=True)
            execution = get_execution(PROTOCOL)
            prepare_set(pool / f"dealt-{index}", loaded.program, loaded.program_digest, execution, count)
        self._link, *ports = (free_port() for _ in range(3))
        self.urls = tuple(f"{scheme}://127.0.0.1:{port}" for port in ports)
        self._http = tuple(f"127.0.0.1:{port}" for port in ports)
        self._options = (*options, *(("--servers", *self.urls) if named else ()))
        self.processes = [None, None]

    def __enter__(self):
        for party in (1, 0):
            self.start(party)
        self.wait_until_ready()
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()

    def start(self, party):
        place = ("--connect", "--listen")[party]
        self.processes[party] = subprocess.Popen(
            [
                *(sys.executable, "-m", "rrnet_nni.fpga.runtime.service.serve", str(self.build), "--party", str(party)),
                *(place, f"127.0.0.1:{self._link}", "--http", self._http[party]),
                *map(str, (*self._options, *self._options_of[party])),
            ],
            stderr=(self.root / f"party-{party}.log").open("ab"),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def kill(self, party):
        self.processes[party].send_signal(signal.SIGKILL)
        self.processes[party].wait()

    def health(self, party):
        try:
            with urllib.request.urlopen(self.urls[party] + "/healthz", timeout=5, context=ANY_CERTIFICATE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def wait_until_ready(self, timeout_s=60):
        """Returns the seconds that it took."""
        started = time.monotonic()
        while True:
            with contextlib.suppress(OSError):
                if all(self.health(party)["ready"] for party in (0, 1)):
                    return time.monotonic() - started
            if time.monotonic() > started + timeout_s or any(each.poll() is not None for each in self.processes):
                raise AssertionError(self.log(0) + self.log(1))
            time.sleep(0.05)

    def numbers(self, party):
        """What a daemon tells Prometheus."""
        with urllib.request.urlopen(self.urls[party] + "/metrics", timeout=5) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line[0] != "#"]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def memory_mb(self):
        """Resident size of both daemons."""
        lines = [Path(f"/proc/{each.pid}/status").read_text().splitlines() for each in self.processes]
        return [int(line.split()[1]) / 1024 for party in lines for line in party if line.startswith("VmRSS")]

    def log(self, party):
        return (self.root / f"party-{party}.log").read_text()

    def used(self):
        """Every use of an inference that the two stores note: per party, (set, index) in the order of use."""
        pool = self.build.with_name("build.pool")
        lines = [json.loads(line) for line in (pool / "used.jsonl").read_text().splitlines()]
        return [
            [
                (line["set"], index)
                for line in lines
                if line["party"] == party
                for index in range(line["start"], line["start"] + line["count"])
            ]
            for party in (0, 1)
        ]


def ask_many(urls, images, clients, attempts=5, deadline_s=120):
    """Classes as many clients are told them, one request per image; faults in their place; fails at the deadline."""
    answers = [None] * len(images)

    def work(first):
        with PrivateClassifier(urls, attempts=attempts) as classifier:
            for index in range(first, len(images), clients):
                try:
                    answers[index] = int(classifier.predict(images[index : index + 1])[0])
                except ServiceFault as fault:
                    answers[index] = fault

    deadline = time.monotonic() + deadline_s
    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(max(0.0, deadline - time.monotonic()))
    waiting = sum(answer is None for answer in answers)
    assert not waiting, f"{waiting} of {len(images)} requests have neither answer nor fault after {deadline_s} s"
    return answers


@dataclass
class Heard:
    """What clients heard so far: images whose class was right or wrong, and the sentences of faults."""

    right: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    faults: list = field(default_factory=list)


@contextlib.contextmanager
def asking(urls, images, classes, clients, attempts=1):
    """Clients that ask for one random image after the other while the block runs; yields what they have `Heard`."""
    over, heard = threading.Event(), Heard()

    def work():
        classifier = None
        while not over.is_set():
            index = random.randrange(len(images))
            try:
                classifier = classifier or PrivateClassifier(urls, attempts=attempts, timeout_s=20)
                found = classifier.predict(images[index : index + 1])[0]
                (heard.right if found == classes[index] else heard.wrong).append(index)
            except ServiceFault as fault:
                heard.faults.append(str(fault))
                time.sleep(0.02)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for each in threads:
        each.start()
    try:
        yield heard
    finally:
        over.set()
        for each in threads:
            each.join()


def post(url, body=bytes(16), request_id="0" * 32, media="application/octet-stream", path=None, headers=()):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    where = f"/v1/models/build/requests/{request_id}" if path is None else path
    connection.request("POST", where, body, {"Content-Type": media, **dict(headers)})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body
