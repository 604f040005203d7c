"""Online time and bytes of the two-party executions on the plain-stem ResNet-18, beside CrypTen where it is installed.

One 32x32 image, random weights, two processes on loopback; repetitions of all systems alternate, so that load on the
machine falls on all alike. Only ratios of one run mean something. `--network wan` shapes our link to 100 Mbit/s with
10 ms each way through a relay.

    python benchmarks/two_party.py
    pip install --no-deps crypten==0.4.1 omegaconf "antlr4-python3-runtime==4.9.3" && python benchmarks/two_party.py
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.fpga.board.conformance import ProgramBuilder
from rrnet_nni.fpga.board.executions import EXECUTIONS
from rrnet_nni.fpga.compiler.emit import write_build
from rrnet_nni.fpga.program import (
    AffineOp,
    ConvOp,
    LinearOp,
    Program,
    ReluOp,
    ReshapeOp,
    SquareOp,
    SumPoolOp,
    TruncateOp,
)

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
ACTIVATIONS = ("relu", "x2act")
WAN_BYTES_PER_S, WAN_DELAY_S = 100e6 / 8, 0.010


class ResNet18:
    """The plain-stem ResNet-18 (557,056 activations at 32x32) written as a two-party program."""

    def __init__(self, activation: str) -> None:
        self.activation = activation
        self.b = ProgramBuilder((3, 32, 32), 8)

    def build(self) -> tuple[Program, dict[str, np.ndarray]]:
        x = self.act("stem.act", self.truncate(self.conv("stem", "image", 64, 3, 1)))
        for stage, (channels, stride) in enumerate(STAGES):
            for block in range(2):
                x = self.block(f"layer{stage + 1}.{block}", x, channels, stride if block == 0 else 1)
        channels, height, _ = self.b.tensors[x].shape
        self.b.add(SumPoolOp, "gap", [x], (channels, 1, 1), 8, kernel=(height, height), stride=(height, height))
        self.b.add(ReshapeOp, "flat", ["gap"], (channels,), 8)
        weight = self.b.constant("fc.w", (10, channels), 8, 60)
        self.b.add(LinearOp, "fc", ["flat"], (10,), 16, weight=weight, bias=None)
        return self.b.program("resnet18"), self.b.weights

    def block(self, name: str, x: str, channels: int, stride: int) -> str:
        """The sum is formed before the truncation, so that a block truncates twice, whatever its shortcut."""
        y = self.act(f"{name}.act1", self.truncate(self.conv(f"{name}.conv1", x, channels, 3, stride)))
        y = self.conv(f"{name}.conv2", y, channels, 3, 1)
        shape, one = self.b.tensors[y].shape, (1,)
        aligned = (256,)
        if self.b.tensors[x].shape != shape:
            x, aligned = self.conv(f"{name}.down", x, channels, 1, stride), one
        self.b.add(AffineOp, f"{name}.add", [y, x], shape, 16, multipliers=(one, aligned))
        return self.act(f"{name}.act2", self.truncate(f"{name}.add"))

    def conv(self, name: str, x: str, channels: int, kernel: int, stride: int) -> str:
        inputs, height, _ = self.b.tensors[x].shape
        size = (height + 2 * (kernel // 2) - kernel) // stride + 1
        bound = max(1, int(256 * (3 / (inputs * kernel**2)) ** 0.5))
        weight = self.b.constant(f"{name}.w", (channels, inputs, kernel, kernel), 8, bound)
        shape, padding = (channels, size, size), (kernel // 2,) * 4
        return self.b.add(
            ConvOp, name, [x], shape, 16, weight=weight, bias=None, stride=(stride, stride), padding=padding
        )

    def truncate(self, x: str) -> str:
        return self.b.add(TruncateOp, f"{x}.t", [x], self.b.tensors[x].shape, 8, bits=8)

    def act(self, name: str, x: str) -> str:
        """ReLU, or x + x²/256: like the coefficient of a trained X2act, the square's is small."""
        shape = self.b.tensors[x].shape
        if self.activation == "relu":
            return self.b.add(ReluOp, name, [x], shape, 8)
        self.b.add(SquareOp, f"{name}.square", [x], shape, 16)
        self.b.add(AffineOp, f"{name}.affine", [f"{name}.square", x], shape, 24, multipliers=((1,), (1 << 16,)))
        return self.b.add(TruncateOp, f"{name}.t", [f"{name}.affine"], shape, 8, bits=16)


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"rrnet_nni.fpga.board.{module}", *map(str, arguments)]


