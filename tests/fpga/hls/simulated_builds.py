"""Builds of small models with their material, for tests that run the accelerator beside the software parties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from rrnet_nni.fpga.board.dealer import prepare_set
from rrnet_nni.fpga.board.executions import get_execution
from rrnet_nni.fpga.compiler.build import Build, load_build
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.hls.csim import simulate_accelerators


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
