"""Any chain of activations, moves and layers compiles, and is what onnxruntime makes of it up to rounding."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.networks.small_onnx_models import ModelBuilder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.program.reference import run_reference

CHANNELS, SIDE = 4, 5
IMAGES = np.random.default_rng(3).normal(size=(4, CHANNELS, SIDE, SIDE)).astype(np.float32)
#: Chains may end in nothing but zeros.
SMALLEST = 0.01
Step = Callable[[ModelBuilder, str, str], str]


def whole(build: ModelBuilder, name: str, *numbers: int) -> str:
    build.initializers.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
    return name


def per_channel(build: ModelBuilder, name: str) -> str:
    return build.constant(name, build.generator.normal(size=(CHANNELS, 1, 1)))


def activation(operator: str, **given_attributes: float) -> Step:
    return lambda build, x, name: build.node(operator, [x], name, **given_attributes)


def with_number(operator: str, number: float | None = None) -> Step:
    """An operator on the tensor and a number, or one for each channel."""

    def step(build: ModelBuilder, x: str, name: str) -> str:
        other = f"{name}.number"
        other = per_channel(build, other) if number is None else build.constant(other, number)
        return build.node(operator, [x, other], name)

    return step


def gated(build: ModelBuilder, x: str, name: str) -> str:
    return build.node("Mul", [build.node("HardSigmoid", [x], f"{name}.gate", alpha=1 / 6, beta=0.5), x], name)


def residual(build: ModelBuilder, x: str, name: str) -> str:
    return build.node("Add", [x, build.conv(x, f"{name}.conv", CHANNELS, CHANNELS)], name)


def folded(build: ModelBuilder, x: str, name: str) -> str:
    """max(x, −x / 2)."""
    return build.node("Max", [x, with_number("Mul", -0.5)(build, x, f"{name}.half")], name)


def reversed_rows(build: ModelBuilder, x: str, name: str) -> str:
    bounds = [whole(build, f"{name}.{label}", number) for label, number in (("start", -1), ("end", -(2**63)))]
    return build.node("Slice", [x, *bounds, whole(build, f"{name}.axis", 2), whole(build, f"{name}.step", -1)], name)


def shuffled(build: ModelBuilder, x: str, name: str) -> str:
    return build.node("Gather", [x, whole(build, f"{name}.order", 2, 0, 3, 1)], name, axis=1)


def sliced(build: ModelBuilder, x: str, name: str) -> str:
    """Channels 0 as they are, 1 and 2 under HardSwish, 3 under ReLU."""
    parts = [
        build.node(
            "Slice",
            [
                x,
                *(
                    whole(build, f"{name}.{label}{first}", number)
                    for label, number in (("s", first), ("e", end), ("a", 1))
                ),
            ],
            f"{name}.part{first}",
        )
        for first, end in ((0, 1), (1, 3), (3, 4))
    ]
    swished = build.node("HardSwish", [parts[1]], f"{name}.swished")
    return build.node("Concat", [parts[0], swished, build.node("Relu", [parts[2]], f"{name}.relu")], name, axis=1)


STEPS: dict[str, Step] = {
    "relu": activation("Relu"),
    "abs": activation("Abs"),
    "leaky": activation("LeakyRelu", alpha=-0.3),
    "prelu": with_number("PRelu"),
    "hard-sigmoid": activation("HardSigmoid", alpha=-0.3, beta=0.9),
    "hard-swish": activation("HardSwish"),
    "gated": gated,
    "max": with_number("Max"),
    "min": with_number("Min", 0.4),
    "folded": folded,
    "scaled": with_number("Mul"),
    "divided": with_number("Div", -3.0),
    "conv": lambda build, x, name: build.conv(x, name, CHANNELS, CHANNELS),
    "residual": residual,
    "mean": lambda build, x, name: build.node("AveragePool", [x], name, kernel_shape=[3, 3], pads=[1] * 4),
    "reversed": reversed_rows,
    "shuffled": shuffled,
    "sliced": sliced,
}


def chain(names: list[str]) -> onnx.ModelProto:
    build, x = ModelBuilder((CHANNELS, SIDE, SIDE)), "image"
    for place, name in enumerate(names):
        x = STEPS[name](build, x, f"{name}{place}")
    return build.model(x)


@pytest.mark.parametrize("ring", ["32", "narrow"])
@settings(max_examples=25)
@given(names=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4))
@example(names=["hard-swish", "prelu", "conv"])
@example(names=["hard-swish", "residual"])
@example(names=["folded", "hard-swish", "hard-sigmoid", "max"])
def test_any_chain_is_what_onnxruntime_makes_of_it(names: list[str], ring: str) -> None:
    model = chain(names)
    fixed = compile_program(import_model(model, "m.onnx"), IMAGES, ring=ring)
    found = run_reference(fixed.program, fixed.weights, IMAGES)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"image": image[None]})[0] for image in IMAGES])
    off, size = (float(np.sqrt(np.mean(np.square(value)))) for value in (found.reshape(wanted.shape) - wanted, wanted))
    assert off < (0.03 if ring == "32" else 0.06) * max(size, SMALLEST)