def run_ours(build: Path, protocol: str, network: str) -> dict[str, Any]:
    """One execution with material that was prepared before."""
    material = build.with_name(f"{build.name}.{protocol}")
    image = build.parent / "image.npy"
    common = ["--material", material, "--protocol", protocol, "--json"]
    if network == "loopback":
        run = subprocess.run(command("cli", build, "--input", image, *common), capture_output=True, check=True)
        return json.loads(run.stdout)
    server_port, client_port = free_port(), free_port()
    threading.Thread(target=relay, args=(client_port, server_port), daemon=True).start()
    server = subprocess.Popen(
        command("cli", build, "--party", 1, "--listen", f"127.0.0.1:{server_port}", *common), stdout=subprocess.DEVNULL
    )
    arguments = ["--party", 0, "--connect", f"127.0.0.1:{client_port}", "--input", image, *common]
    client = subprocess.run(command("cli", build, *arguments), capture_output=True, check=True)
    server.wait(timeout=60)
    return json.loads(client.stdout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def relay(listen_port: int, target_port: int) -> None:
    """Forward one connection with the wide-area network's rate and delay."""
    with socket.create_server(("127.0.0.1", listen_port)) as server:
        first, _ = server.accept()
    for _ in range(100):
        try:
            second = socket.create_connection(("127.0.0.1", target_port))
            break
        except OSError:
            time.sleep(0.1)
    for source, target in ((first, second), (second, first)):
        threading.Thread(target=shape, args=(source, target), daemon=True).start()


def shape(source: socket.socket, target: socket.socket) -> None:
    """One direction: octets leave at the link's rate and arrive after its delay."""
    queue: collections.deque[tuple[float, bytes]] = collections.deque()
    ready = threading.Semaphore(0)

    def deliver() -> None:
        while True:
            ready.acquire()
            due, octets = queue.popleft()
            if not octets:
                target.shutdown(socket.SHUT_WR)
                return
            time.sleep(max(0.0, due - time.monotonic()))
            target.sendall(octets)

    threading.Thread(target=deliver, daemon=True).start()
    free_at = time.monotonic()
    while True:
        octets = source.recv(1 << 16)
        free_at = max(free_at, time.monotonic()) + len(octets) / WAN_BYTES_PER_S
        time.sleep(max(0.0, free_at - time.monotonic()))
        queue.append((free_at + WAN_DELAY_S, octets))
        ready.release()
        if not octets:
            return


def run_crypten(activation: str) -> dict[str, Any]:
    """CrypTen's two processes on loopback, weights encrypted before the clock starts."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "RENDEZVOUS": f"tcp://127.0.0.1:{free_port()}",
        "DISTRIBUTED_BACKEND": "gloo",
    }
    parties = [
        subprocess.Popen(
            [sys.executable, __file__, "--crypten-party", activation],
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for rank in (0, 1)
    ]
    outputs = [party.communicate(timeout=300)[0] for party in parties]
    answers = [json.loads(output.splitlines()[-1]) for output in outputs]
    # each process counts what it sends and what it receives
    return {"online_s": max(a["online_s"] for a in answers), "bytes": sum(a["bytes"] for a in answers) // 2}


def crypten_party(activation: str) -> None:
    """One CrypTen process: the same network with its own tensors."""
    converter = types.ModuleType("crypten.nn.onnx_converter")  # imports a private module of torch, needed for nothing
    converter.from_onnx = converter.from_pytorch = converter.from_tensorflow = None  # type: ignore[attr-defined]
    converter.TF_AND_TF2ONNX = False  # type: ignore[attr-defined]
    sys.modules["crypten.nn.onnx_converter"] = converter
    import crypten
    import torch

    torch.set_num_threads(1)
    crypten.init()
    crypten.cfg.communicator.verbose = True  # counts bytes
    program, _ = ResNet18(activation).build()
    weights = {
        operation.weight: crypten.cryptensor(torch.randn(program.constants[operation.weight].shape) * 0.02, src=1)
        for operation in program.operations
        if isinstance(operation, ConvOp | LinearOp)
    }
    values = {"image": crypten.cryptensor(torch.randn(1, 3, 32, 32), src=0)}
    communicator = crypten.communicator.get()
    communicator.reset_communication_stats()
    started = time.perf_counter()
    for operation in program.operations:
        inputs = [values[name] for name in operation.inputs]
        values[operation.output] = crypten_operation(operation, inputs, weights)
    values[program.output].get_plain_text()
    elapsed = time.perf_counter() - started
    print(json.dumps({"online_s": elapsed, "bytes": communicator.comm_bytes}))


def crypten_operation(operation: Any, inputs: list[Any], weights: dict[str, Any]) -> Any:
    match operation:
        case ConvOp():
            return inputs[0].conv2d(weights[operation.weight], stride=operation.stride[0], padding=operation.padding[0])
        case LinearOp():
            return inputs[0].matmul(weights[operation.weight].t())
        case ReluOp():
            return inputs[0].relu()
        case SquareOp():
            return inputs[0].square()
        case AffineOp():
            return inputs[0] + inputs[1]
        case SumPoolOp():
            return inputs[0].sum(3).sum(2)
    return inputs[0]  # truncations are part of CrypTen's products


def measure(repetitions: int, network: str, protocols: Sequence[str], peer: bool) -> list[dict[str, Any]]:
    """Medians over alternating repetitions."""
    samples: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        np.save(Path(directory) / "image.npy", np.random.default_rng(0).normal(size=(1, 3, 32, 32)))
        for activation in ACTIVATIONS:
            build = Path(directory) / activation
            write_build(build, *ResNet18(activation).build(), {"device": "zcu104", "protocol": "beaver-ot"})
            for protocol in protocols:
                material = build.with_name(f"{activation}.{protocol}")
                arguments = command(
                    "prepare_cli", build, "--count", repetitions, "-o", material, "--protocol", protocol
                )
                subprocess.run(arguments, check=True, capture_output=True)
            for _ in range(repetitions):
                for protocol in protocols:
                    answer = run_ours(build, protocol, network)
                    setup = sum(sum(row["bytes_sent"]) for row in answer["operations"] if row["phase"] == "setup")
                    answer["bytes"] = sum(answer["bytes_sent"]) - setup
                    samples[protocol, activation].append(answer)
                if peer:
                    samples["crypten", activation].append(run_crypten(activation))
    return [summary(name, activation, answers, samples) for (name, activation), answers in samples.items()]


def summary(
    name: str, activation: str, answers: list[dict[str, Any]], samples: dict[tuple[str, str], list[dict[str, Any]]]
) -> dict[str, Any]:
    online_s = statistics.median(answer["online_s"] for answer in answers)
    row = {"system": name, "activation": activation, "online_s": online_s, "bytes_both_ways": answers[0]["bytes"]}
    for key in ("setup_s", "offline_s", "rounds", "memory_mb"):
        if key in answers[0]:
            row[key] = answers[0][key]
    peers = samples.get(("crypten", activation))
    if peers and name != "crypten":
        row["time_ratio"] = online_s / statistics.median(answer["online_s"] for answer in peers)
        row["bytes_ratio"] = answers[0]["bytes"] / peers[0]["bytes"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--network", choices=("loopback", "wan"), default="loopback")
    parser.add_argument("--protocol", choices=tuple(EXECUTIONS), action="append")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, and nothing else")
    parser.add_argument("--crypten-party", choices=ACTIVATIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.crypten_party:
        crypten_party(options.crypten_party)
        return
    peer = options.network == "loopback" and importlib.util.find_spec("crypten") is not None
    rows = measure(options.repetitions, options.network, options.protocol or tuple(EXECUTIONS), peer)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    if not peer:
        print("CrypTen is not measured: it is not installed, or the network is shaped\n")
    print(f"{'system':12} {'network':8} {'online s':>9} {'MB both ways':>13} {'of its time':>12} {'of its bytes':>13}")
    for row in rows:
        ratios = [f"{row[key]:.3f}" if key in row else "" for key in ("time_ratio", "bytes_ratio")]
        print(
            f"{row['system']:12} {row['activation']:8} {row['online_s']:9.3f} {row['bytes_both_ways'] / 1e6:13.2f} "
            f"{ratios[0]:>12} {ratios[1]:>13}"
        )


if __name__ == "__main__":
    main()
