"""Spellings of layers by exporters and model collections: onnxruntime's outputs, for no comparison more."""

import re

import numpy as np
import onnx
import onnx.parser
import pytest
from helpers.networks.small_onnx_models import run_onnx
from onnx import numpy_helper

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import FixedPoint, compile_program
from rrnet_nni.fpga.compiler.inventory import graph_operators
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.program.heads import apply_head
from rrnet_nni.fpga.program.operators import comparison_count
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.session.conformance import disagreement

GENERATOR = np.random.default_rng(4)
CHANNELS, SIDE = 8, 16
IMAGES = np.random.default_rng(5).normal(size=(3, 3, SIDE, SIDE)).astype(np.float32)
ELEMENTS = CHANNELS * SIDE * SIDE


def weights(*shape: int) -> np.ndarray:
    return (GENERATOR.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


#: What the bodies below may read.
CONSTANTS = {
    "first": weights(8, 3, 3, 3),
    "first_bias": (0.3 * weights(8)).astype(np.float32),
    "conv": weights(8, 8, 3, 3),
    "pointwise": weights(8, 8, 1, 1),
    "matrix": weights(8, 8),
    "along_channels": weights(1, 1, 3),
    "of_two": weights(1, 2, 7, 7),
    "blur": np.tile(np.outer([1, 2, 1], [1, 2, 1]) / 16, (8, 1, 1, 1)).astype(np.float32),
    "head_bias": weights(10),
    "around": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
    "mirror": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "cut": np.array([0, 0, -1, -2, 0, 0, 0, 1]),
    "outside": np.float32(1.5),
    "least": np.float32(-np.inf),
    "twice": np.array([1, 2, 1, 1]),
    "cubed": np.float32(3),
    "a_row": np.array([1, 1, 8]),
    "a_token": np.array([1, 1, 8]),
    "a_pixel": np.array([1, 8, 1, 1]),
    "pixels": np.array([1, 8, 256]),
    "image": np.array([1, 8, 16, 16]),
    "groups_of_two": np.array([1, 4, 2, 16, 16]),
    "start": np.array([0]),
    "place": np.array([5]),
    "end": np.array([2**62]),
    "columns": np.array([3]),
    "halves": np.array([4, 4]),
    "flat_head": np.array([1, 10]),
}
#: Name -> body from r, of 8 channels and 16 x 16 pixels behind a ReLU, to y; channels of y; its own comparisons.
BODIES = {
    "blur that mirrors": ('q = Pad<mode="reflect">(r, mirror) y = Conv<group=8, strides=[2, 2]>(q, blur)', 8, 0),
    "blur of zeros": ("y = Conv<group=8, strides=[2, 2], pads=[1, 1, 1, 1]>(r, blur)", 8, 0),
    "repeated border": ('q = Pad<mode="edge">(r, around) y = Conv(q, conv)', 8, 0),
    "wrapped border": ('q = Pad<mode="wrap">(r, around) y = Conv(q, conv)', 8, 0),
    "border of a number": ("q = Pad(r, around, outside) y = Conv(q, conv)", 8, 0),
    "cropped": ("q = Pad(r, cut) y = Conv(q, conv)", 8, 0),
    "pixels to channels": ("y = SpaceToDepth<blocksize=2>(r)", 32, 0),
    "channels to pixels": ("y = DepthToSpace<blocksize=2>(r)", 2, 0),
    "channels to pixels, by columns": ('y = DepthToSpace<blocksize=2, mode="CRD">(r)', 2, 0),
    "tiled": ("y = Tile(r, twice)", 16, 0),
    "maxima with borders of their own": (
        "q = Pad(x, mirror, least) y = MaxPool<kernel_shape=[3, 3], strides=[2, 2]>(q)",
        8,
        64 * 8 * 8 - 2048,
    ),
    "maxima with borders of constants": (
        """places = Constant<value_ints=[0, 0, 1, 1, 0, 0, 1, 1]>() below = Constant<value_float=-inf>()
        q = Pad(x, places, below) y = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 0, 0]>(q)""",
        8,
        64 * 8 * 8 - 2048,
    ),
    "rolled": (
        "a = Slice(r, place, end, columns) b = Slice(r, start, place, columns) y = Concat<axis=3>(a, b)",
        8,
        0,
    ),
    "beside each other": ("a = MaxPool<kernel_shape=[1, 2], strides=[1, 2]>(r) y = Concat<axis=3>(a, r)", 8, 1024),
    "mean of tensors": ("c = Conv<pads=[1, 1, 1, 1]>(r, conv) y = Mean(r, c, r)", 8, 0),
    "mean of channels": ("a = ReduceMean<axes=[1]>(r) y = Mul(r, a)", 8, 0),
    "maxout": ("q = Reshape(r, groups_of_two) y = ReduceMax<axes=[2], keepdims=0>(q)", 4, 1024),
    "attention of pixels": (
        """a = ReduceMean<axes=[1]>(r) b = ReduceMax<axes=[1]>(r) c = Concat<axis=1>(a, b)
        d = Conv<pads=[3, 3, 3, 3]>(c, of_two) s = HardSigmoid(d) y = Mul(r, s)""",
        8,
        7 * 256 + 2 * 256,
    ),
    "attention along channels": (
        """g = GlobalAveragePool(r) q = Reshape(g, a_row) c = Conv<pads=[1, 1]>(q, along_channels)
        s = HardSigmoid(c) e = Reshape(s, a_pixel) y = Mul(r, e)""",
        8,
        16,
    ),
    "context of all pixels": ("g = GlobalAveragePool(r) a = Conv(g, pointwise) y = Add(r, a)", 8, 0),
    "einsum of pixels": ('y = Einsum<equation="nchw,oc->nohw">(r, matrix)', 8, 0),
    "einsum of pixels, reversed": ('y = Einsum<equation="co,nchw->nwoh">(matrix, r) ', 16, 0),
    "matrix before pixels": ("q = Reshape(r, pixels) z = MatMul(matrix, q) y = Reshape(z, image)", 8, 0),
    "cube": ("y = Pow(r, cubed)", 8, 0),
    "cast like": ("y = CastLike(r, conv)", 8, 0),
}
#: Name -> body from [1, 8, 1, 1] p to the logits.
HEADS = {
    "softmax, then flat": "l = Conv(p, wide, head_bias) s = Softmax<axis=1>(l) logits = Flatten(s)",
    "softmax, then a shape": "l = Conv(p, wide, head_bias) s = Softmax<axis=1>(l) logits = Reshape(s, flat_head)",
    "einsum": 'f = Flatten(p) logits = Einsum<equation="bc,oc->bo">(f, head)',
    "transposed features": """f = Flatten(p) t = Transpose<perm=[1, 0]>(f)
        logits = Gemm<transA=1, transB=1>(t, head, head_bias)""",
    "a matrix before the features": """f = Flatten(p) t = Transpose<perm=[1, 0]>(f) z = MatMul(head, t)
        logits = Transpose<perm=[1, 0]>(z)""",
    "features of a token": """q = Reshape(p, a_token) t = Transpose<perm=[1, 0]>(head) z = MatMul(q, t)
        logits = Reshape(z, flat_head)""",
}
TRUNK = "x = Conv<pads=[1, 1, 1, 1]>(picture, first, first_bias) r = Relu(x) "


def written(body: str, **more: np.ndarray) -> onnx.ModelProto:
    """A model of ONNX's own text, with the constants that it reads."""
    text = f'<ir_version: 8, opset_import: ["": 17]> g (float[1,3,16,16] picture) => (float[a,b] logits) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    for name, value in {**CONSTANTS, **more}.items():
        if re.search(rf"\b{name}\b", body):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


def bodied(name: str) -> onnx.ModelProto:
    body, channels, _ = BODIES[name]
    end = " p = GlobalAveragePool(y) f = Flatten(p) logits = Gemm<transB=1>(f, head, head_bias)"
    return written(TRUNK + body + end, head=np.random.default_rng(6).normal(size=(10, channels)).astype(np.float32))


def compiled(model: onnx.ModelProto) -> FixedPoint:
    whole = onnx.ModelProto.FromString(model.SerializeToString())
    return compile_program(import_model(whole, "m.onnx", output_name="logits"), IMAGES)


def relative_error(fixed: FixedPoint, model: onnx.ModelProto, images: np.ndarray = IMAGES) -> float:
    wanted = np.concatenate([run_onnx(model, image[None]).reshape(1, -1) for image in images])
    logits = run_reference(fixed.program, fixed.weights, images)
    found = apply_head(logits, fixed.program.head).reshape(wanted.shape)
    return float(np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2)))


