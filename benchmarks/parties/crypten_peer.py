"""The peer of the two-party benchmark: CrypTen's two processes evaluate the same network.

CrypTen is no dependency of this project. `install` puts it, without its own dependencies, into a directory of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from two_party_network import ResNet18

from rrnet_nni.fpga.program import AffineOp, ConvOp, LinearOp, ReluOp, SquareOp, SumPoolOp

PEER_REQUIREMENTS = ("crypten==0.4.1", "omegaconf==2.3.0", "antlr4-python3-runtime==4.9.3")
PORT = 17710


def peer_directory() -> Path:
    """Where `install` puts the peer."""
    from rrnet_nni.base.caches import cache_folder

    return cache_folder("peers")


def install() -> None:
    """Install the peer beside this project, never into it."""
    target = peer_directory()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), *PEER_REQUIREMENTS],
        check=True,
    )


def is_installed() -> bool:
    return any((Path(entry) / "crypten").is_dir() for entry in (*sys.path, str(peer_directory())))


def run_crypten(activation: str, prefixes: Sequence[Sequence[str]], host: str, interface: str) -> dict[str, Any]:
    """Both processes, weights encrypted before the clock starts.

    Args:
        activation: of the network.
        prefixes: what each party's command starts with (a network namespace, or nothing).
        host: address of party 0.
        interface: network interface of both.
    """
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(peer_directory()))))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": path,
        "WORLD_SIZE": "2",
        "RENDEZVOUS": f"tcp://{host}:{PORT}",
        "DISTRIBUTED_BACKEND": "gloo",
        "GLOO_SOCKET_IFNAME": interface,
    }
    parties = [
        subprocess.Popen(
            [*prefix, sys.executable, __file__, activation],
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank, prefix in enumerate(prefixes)
    ]
    outputs = [party.communicate(timeout=600) for party in parties]
    if any(party.returncode for party in parties):
        raise SystemExit(f"CrypTen failed: {outputs[0][1].decode()[-500:]}")
    answers = [json.loads(output.splitlines()[-1]) for output, _ in outputs]
    # each process counts what it sends and what it receives
    return {
        "online_s": max(answer["online_s"] for answer in answers),
        "cpu_s": sum(answer["cpu_s"] for answer in answers),
        "bytes": sum(answer["bytes"] for answer in answers) // 2,
        "memory_mb": {str(rank): answer["memory_mb"] for rank, answer in enumerate(answers)},
    }


def party(activation: str) -> None:
    """One CrypTen process: the same network with its own tensors."""
    converter = types.ModuleType("crypten.nn.onnx_converter")  # imports a private module of torch, needed for nothing
    converter.from_onnx = converter.from_pytorch = converter.from_tensorflow = None  # type: ignore[attr-defined]
    converter.TF_AND_TF2ONNX = False  # type: ignore[attr-defined]
    sys.modules["crypten.nn.onnx_converter"] = converter
    import resource

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
    started, cpu = time.perf_counter(), time.process_time()
    for operation in program.operations:
        inputs = [values[name] for name in operation.inputs]
        values[operation.output] = crypten_operation(operation, inputs, weights)
    values[program.output].get_plain_text()
    answer = {
        "online_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "bytes": communicator.comm_bytes,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(answer))


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
            if operation.output.endswith(".affine"):  # the polynomial of an X2act
                return inputs[0] * (1 / 256) + inputs[1]
            return inputs[0] + inputs[1]
        case SumPoolOp():
            return inputs[0].sum(3).sum(2)
    return inputs[0]  # truncations are part of CrypTen's products


if __name__ == "__main__":
    party(sys.argv[1])
