"""The operator tests of the ONNX project itself, through compiler and fixed-point interpreter.

Every single-node test of a supported operator either passes within the format's error or is named in
`onnx_backend_skips.txt` under the reason for which the compiler refuses it.
"""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.onnx.operators import IMPORTERS
from rrnet_nni.fpga.program.reference import run_reference

SKIPS = Path(__file__).with_name("onnx_backend_skips.txt")
SUPPORTED = {operator for domain, operator in IMPORTERS if not domain}


def read_skips() -> dict[str, str]:
    """Test name -> reason: indented names below each reason."""
    skips, reason = {}, ""
    for line in SKIPS.read_text().splitlines():
        if line.startswith("  "):
            skips[line.strip()] = reason
        elif line:
            reason = line
    return skips


def backend_cases() -> list[tuple[str, onnx.ModelProto, list[np.ndarray], np.ndarray]]:
    """(name, model with all inputs but the first as constants, inputs, expected output) of every candidate."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load_model_tests(kind="node")
    cases = []
    for case in loaded:
        kinds = [node.op_type for node in case.model.graph.node]
        inputs, outputs = case.data_sets[0]
        arrays = all(isinstance(value, np.ndarray) for value in (*inputs, *outputs))
        if len(kinds) != 1 or kinds[0] not in SUPPORTED or not arrays or "Cast" in kinds:
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        for value, entry in zip(inputs[1:], model.graph.input[1:], strict=False):
            model.graph.initializer.append(numpy_helper.from_array(value, entry.name))
        del model.graph.input[1:]
        cases.append((case.name, model, inputs, outputs[0]))
    return cases


@pytest.fixture(scope="module")
def results() -> dict[str, str]:
    """Test name -> "" where it passes, else the refusal or the error that is too large."""
    found = {}
    for name, model, inputs, expected in backend_cases():
        try:
            images = inputs[0].astype(np.float32)
            chosen = import_model(model, name, output_name=model.graph.output[0].name)
            result = compile_program(chosen, images)
            error = np.abs(run_reference(result.program, result.weights, images).reshape(expected.shape) - expected)
            allowed = 2.0**-7 * max(1.0, float(np.abs(expected).max()))
            found[name] = "" if error.max() <= allowed else f"error {error.max():.3g} of {allowed:.3g} allowed"
        except Refusal as refusal:
            found[name] = str(refusal)
    return found


def test_operators_pass_or_are_refused_for_the_listed_reason(results: dict[str, str]) -> None:
    skips = read_skips()
    unexpected = {
        name: problem for name, problem in results.items() if problem and skips.get(name, "\0") not in problem
    }
    assert not unexpected


def test_no_skipped_operator_passes_by_now(results: dict[str, str]) -> None:
    assert not [name for name in read_skips() if results.get(name) == ""]


def test_every_kind_of_layer_is_covered(results: dict[str, str]) -> None:
    passed = " ".join(name for name, problem in results.items() if not problem)
    for word in ("conv", "gemm", "matmul", "batchnorm", "maxpool", "averagepool", "globalaveragepool", "flatten"):
        assert word in passed
    assert sum(not problem for problem in results.values()) >= 67
