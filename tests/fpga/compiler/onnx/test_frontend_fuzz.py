"""Mutated ONNX files end in a clear refusal or a valid build: no traceback, no hang, no partial directory."""

import re
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import mixed_model

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.program.build import load_build

SECONDS_LIMIT = 10


def mutated_bytes(data: bytes, generator: np.random.Generator) -> bytes:
    """A few bytes changed, cut out or doubled."""
    result = bytearray(data)
    for _ in range(generator.integers(1, 4)):
        position = int(generator.integers(len(result)))
        match generator.integers(5):
            case 0 | 1:
                result[position] ^= 1 << int(generator.integers(8))
            case 2:
                result[position] = int(generator.integers(256))
            case 3:
                del result[position : position + int(generator.integers(1, 16))]
            case 4:
                result[position:position] = result[position : position + int(generator.integers(1, 16))]
    return bytes(result)


def mutated_model(model: onnx.ModelProto, generator: np.random.Generator) -> bytes:
    """A well-formed file with one attribute, edge, dimension or operator changed."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    node = changed.graph.node[int(generator.integers(len(changed.graph.node)))]
    number = int(generator.choice([-(2**40), -1, 0, 1, 2, 3, 5, 17, 2**20, 2**40]))
    match generator.integers(6):
        case 0 if node.attribute:
            attribute = node.attribute[int(generator.integers(len(node.attribute)))]
            if attribute.ints:
                attribute.ints[int(generator.integers(len(attribute.ints)))] = number
            else:
                attribute.i = number
        case 1 if node.input:
            names = [name for other in changed.graph.node for name in (*other.input, *other.output)]
            node.input[int(generator.integers(len(node.input)))] = str(generator.choice(names))
        case 2:
            node.op_type = str(generator.choice(["Add", "Mul", "Conv", "Relu", "MaxPool", "Softmax", "Concat", "Gemm"]))
        case 3:
            axis = changed.graph.input[0].type.tensor_type.shape.dim[int(generator.integers(4))]
            axis.dim_value = number
        case 4:
            tensor = changed.graph.initializer[int(generator.integers(len(changed.graph.initializer)))]
            if tensor.dims:
                tensor.dims[int(generator.integers(len(tensor.dims)))] = number
            else:
                tensor.data_type = int(generator.integers(0, 20))
        case _:
            del changed.graph.node[int(generator.integers(len(changed.graph.node)))]
    return changed.SerializeToString()


#: What a refusal points at: a part of the model by its name, or the file as a whole.
NAMED = re.compile(r"\b(node|input|output|initializer|constant|tensor|operation|axis \d+ of input) '[^']*'")
WHOLE_FILE = (
    "is not an ONNX model, or is damaged",
    "is damaged: a name in it",
    "opset",
    "standard operators",
    "inputs,",
)


def check_sentence(sentence: str, well_formed: bool) -> None:
    """One line that names what is wrong; a file that is well formed is never refused as a whole."""
    assert "\n" not in sentence
    assert " object at 0x" not in sentence
    assert NAMED.search(sentence) or (not well_formed and any(cause in sentence for cause in WHOLE_FILE)), sentence


def check_mutants(count: int, seed: int, directory: Path) -> None:
    generator = np.random.default_rng(seed)
    model = mixed_model(image_size=8)
    data = model.SerializeToString()
    path, output = directory / "mutant.onnx", directory / "build"
    built = 0
    for index in range(count):
        path.write_bytes(mutated_bytes(data, generator) if index % 2 else mutated_model(model, generator))
        started = time.perf_counter()
        try:
            compile_model(path, output)
        except Refusal as refusal:
            check_sentence(str(refusal), well_formed=index % 2 == 0)
        else:
            built += 1
            load_build(output)
        assert time.perf_counter() - started < SECONDS_LIMIT
        left = {entry.name for entry in directory.iterdir()}
        assert left <= {"mutant.onnx", "build"}
    assert 0 < built < count


def test_mutated_models_are_refused_or_built(tmp_path: Path) -> None:
    check_mutants(120, seed=1, directory=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_two_thousand_mutated_models_are_refused_or_built(tmp_path: Path, seed: int) -> None:
    check_mutants(500, seed, tmp_path)
