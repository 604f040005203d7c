"""Everything that cannot be compiled is refused in one sentence that names what and where."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, mixed_model
from onnx import TensorProto, helper, numpy_helper

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_graph, compile_model
from rrnet_nni.fpga.compiler.onnx.frontend import import_model, read_onnx
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.protocols import get_costs

ModelMaker = Callable[[ModelBuilder], str]


def one_node(
    operator: str, *constants: object, shape: tuple[int, ...] = (4, 8, 8), **attributes: object
) -> onnx.ModelProto:
    build = ModelBuilder(shape)
    names = [
        numpy_helper.from_array(np.asarray(value), f"c{i}") for i, value in enumerate(constants) if value is not None
    ]
    build.initializers += names
    inputs = ["image", *("" if value is None else f"c{i}" for i, value in enumerate(constants))]
    build.nodes.append(helper.make_node(operator, inputs, ["y"], name="the_node", **attributes))
    return build.model("y")


WEIGHT = np.ones((4, 4, 3, 3), np.float32)
REFUSED: list[tuple[str, onnx.ModelProto | Callable[[], onnx.ModelProto], str]] = [
    ("unknown operator", one_node("Sin"), "node 'the_node' (Sin): this operator is not supported"),
    ("a norm that has a stand-in", one_node("LRN", size=3), "train with BatchNormalization instead"),
    ("a softmax along rows", one_node("Softmax", axis=2), "along axis 2 of logits [1, 4, 8, 8]"),
    ("a softmax of pixels", one_node("Softmax"), "along axis -1 of logits [1, 4, 8, 8]"),
    ("the last of the largest", one_node("ArgMax", axis=1, select_last_index=1), "it takes the last of the largest"),
    ("dilation of a maximum", one_node("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "dilations [2, 2]"),
    ("a kernel spread too wide", one_node("Conv", WEIGHT, dilations=[2, 40]), "over more than 64 pixels"),
    ("a dilation of nothing", one_node("Conv", WEIGHT, dilations=[0, 1]), "its dilations are [0, 1]"),
    ("groups that do not fit", one_node("Conv", WEIGHT, group=2), "2 groups of the weight"),
    ("kernel larger than image", one_node("Conv", np.ones((4, 4, 9, 9), np.float32)), "larger than its padded input"),
    ("integer weight", one_node("Conv", np.ones((4, 4, 3, 3), np.int32)), "int32, expected floating point"),
    ("clip to 6..1", one_node("Clip", np.float32(6), np.float32(1)), "bounds 6 and 1 are in the wrong order"),
    ("a fifth power", one_node("Pow", np.float32(5)), "exponent [5.0]"),
    ("division by zero", one_node("Div", np.float32(0)), "divisor is zero"),
    (
        "a constant per pixel of a larger image",
        one_node("Mul", np.ones((9, 9), np.float32) * np.arange(9, dtype=np.float32)),
        "one number per channel",
    ),
    ("an average of padding alone", one_node("AveragePool", kernel_shape=[1, 1], pads=[1] * 4), "without a pixel"),
    ("mean over the batch", one_node("ReduceMean", axes=[0]), "axes [0] would mix the images of a batch"),
    ("a slice of nothing", one_node("Slice", np.array([5]), np.array([5]), np.array([1])), "would be empty"),
    ("a channel beyond the last", one_node("Gather", np.array([4]), axis=1), "beyond the 4 places of axis 1"),
    ("a perm of other axes", one_node("Transpose", perm=[0, 1, 2, 2]), "is no order of 4 axes"),
    ("dequantizing real numbers", one_node("DequantizeLinear", np.float32(1)), "does not come from QuantizeLinear"),
    ("reshape to another size", one_node("Reshape", np.array([1, 100])), "does not fit"),
    ("reshape to a negative size", one_node("Reshape", np.array([1, -2])), "negative size"),
    ("slice an axis that is not there", one_node("Slice", *map(np.array, ([0], [1], [5]))), "axes [5]"),
    ("slice an axis twice", one_node("Slice", *map(np.array, ([0, 0], [1, 1], [1, -3]))), "axes [1, -3]"),
    ("gather an axis that is not there", one_node("Gather", np.array([0]), axis=5), "axes [5]"),
    ("split an axis that is not there", one_node("Split", axis=5), "axes [5]"),
    ("flatten the batch", one_node("Flatten", axis=0), "axis 0"),
    (
        "a mirror too small",
        one_node("Pad", np.array([0, 0, 8, 1, 0, 0, 0, 0]), mode="reflect"),
        "mode 'reflect' reach beyond",
    ),
    ("a pad that leaves nothing", one_node("Pad", np.array([0, 0, -8, 0, 0, 0, 0, 0])), "leave nothing"),
    ("batch pad", one_node("Pad", np.array([1, 0, 0, 0, 0, 0, 0, 0])), "they change the batch"),
    ("tiles of the batch", one_node("Tile", np.array([2, 1, 1, 1])), "not 1 for the batch"),
    ("blocks that do not fit", one_node("SpaceToDepth", blocksize=3), "do not fit an image of [8, 8]"),
    ("pixels of too few channels", one_node("DepthToSpace", blocksize=4), "do not fit 4 channels"),
    (
        "a sum of products along the batch",
        one_node("Einsum", np.ones((1, 4), np.float32), equation="nchw,nc->nhw"),
        "it keeps",
    ),
    ("a sum of one tensor's axes", one_node("Einsum", equation="nchw->nc"), "only a tensor times constants"),
    ("a cast to the type of integers", one_node("CastLike", np.int64(1)), "only casts to floating point types"),
    ("kernel of padding", one_node("MaxPool", kernel_shape=[70000, 3], pads=[69999, 0] * 2), "larger than its input"),
    ("window of padding", one_node("MaxPool", kernel_shape=[2, 2], pads=[2, 2, 2, 2]), "without a pixel"),
    ("cast to integers", one_node("Cast", to=TensorProto.INT64), "only casts to floating point types"),
]


@pytest.mark.parametrize(("model", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_node_is_refused_with_its_name_operator_and_reason(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(Refusal) as refusal:
        import_model(model, "m.onnx")
    assert message in str(refusal.value)
    assert "'the_node'" in str(refusal.value)


def test_all_problems_are_told_at_once() -> None:
    build = ModelBuilder((4, 8, 8))
    x = build.node("Sin", ["image"], "first")
    x = build.node("Relu", [x], "fine")
    y = build.node("Conv", ["image", build.constant("w", WEIGHT)], "second", group=3)
    build.node("Sin", [build.node("Add", [x, y], "sum")], "third")
    with pytest.raises(Refusal) as refusal:
        import_model(build.model("third"), "m.onnx")
    for name in ("/first", "/second", "/third"):
        assert name in str(refusal.value)
    assert "/fine" not in str(refusal.value)


def test_a_product_whose_factors_do_not_fit_is_refused() -> None:
    build = ModelBuilder((4, 8, 8))
    build.node("Mul", [build.conv("image", "a", 4, 4), build.conv("image", "b", 4, 4, stride=2)], "gate")
    with pytest.raises(Refusal, match=r"'/gate'.*its inputs have the shapes"):
        import_model(build.model("gate"), "m.onnx")


@pytest.mark.parametrize(
    ("shape", "batch", "message"),
    [((4, "height", 8), "n", "axis 2 of input 'image' is height"), ((4, 8), 1, "has 3 axes"), ((0, 8, 8), 1, "axis 1")],
)
def test_only_the_batch_may_be_dynamic(shape: tuple[int, ...], batch: str, message: str) -> None:
    build = ModelBuilder(shape)
    build.node("Relu", ["image"], "y")
    graph = helper.make_graph(
        build.nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    with pytest.raises(Refusal) as refusal:
        import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "m.onnx")
    assert message in str(refusal.value)


def test_an_image_of_other_integers_than_pixels_is_refused_and_arithmetic_on_pixels_too() -> None:
    model = one_node("Relu")
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(Refusal, match="is INT64"):
        import_model(model, "m.onnx")
    model = one_node("Add", np.uint8(3))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with pytest.raises(Refusal, match=r"'the_node'.*computes with integers"):
        import_model(model, "m.onnx")


def test_several_outputs_need_a_name_and_open_axes_a_shape() -> None:
    build = ModelBuilder((4, 8, 8))
    build.node("Relu", ["image"], "y")
    build.node("Neg", ["image"], "z")
    model = build.model("y")
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    with pytest.raises(Refusal, match="has 2 outputs; say which one is compiled: --output-name of 'y', 'z'"):
        import_model(model, "m.onnx")
    with pytest.raises(Refusal, match="'w' is no output of the model: expected one of 'y', 'z'"):
        import_model(model, "m.onnx", output_name="w")
    assert [node.output for node in import_model(model, "m.onnx", output_name="z").nodes] == ["z"]
    model = build.model("y")
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    with pytest.raises(Refusal, match=r"axis 2 of input 'image' is side.*--input-shape N,C,H,W"):
        import_model(model, "m.onnx")
    with pytest.raises(Refusal, match="axis 1 of input 'image' is 4, --input-shape says 3"):
        import_model(model, "m.onnx", input_shape=(1, 3, 8, 8))
    assert import_model(model, "m.onnx", input_shape=(1, 4, 6, 8)).shapes["y"] == (4, 6, 8)


@pytest.mark.parametrize(
    ("sound", "operator", "reason"),
    [
        ("Add", "Relu", "it has 2 inputs, expected at most 1"),
        ("Add", "GlobalAveragePool", "it has 2 inputs, expected at most 1"),
        ("Relu", "Add", "it has 1 inputs, expected at least 2"),
    ],
)
def test_an_operator_with_another_number_of_inputs_is_refused(sound: str, operator: str, reason: str) -> None:
    constants = [np.ones(1, np.float32)] if sound == "Add" else []
    model = one_node(sound, *constants)
    model.graph.node[0].op_type = operator
    with pytest.raises(Refusal, match=rf"'the_node' \({operator}\): {reason}"):
        import_model(model, "m.onnx")


def test_an_old_opset_a_cycle_and_nan_weights_are_refused() -> None:
    old = one_node("Relu")
    old.opset_import[0].version = 6
    with pytest.raises(Refusal, match="opset 6 is not one of 7 to"):
        import_model(old, "m.onnx")
    cycle = one_node("Relu")
    cycle.graph.node.insert(0, helper.make_node("Add", ["y", "image"], ["z"], name="loop"))
    with pytest.raises(Refusal, match="'loop' reads 'y', which no earlier node makes"):
        import_model(cycle, "m.onnx")
    with pytest.raises(Refusal, match="initializer 'c0' holds NaN"):
        import_model(one_node("Conv", WEIGHT * np.nan), "m.onnx")


def test_an_opset_of_the_future_and_a_function_that_calls_itself_are_refused() -> None:
    future = one_node("Relu")
    future.opset_import[0].version = 99
    with pytest.raises(Refusal, match="opset 99 is not one of 7 to"):
        import_model(future, "m.onnx")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    call = helper.make_node("Act", ["image"], ["y"], domain="my")
    recursive = one_node("Relu")
    del recursive.graph.node[:]
    recursive.graph.node.append(call)
    recursive.opset_import.append(opsets[1])
    recursive.functions.append(helper.make_function("my", "Act", ["image"], ["y"], [call], opsets))
    with pytest.raises(Refusal, match="its local functions cannot be inlined"):
        import_model(recursive, "m.onnx")


def test_padding_as_an_exporter_computes_it_is_imported_and_a_large_constant_refused() -> None:
    build = ModelBuilder((4, 8, 8))
    sizes = numpy_helper.from_array(np.array([6]), "sizes")
    build.initializers += [sizes, numpy_helper.from_array(np.array([1, 2]), "ends")]
    zeros = build.node("ConstantOfShape", ["sizes"], "zeros", value=numpy_helper.from_array(np.array([0])))
    build.node("Pad", ["image", build.node("Concat", [zeros, "ends"], "pads", axis=0)], "y")
    graph = import_model(build.model("y"), "m.onnx")
    assert graph.shapes["y"] == (4, 9, 10)
    sizes.CopyFrom(numpy_helper.from_array(np.array([2**20, 2**20]), "sizes"))
    build.initializers[0] = sizes
    with pytest.raises(Refusal, match=r"'/zeros' \(ConstantOfShape\): its output of .* elements is too large"):
        import_model(build.model("y"), "m.onnx")


def test_missing_external_data_and_truncated_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(mixed_model(), path, save_as_external_data=True, location="weights.data", size_threshold=0)
    assert read_onnx(path).nodes
    (tmp_path / "weights.data").write_bytes((tmp_path / "weights.data").read_bytes()[:100])
    with pytest.raises(Refusal):
        read_onnx(path)
    (tmp_path / "weights.data").unlink()
    with pytest.raises(Refusal, match="external data"):
        read_onnx(path)
    whole = mixed_model().SerializeToString()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(Refusal, match=r"model\.onnx"):
            compile_model(path, tmp_path / "build")
    assert not (tmp_path / "build").exists()


def test_a_file_of_3_gb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(3 * 10**9)
    with pytest.raises(Refusal, match="2 GB"):
        read_onnx(path)


def test_a_range_that_fits_no_format_is_refused_by_tensor_name() -> None:
    build = ModelBuilder((2, 4, 4))
    x = build.node("Mul", ["image", build.constant("large", 1e12)], "scaled")
    build.node("Relu", [x], "y")
    with pytest.raises(Refusal, match=r"tensor '(scaled|y)' reaches"):
        compile_graph(import_model(build.model("y"), "m"), load_device("zcu104"), get_costs("beaver-ot"))
    build = ModelBuilder((2, 4, 4))
    x = "image"
    for index in range(12):
        x = build.node("Mul", [x, x], f"square{index}")
    with pytest.raises(Refusal, match="tensor 'square"):
        compile_graph(import_model(build.model(x), "m"), load_device("zcu104"), get_costs("beaver-ot"))


@pytest.mark.parametrize("kind", ["shape", "nan", "text", "names"])
def test_calibration_images_that_do_not_fit_are_refused(tmp_path: Path, kind: str) -> None:
    onnx.save(mixed_model(), tmp_path / "model.onnx")
    images = np.zeros((2, 3, 16, 16), np.float32)
    path = tmp_path / "images.npz"
    match kind:
        case "shape":
            np.savez(path, image=images[:, :, :8])
        case "nan":
            np.savez(path, image=images * np.nan)
        case "text":
            np.savez(path, image=np.full(images.shape, "a"))
        case "names":
            np.savez(path, x=images, y=images)
    with pytest.raises(Refusal, match="images"):
        compile_model(tmp_path / "model.onnx", tmp_path / "build", calibrate_with=path)
    assert not (tmp_path / "build").exists()
