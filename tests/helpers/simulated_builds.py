"""Builds of small models with their material, for tests that run the accelerator beside the software parties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from helpers.networks.small_onnx_models import ModelBuilder
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.hls.csim import simulate_accelerators
from rrnet_nni.fpga.program.build import Build, load_build
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.material.dealer import prepare_set


def compiled(folder: Path, model: onnx.ModelProto, protocol: str = "beaver-ot") -> Build:
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    compile_model(folder / "model.onnx", folder / "build", protocol=protocol)
    return load_build(folder / "build")


def images_for(build: Build, count: int) -> np.ndarray:
    shape = build.program.tensor(build.program.input).shape
    return np.random.default_rng(0).normal(size=(count, *shape)).clip(-2, 2)


def prepared(build: Build, folder: Path, count: int) -> Path:
    execution = get_execution(build.protocol_name)
    prepare_set(folder, build.program, build.program_digest, execution, count)
    return folder


def software_words(build: Build, words: np.ndarray, material: Path) -> np.ndarray:
    """What two software parties open."""
    return simulate_accelerators(build, words, material, accelerated=()).logits


def kernels_model() -> onnx.ModelProto:
    """Depthwise, pointwise, grouped and dense kernels, larger than a block's, and strides that no block has."""
    build = ModelBuilder((3, 24, 16), seed=4)
    x = build.conv("image", "dense", 3, 12)
    x = build.conv(x, "depthwise", 12, 12, groups=12)
    x = build.conv(x, "pointwise", 12, 20, kernel=1)
    x = build.conv(x, "depthwise_stride", 20, 20, groups=20, stride=2)
    x = build.conv(x, "depthwise_large", 20, 20, kernel=5, groups=20)
    x = build.conv(x, "grouped", 20, 12, groups=4)
    x = build.conv(x, "gathered", 12, 9, stride=4)
    return build.model(build.gemm(build.node("Flatten", [x], "flat"), "logits", 9 * 3 * 2, 5))


def handing_on_model() -> onnx.ModelProto:
    """A convolution opens the image; sums, windows and concatenations hand its words on to every kind of reader."""
    build = ModelBuilder((4, 10, 8), seed=7)
    opened = build.conv("image", "opens", 4, 6)
    mean = build.node("AveragePool", ["image"], "mean", kernel_shape=[2, 2], strides=[2, 2])
    twice = build.node("Add", ["image", "image"], "twice")
    both = build.node("Concat", ["image", twice], "both", axis=1)
    relu = build.node("Relu", [both], "relu")
    pool = build.node("MaxPool", [both], "pool", kernel_shape=[2, 2], strides=[2, 2])
    act = build.x2act(twice, "act", 0.02, 0.8, 0.1)
    parts = [build.conv(mean, "on_mean", 4, 8), build.conv(act, "on_act", 4, 8, stride=2)]
    parts += [build.conv(relu, "on_relu", 8, 8, stride=2), pool, build.conv(opened, "on_open", 6, 8, stride=2)]
    total = parts[0]
    for number, part in enumerate(parts[1:]):
        total = build.node("Add", [total, part], f"sum{number}")
    squares = [build.x2act(total, "act1", 0.02, 0.8, 0.1), build.x2act(parts[-1], "act2", 0.02, 0.8, 0.1)]
    wide = build.node("GlobalAveragePool", [build.node("Concat", squares, "wide", axis=1)], "global")
    return build.model(build.gemm(build.node("Flatten", [wide], "flat"), "logits", 16, 5))


def odd_model() -> onnx.ModelProto:
    """Sizes that fill no octet and no slice, groups, strides, overlapping pools and a concatenation."""
    build = ModelBuilder((3, 11, 9), seed=5)
    x = build.node("Relu", [build.conv("image", "first", 3, 6, stride=2)], "relu1")
    y = build.node("MaxPool", [x], "pool", kernel_shape=[3, 2], strides=[1, 2], pads=[1, 0, 1, 1])
    y = build.x2act(build.conv(y, "grouped", 6, 6, groups=3), "act", 0.02, 0.8, 0.1)
    y = build.node("Concat", [y, build.node("Relu", [build.conv(y, "second", 6, 5)], "relu2")], "both", axis=1)
    y = build.node("MaxPool", [y], "pool2", kernel_shape=[2, 1], strides=[2, 1])
    y = build.node("AveragePool", [y], "mean", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 1], count_include_pad=1)
    shape = 11 * 2 * 3
    return build.model(build.gemm(build.node("Flatten", [y], "flat"), "logits", shape, 7))