@pytest.mark.parametrize("name", BODIES)
def test_layers_of_other_exporters_are_right_for_the_comparisons_that_they_need(name: str) -> None:
    model = bodied(name)
    fixed = compiled(model)
    assert relative_error(fixed, model) < 0.003
    compared = sum(comparison_count(each.shape) for each in graph_operators(fixed.graph))
    assert compared == ELEMENTS + BODIES[name][2]


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_other_exporters_are_right(name: str) -> None:
    head = np.random.default_rng(6).normal(size=(10, 8)).astype(np.float32)
    model = written(TRUNK + "p = GlobalAveragePool(r) " + HEADS[name], head=head, wide=head[:, :, None, None])
    fixed = compiled(model)
    assert relative_error(fixed, model) < 0.003
    assert fixed.program.head == (("softmax",) if "softmax" in name else ())


@pytest.mark.parametrize("protocol", ["beaver-ot", "masked"])
@pytest.mark.parametrize(
    "name", ["blur that mirrors", "beside each other", "attention of pixels", "pixels to channels"]
)
def test_two_parties_compute_them_bit_for_bit(name: str, protocol: str) -> None:
    fixed = compiled(bodied(name))
    assert disagreement(fixed.program, fixed.weights, IMAGES[:2], get_execution(protocol)) is None


