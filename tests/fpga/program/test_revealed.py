"""The argmax as a program: exact for all logits, the first of equals, and a rule that its end cannot be another."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program import LinearOp, is_narrow, program_from_dict, program_to_dict
from rrnet_nni.fpga.program.check import check_program
from rrnet_nni.fpga.program.reference import run_reference, walk_reference
from rrnet_nni.fpga.program.revealed import check_revealed, with_argmax
from rrnet_nni.fpga.protocols import executions, preparations
from rrnet_nni.fpga.runtime.session.conformance import (
    ProgramBuilder,
    first_divergence,
    preparation_mismatch,
    run_shared,
    traffic_mismatch,
)


def open_logits(classes, ring_bits=32):
    """A program whose logits are its input's words."""
    b = ProgramBuilder((classes,), 4)
    weight = b.constant("w", (classes, classes), 0, 1)
    b.weights["w"] = np.eye(classes, dtype=np.int32)
    b.add(LinearOp, "logits", ["image"], (classes,), 4, weight=weight, bias=None)
    program = b.program()
    tensors = {name: replace(tensor, ring_bits=ring_bits) for name, tensor in program.tensors.items()}
    return replace(program, tensors=tensors), b.weights


def one_hot(words):
    return np.eye(words.shape[1])[words.argmax(axis=1)]


@st.composite
def logits(draw):
    """Words with ties, small differences, and the ends of the range."""
    classes = draw(st.integers(2, 12))
    word = st.sampled_from([0, 1, -1, 7, 2**29 - 1, -(2**29) + 1]) | st.integers(-(2**29) + 1, 2**29 - 1)
    return np.array(
        draw(st.lists(st.lists(word, min_size=classes, max_size=classes), min_size=1, max_size=5)), np.int32
    )


@given(logits())
@settings(max_examples=60, deadline=None)
def test_the_program_gives_a_one_for_the_first_of_the_largest(words):
    program, weights = open_logits(words.shape[1])
    program = with_argmax(program)
    check_program(program)
    assert np.array_equal(run_reference(program, weights, words), one_hot(words))


@pytest.mark.parametrize("ring_bits", [32, 16])
@pytest.mark.parametrize("name", executions())
def test_every_protocol_opens_the_one_hot_word_alone_for_the_predicted_bytes(name, ring_bits):
    execution = executions()[name]
    program, weights = open_logits(5, ring_bits)
    program = with_argmax(program)
    assert is_narrow(program) == (ring_bits < 32)
    largest = 2 ** (min(ring_bits, 31) - 2) - 1
    words = np.random.default_rng(1).integers(-largest, largest, (6, 5)).astype(np.int32)
    words[1], words[2, 1:4], words[3] = 9, largest, (-largest, largest, -largest, largest, 0)
    assert np.array_equal(run_shared(program, weights, words, execution).output, one_hot(words))
    assert first_divergence(program, weights, words, execution) is None
    assert traffic_mismatch(program, weights, words, execution) is None
    if name in preparations():
        assert first_divergence(program, weights, words[:2], execution, "two-party") is None
        assert preparation_mismatch(program, 1, execution) is None


def test_no_tensor_leaves_its_ring():
    program, weights = open_logits(7, 16)
    program = with_argmax(program)
    largest = 2**14 - 1
    words = np.random.default_rng(2).choice([-largest, 0, largest], (50, 7)).astype(np.int32)
    for name, values in walk_reference(program, weights, words):
        assert np.abs(values.view(np.int32)).max() < 2 ** (program.tensor(name).ring_bits - 2), name


def test_it_is_written_and_read_back_and_other_programs_stay_as_they_were():
    program, _ = open_logits(4)
    assert "reveals" not in program_to_dict(program)
    document = program_to_dict(with_argmax(program))
    assert document["reveals"] == "argmax"
    assert program_to_dict(program_from_dict(document)) == document
    with pytest.raises(Refusal, match="'reveals' is 'all'"):
        program_from_dict(document | {"reveals": "all"})


@pytest.mark.parametrize("place", range(9))
def test_a_program_that_says_argmax_and_computes_something_else_is_refused(place):
    program, _ = open_logits(4)
    program = with_argmax(program)
    check_revealed(program)
    operations = list(program.operations)
    last = operations[len(operations) - 9 + place]
    if hasattr(last, "addend"):
        changed = replace(last, addend=(last.addend[0] + 1,))
    elif hasattr(last, "kernel"):
        changed = replace(last, kernel=(1, 3))
    else:
        changed = replace(last, inputs=("image",))
    operations[len(operations) - 9 + place] = changed
    with pytest.raises(Refusal, match="does not end in"):
        check_revealed(replace(program, operations=tuple(operations)))


def test_logits_that_open_on_the_way_are_refused():
    program, _ = open_logits(4)
    with pytest.raises(Refusal, match="does not end in"):
        check_revealed(replace(with_argmax(program), output="logits"))


@pytest.mark.parametrize("classes", [1])
def test_a_single_class_has_no_argmax(classes):
    program, _ = open_logits(classes)
    with pytest.raises(Refusal, match="two or more"):
        with_argmax(program)
