"""What "accuracy under 2PC" costs: the fixed-point emulation over float inference of the same network and images.

    python benchmarks/hardware/emulation.py [--backbone resnet18 --width 0.25] [--json]

Both take the same batches on one core, in turns. A ratio is the median over the rounds, in processor seconds. Bar: the
emulation is no slower than ten float inferences in PyTorch. Weights are random: their values change no run time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rrnet_nni.evaluators.fixed_point import fixed_point_logits
from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.program.build import Build, load_build
from rrnet_nni.fpga.ring import backend_name
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices

KINDS = {"relu": ("relu", "maxpool"), "x2act": ("x2act", "avgpool")}
IMAGE = (3, 32, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--protocol", default="beaver-ot")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = np.random.default_rng(0).normal(size=(options.batch_size, *IMAGE)).astype(np.float32)
    answer = {"ring_backend": backend_name(), **{kind: measure(options, kind, images) for kind in KINDS}}
    if options.json:
        print(json.dumps(answer, indent=2))
        return
    for kind in KINDS:
        figures = answer[kind]
        print(
            f"{options.backbone} {kind}: {figures['emulation_ms']:.2f} ms an image in fixed point, "
            f"{figures['float_ms']:.2f} ms in float: {figures['ratio']:.2f}x (bar: 10)"
        )


def measure(options: argparse.Namespace, kind: str, images: np.ndarray) -> dict[str, float]:
    """Milliseconds of an image both ways, and the median of their ratios."""
    space = SpaceOptions(width=options.width)
    network = build_network(options.backbone, space, fixed_choices(options.backbone, space, *KINDS[kind]))
    settle_statistics(network, images)
    build = compiled(network, images, options.protocol)
    float_s, emulation_s = [], []
    for _ in range(options.rounds):
        float_s.append(seconds(lambda: infer(network, images)))
        emulation_s.append(seconds(lambda: fixed_point_logits(build, images)))
    return {
        "float_ms": 1e3 * statistics.median(float_s) / len(images),
        "emulation_ms": 1e3 * statistics.median(emulation_s) / len(images),
        "ratio": statistics.median(fixed / plain for fixed, plain in zip(emulation_s, float_s)),
    }


@torch.no_grad()
def settle_statistics(network: nn.Module, images: np.ndarray) -> None:
    """Take every normalization's statistics from these images, so that squares stay in range; ends in eval mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()(torch.from_numpy(images))
    network.eval()


def compiled(network: nn.Module, images: np.ndarray, protocol: str) -> Build:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        export_onnx(network, IMAGE, directory / "model.onnx")
        np.savez(directory / "images.npz", image=images)
        compile_model(directory / "model.onnx", directory / "build", "zcu104", protocol, directory / "images.npz")
        return load_build(directory / "build")


@torch.inference_mode()
def infer(network: nn.Module, images: np.ndarray) -> Any:
    return network(torch.from_numpy(images))


def seconds(action: Callable[[], Any]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


if __name__ == "__main__":
    main()
