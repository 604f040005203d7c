"""Layout is followed symbolically: whatever order words are put in, the graph computes what onnxruntime does."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, run_onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.float_interpreter import run_float
from rrnet_nni.fpga.compiler.graph import AvgPool, Concat, Conv, Pick, Relu
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.passes import run_passes
from rrnet_nni.fpga.program.reference import run_reference

SHAPE = (4, 6, 6)


def integers(build: ModelBuilder, name: str, *values: int) -> str:
    build.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def images(count: int = 1, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, *shape)).astype(np.float32)


def model_of(build: ModelBuilder, output: str, opset: int = 17) -> onnx.ModelProto:
    graph = helper.make_graph(
        build.nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *build.shape])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        build.initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def check(build: ModelBuilder, output: str, opset: int = 17) -> None:
    """The graph, before and after the passes, and the program agree with onnxruntime."""
    model = model_of(build, output, opset)
    given_images = images(shape=build.shape)
    wanted = run_onnx(model, given_images)
    graph = import_model(model, "m.onnx")
    for chosen in (graph, run_passes(graph)[0]):
        np.testing.assert_allclose(run_float(chosen, given_images).reshape(wanted.shape), wanted, atol=2e-4, rtol=2e-4)
    fixed = compile_program(graph, images(4, build.shape))
    logits = run_reference(fixed.program, fixed.weights, given_images).reshape(wanted.shape)
    assert np.abs(logits - wanted).max() < 0.02 * max(1.0, float(np.abs(wanted).max()))


def _shuffle(build: ModelBuilder, x: str) -> str:
    parts = build.node("Reshape", [x, integers(build, "five", 1, 2, 2, 6, 6)], "five_axes")
    swapped = build.node("Transpose", [parts], "swapped", perm=[0, 2, 1, 3, 4])
    return build.node("Reshape", [swapped, integers(build, "four", 1, 4, 6, 6)], "shuffled")


def _pixel_unshuffle(build: ModelBuilder, x: str) -> str:
    parts = build.node("Reshape", [x, integers(build, "six", 1, 4, 3, 2, 3, 2)], "six_axes")
    swapped = build.node("Transpose", [parts], "swapped", perm=[0, 1, 3, 5, 2, 4])
    return build.node("Reshape", [swapped, integers(build, "four", 1, 16, 3, 3)], "unshuffled")


def _focus(build: ModelBuilder, x: str) -> str:
    """Every second pixel, in four phases, as channels."""
    names = []
    for row in range(2):
        for column in range(2):
            key = f"{row}{column}"
            bounds = [integers(build, f"start{key}", row, column), integers(build, f"end{key}", 6, 6)]
            places = [integers(build, f"axes{key}", 2, 3), integers(build, f"step{key}", 2, 2)]
            names.append(build.node("Slice", [x, *bounds, *places], f"phase{key}"))
    return build.node("Concat", names, "focus", axis=1)


def _nhwc_block(build: ModelBuilder, x: str) -> str:
    """Channels last: ReLU, a scale per channel and a residual sum between transposes."""
    last = build.node("Transpose", [x], "last", perm=[0, 2, 3, 1])
    relu = build.node("Relu", [last], "relu")
    scaled = build.node("Mul", [relu, build.constant("scale", np.arange(1, 5) / 4)], "scaled")
    total = build.node("Add", [scaled, last], "total")
    joined = build.node("Concat", [total, relu], "joined", axis=3)
    return build.node("Transpose", [joined], "first", perm=[0, 3, 1, 2])


def _nhwc_excitation(build: ModelBuilder, x: str) -> str:
    """Squeeze-and-excitation with channels last: the factor is [N, 1, 1, C]."""
    last = build.node("Transpose", [x], "last", perm=[0, 2, 3, 1])
    mean = build.node("ReduceMean", [last], "mean", axes=[1, 2], keepdims=1)
    gate = build.node("HardSigmoid", [mean], "gate", alpha=0.2, beta=0.5)
    return build.node("Transpose", [build.node("Mul", [gate, last], "excited")], "first", perm=[0, 3, 1, 2])


def _nhwc_dense(build: ModelBuilder, x: str) -> str:
    """A linear layer of every pixel, and a bias."""
    last = build.node("Transpose", [x], "last", perm=[0, 2, 3, 1])
    weight = build.constant("dense", build.generator.normal(size=(4, 3)))
    biased = build.node("Add", [build.node("MatMul", [last, weight], "product"), build.constant("b", [1, 2, 3])], "sum")
    return build.node("Transpose", [biased], "first", perm=[0, 3, 1, 2])


def _reversed(build: ModelBuilder, x: str) -> str:
    bounds = [integers(build, "start", -1), integers(build, "end", -100), integers(build, "axis", 3)]
    return build.node("Slice", [x, *bounds, integers(build, "step", -1)], "reversed")


def _padded_channels(build: ModelBuilder, x: str) -> str:
    return build.node("Pad", [x, integers(build, "pads", 0, 2, 1, 0, 0, 1, 0, 0)], "padded")


def _expanded(build: ModelBuilder, x: str) -> str:
    mean = build.node("GlobalAveragePool", [x], "mean")
    spread = build.node("Expand", [mean, integers(build, "shape", 1, 4, 6, 6)], "spread")
    return build.node("Sub", [x, spread], "centred")


def _gathered(build: ModelBuilder, x: str) -> str:
    return build.node("Gather", [x, integers(build, "picked", 3, 0, 0, -2)], "gathered", axis=1)


def _halves(build: ModelBuilder, x: str) -> str:
    build.nodes.append(helper.make_node("Split", [x, integers(build, "sizes", 1, 3)], ["one", "three"], axis=1))
    return build.node("Concat", [build.node("Relu", ["three"], "relu"), "one"], "joined", axis=1)


def _rows(build: ModelBuilder, x: str) -> str:
    return build.node("Concat", [x, build.node("Neg", [x], "negative")], "stacked", axis=2)


LAYOUTS: list[Callable[[ModelBuilder, str], str]] = [
    *(_shuffle, _pixel_unshuffle, _focus, _nhwc_block, _reversed, _padded_channels, _expanded, _gathered, _halves),
    *(_rows, _nhwc_excitation, _nhwc_dense),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_between_convolutions_is_what_onnxruntime_makes_of_it(
    layout: Callable[[ModelBuilder, str], str],
) -> None:
    build = ModelBuilder(SHAPE)
    moved = layout(build, build.conv("image", "before", 4, 4))
    channels = run_onnx(model_of(build, moved), images()).shape[1]
    check(build, build.conv(moved, "after", channels, 5))


@pytest.mark.parametrize("layout", [_nhwc_block, _nhwc_dense, _halves, _rows, _reversed, _padded_channels])
def test_the_images_of_a_fixed_batch_stay_apart(layout: Callable[[ModelBuilder, str], str]) -> None:
    build = ModelBuilder(SHAPE)
    model = model_of(build, layout(build, build.conv("image", "before", 4, 4)))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    wanted = run_onnx(model, images(2))
    np.testing.assert_allclose(run_float(import_model(model, "m"), images(2)), wanted, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_chains_of_moves_agree_with_onnxruntime_or_are_refused(data: st.DataObject) -> None:
    build = ModelBuilder(SHAPE)
    x, shape = build.conv("image", "before", 4, 4), [1, *SHAPE]
    for step in range(data.draw(st.integers(1, 5))):
        name = f"step{step}"
        kind = data.draw(st.sampled_from(["transpose", "slice", "reshape", "relu", "scale", "gather"]))
        axis = data.draw(st.integers(1, len(shape) - 1))
        if kind == "transpose":
            order = [0, *data.draw(st.permutations(range(1, len(shape))))]
            x, shape = build.node("Transpose", [x], name, perm=order), [shape[item] for item in order]
        elif kind == "slice" and shape[axis] > 1:
            first = data.draw(st.integers(0, shape[axis] - 1))
            bounds = [integers(build, f"{name}.start", first), integers(build, f"{name}.end", shape[axis])]
            x = build.node("Slice", [x, *bounds, integers(build, f"{name}.axis", axis)], name)
            shape[axis] -= first
        elif kind == "reshape":
            size = int(np.prod(shape))
            first = data.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
            second = data.draw(st.sampled_from([n for n in range(1, size // first + 1) if size // first % n == 0]))
            shape = [1, first, second, size // first // second]
            x = build.node("Reshape", [x, integers(build, f"{name}.shape", *shape)], name)
        elif kind == "relu":
            x = build.node("Relu", [x], name)
        elif kind == "scale":
            factor = build.constant(f"{name}.factor", np.arange(1, shape[-1] + 1) / 4)
            x = build.node("Mul", [x, factor], name)
        elif kind == "gather":
            picked = [data.draw(st.integers(0, shape[axis] - 1)) for _ in range(3)]
            x, shape[axis] = build.node("Gather", [x, integers(build, f"{name}.i", *picked)], name, axis=axis), 3
    flat = build.node("Flatten", [x], "flat")
    features = int(np.prod(shape))
    model = model_of(build, build.gemm(flat, "logits", features, 3))
    wanted = run_onnx(model, images())
    try:
        graph = run_passes(import_model(model, "m.onnx"))[0]
    except Refusal:
        return
    np.testing.assert_allclose(run_float(graph, images()), wanted, atol=1e-3, rtol=1e-3)


def test_flattening_behind_a_transpose_permutes_the_weights_and_moves_nothing() -> None:
    build = ModelBuilder(SHAPE)
    x = build.node("Transpose", [build.conv("image", "before", 4, 4)], "last", perm=[0, 2, 3, 1])
    output = build.gemm(build.node("Flatten", [x], "flat"), "logits", 144, 3)
    assert not [node for node in import_model(model_of(build, output), "m").nodes if isinstance(node, Pick)]
    check(build, output)


def test_channels_last_costs_no_more_nodes_than_channels_first() -> None:
    build = ModelBuilder(SHAPE)
    output = build.conv(_nhwc_block(build, build.conv("image", "before", 4, 4)), "after", 8, 5)
    kinds = [type(node) for node in run_passes(import_model(model_of(build, output), "m"))[0].nodes]
    assert Pick not in kinds
    # the scale per channel is the model's secret: a depthwise convolution
    assert (kinds.count(Conv), kinds.count(Relu), kinds.count(Concat)) == (3, 1, 1)


def test_a_tensor_put_together_in_no_order_of_rows_and_columns_is_refused_by_name() -> None:
    build = ModelBuilder(SHAPE)
    flat = build.node("Reshape", ["image", integers(build, "flat", 1, 144)], "flat_image")
    order = integers(build, "order", *np.random.default_rng(0).permutation(144))
    image = build.node("Reshape", [build.node("Gather", [flat, order], "mixed", axis=1), integers(build, "s", 1, 4, 6, 6)], "again")  # fmt: skip  # noqa: E501
    with pytest.raises(Refusal, match=r"'/after' \(Conv\): its input is put together from pixels"):
        import_model(model_of(build, build.conv(image, "after", 4, 4)), "m")


@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [((3, 3), (1, 1), (1,) * 4), ((3, 2), (2, 2), (1, 0, 1, 1)), ((2, 2), (2, 2), (0,) * 4)],
)
def test_an_average_divides_by_the_pixels_that_count(
    kernel: tuple[int, int], stride: tuple[int, int], pads: tuple[int, ...], counted: int, ceil: int
) -> None:
    build = ModelBuilder((4, 7, 6))
    given_fields = {"kernel_shape": kernel, "strides": stride, "pads": pads}
    output = build.node(
        "AveragePool",
        [build.conv("image", "before", 4, 4)],
        "mean",
        count_include_pad=counted,
        ceil_mode=ceil,
        **given_fields,
    )
    check(build, output, opset=19)


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum", "ReduceMax"])
@pytest.mark.parametrize("axes", [(2, 3), (3,), (-2,), (-1, -2)])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions_over_rows_columns_and_images(operator: str, axes: tuple[int, ...], keep: int) -> None:
    build = ModelBuilder(SHAPE)
    given_fields: dict[str, object] = {"keepdims": keep}
    inputs = [build.conv("image", "before", 4, 4)]
    if operator == "ReduceSum":
        inputs.append(integers(build, "axes", *axes))
    else:
        given_fields["axes"] = axes
    reduced = build.node(operator, inputs, "reduced", **given_fields)
    check(build, build.node("Flatten", [reduced], "flat"))


def test_means_axis_by_axis_are_one_pooling() -> None:
    build = ModelBuilder(SHAPE)
    x = build.node("ReduceMean", [build.conv("image", "before", 4, 4, kernel=3)], "rows", axes=[2], keepdims=1)
    x = build.node("ReduceMean", [x], "columns", axes=[3], keepdims=1)
    output = build.node("Flatten", [x], "flat")
    pools = [n for n in run_passes(import_model(model_of(build, output), "m"))[0].nodes if isinstance(n, AvgPool)]
    assert [pool.kernel for pool in pools] == [(6, 6)]
    check(build, output)


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
def test_models_of_old_opsets_are_brought_up_to_date(opset: int) -> None:
    build = ModelBuilder(SHAPE)
    x = build.batch_norm(build.conv("image", "before", 4, 4), "bn", 4)
    x = build.node("MaxPool", [build.node("Relu", [x], "relu")], "pool", kernel_shape=[2, 2], strides=[2, 2])
    x = build.node("Dropout", [x], "dropout")
    model = model_of(build, build.gemm(build.node("Flatten", [x], "flat"), "logits", 36, 3), opset)
    model.ir_version = 3
    for entry in model.graph.initializer:
        shape = list(entry.dims)
        model.graph.input.append(helper.make_tensor_value_info(entry.name, entry.data_type, shape))
    wanted = run_onnx(model, images())
    np.testing.assert_allclose(run_float(import_model(model, "m"), images()), wanted, atol=1e-4, rtol=1e-4)