def test_a_batch_of_several_images_keeps_them_apart() -> None:
    model = bodied("maxout")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    shape = next(each for each in model.graph.initializer if each.name == "groups_of_two")
    shape.CopyFrom(numpy_helper.from_array(np.array([2, 4, 2, 16, 16]), shape.name))
    wanted = run_onnx(model, IMAGES[:2])
    fixed = compiled(model)
    np.testing.assert_allclose(run_reference(fixed.program, fixed.weights, IMAGES[:2]), wanted, atol=0.01)


@pytest.mark.parametrize("reader", ["Conv(q, conv)", "MaxPool<kernel_shape=[3, 3], ceil_mode=1, strides=[2, 2]>(q)"])
def test_the_least_number_around_what_is_no_plain_maximum_is_refused(reader: str) -> None:
    body = f"q = Pad(r, mirror, least) y = {reader} p = GlobalAveragePool(y) logits = Flatten(p)"
    with pytest.raises(Refusal, match="initializer 'least' holds NaN or infinity"):
        compiled(written(TRUNK + body))


@pytest.mark.parametrize(
    ("domain", "operator", "what_to_do"),
    [
        ("com.microsoft", "FusedConv", "without onnxruntime's optimizations"),
        ("ai.onnx.ml", "LinearClassifier", "export the network up to its logits"),
        ("", "DynamicQuantizeLinear", "quantize statically"),
        ("", "GroupNormalization", "train with BatchNormalization instead"),
        ("", "LpPool", "this operator is not supported"),
    ],
)
def test_operators_of_runtimes_are_refused_with_what_to_do(domain: str, operator: str, what_to_do: str) -> None:
    model = written(TRUNK + "y = Relu(r) p = GlobalAveragePool(y) logits = Flatten(p)")
    node = next(node for node in model.graph.node if node.output[0] == "y")
    node.op_type, node.domain = operator, domain
    with pytest.raises(Refusal, match=what_to_do) as refusal:
        compiled(model)
    assert str(refusal.value).count("node ") == 1
