"""program.json is read strictly: whatever is changed in it is refused by name or still means a program."""

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from helpers.networks.small_onnx_models import mixed_model
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.program import program_from_dict, program_to_dict
from rrnet_nni.fpga.program.build import split_weights
from rrnet_nni.fpga.program.check import check_program
from rrnet_nni.fpga.program.write_build import join_weights

COMPILED = compile_program(import_model(mixed_model(image_size=8), "model"))
DOCUMENT = json.loads(json.dumps(program_to_dict(COMPILED.program)))
WEIGHTS = bytes(join_weights(COMPILED.program, COMPILED.weights))
VALUES = st.sampled_from([None, -1, 0, 2**40, -(2**70), 10**400, 1.5, float("nan"), "x", [], {}, True, [1, 2], [[1]]])


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a document can be changed."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, item in inside for found in paths(item, (*path, key))]


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return document


def test_a_program_reads_back_as_it_was_written() -> None:
    assert program_from_dict(DOCUMENT) == COMPILED.program


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(paths(DOCUMENT)), value=VALUES)
def test_a_changed_program_is_refused_or_sound(path: tuple[Any, ...], value: Any) -> None:
    with suppress(Refusal):
        program = program_from_dict(changed(path, value))
        check_program(program)
        split_weights(program, WEIGHTS)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("tensors", 0, "shape"), None, r"'image' in 'tensors': 'shape' must be a list, not null"),
        (("operations", 0, "stride"), [0, 1], r"in 'operations': 'stride' is \(0, 1\), expected 1 to"),
        (("operations", 0, "inputs"), [], "in 'operations': it has no inputs"),
        (("operations", 0, "kind"), "sigmoid", "the kind 'sigmoid' is unknown"),
        (("constants",), {}, "'constants' is not a list of objects"),
        (("name",), 3, "'name' is 3, expected str"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_where(path: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        program_from_dict(changed(path, value))
