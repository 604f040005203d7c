"""The peer of the preprocessing benchmark: SPU's CHEETAH, two processes without any third party, on loopback.

SPU is no dependency of this project and wants other versions of NumPy and JAX: `install` puts it into an environment of
its own. The processes get the network as JSON and import nothing of this project. Words have 64 bits, because SPU's
32-bit convolution does not run.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ANSWER = "answer "
PEER_REQUIREMENTS = ("spu==0.9.5", "numpy==1.26.4", "jax==0.4.34", "jaxlib==0.4.34", "scipy<1.14")


def peer_directory() -> Path:
    """Where `install` puts the environment."""
    from rrnet_nni.base.caches import cache_folder

    return cache_folder("peers") / "spu"


def install() -> None:
    """Install the peer beside this project, never into it."""
    subprocess.run([sys.executable, "-m", "venv", str(peer_directory())], check=True)
    subprocess.run(
        [str(peer_directory() / "bin" / "python"), "-m", "pip", "install", "-q", *PEER_REQUIREMENTS], check=True
    )


def is_installed() -> bool:
    return any(peer_directory().glob("lib/python3*/site-packages/spu"))


def run_cheetah(layers: list[dict[str, Any]], image: tuple[int, ...]) -> dict[str, Any]:
    """Both processes, weights and image shared before the clock starts; offline and online are one.

    Args:
        layers: `kind`, `name`, `inputs` of every operation, and of products `weights`, `stride`, `padding`.
        image: shape without the batch axis.
    """
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        ports = [first.getsockname()[1], second.getsockname()[1]]
    network = json.dumps({"layers": layers, "image": image, "ports": ports})
    parties = [
        subprocess.Popen(
            [str(peer_directory() / "bin" / "python"), __file__, str(rank)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for party in parties:
        if party.stdin is not None:
            party.stdin.write(network)
            party.stdin.close()
            party.stdin = None
    outputs = [party.communicate(timeout=3000) for party in parties]
    if any(party.returncode for party in parties):
        raise SystemExit(f"CHEETAH failed: {outputs[0][1][-800:]} {outputs[1][1][-800:]}")
    marked = [[line for line in output.splitlines() if line.startswith(ANSWER)] for output, _ in outputs]
    answers = [json.loads(lines[-1].removeprefix(ANSWER)) for lines in marked]  # SPU logs on standard output too
    return {
        "total_s": max(answer["total_s"] for answer in answers),
        "cpu_s": sum(answer["cpu_s"] for answer in answers),
        "memory_mb": {str(rank): answer["memory_mb"] for rank, answer in enumerate(answers)},
    }


def evaluate(layers: list[dict[str, Any]], image: Any, weights: list[Any]) -> Any:
    """The network in JAX; truncations are part of SPU's products."""
    import jax.numpy as jnp
    from jax import lax

    values, unused = {"image": image}, iter(weights)
    for layer in layers:
        x = values[layer["inputs"][0]]
        match layer["kind"]:
            case "conv":
                top, left, bottom, right = layer["padding"]
                padding = ((top, bottom), (left, right))
                x = lax.conv_general_dilated(x, next(unused), layer["stride"], padding)
            case "linear":
                x = x @ next(unused).T
            case "relu":
                x = jnp.maximum(x, 0)
            case "affine":
                x = x + values[layer["inputs"][1]]
            case "sumpool":
                x = x.sum(axis=(2, 3), keepdims=True) / (x.shape[2] * x.shape[3])
            case "reshape":
                x = x.reshape(x.shape[0], -1)
        values[layer["name"]] = x
    return x


def party(rank: int) -> None:
    """One process of SPU."""
    import resource

    import numpy as np
    import spu
    from spu import libspu
    from spu.libspu import link
    from spu.utils import frontend

    network = json.load(sys.stdin)
    layers = network["layers"]
    description = link.Desc()
    for index, port in enumerate(network["ports"]):
        description.add_party(f"party-{index}", f"127.0.0.1:{port}")
    description.recv_timeout_ms = 600_000
    context = link.create_brpc(description, rank)
    config = libspu.RuntimeConfig()
    config.protocol, config.field = libspu.ProtocolKind.CHEETAH, libspu.FieldType.FM64
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(1, *network["image"])).astype(np.float32)]
    for layer in layers:
        if "weights" in layer:
            shape = layer["weights"]
            arrays.append((generator.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32))
    names = [f"input-{index}" for index in range(len(arrays))]
    secret = libspu.Visibility.VIS_SECRET
    executable, _ = frontend.compile(
        frontend.Kind.JAX,
        lambda image, *weights: evaluate(layers, image, list(weights)),
        arrays,
        {},
        names,
        [secret] * len(arrays),
        lambda outputs: [f"output-{index}" for index in range(len(outputs))],
    )
    runtime, io = spu.Runtime(context, config), spu.Io(2, config)
    for index, (name, array) in enumerate(zip(names, arrays)):
        owner = 0 if index == 0 else 1
        runtime.set_var(name, io.make_shares(array, secret, owner)[rank])
    started, cpu = time.perf_counter(), time.process_time()
    runtime.run(executable)
    answer = {
        "total_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(ANSWER + json.dumps(answer), flush=True)


if __name__ == "__main__":
    party(int(sys.argv[1]))
