"""A tensor of a file is read, or refused by its name in one sentence, whatever its sizes, bytes and types are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.onnx.attributes import Unsupported, read_tensor
from rrnet_nni.fpga.compiler.onnx.frontend import import_model

DAMAGED: list[tuple[TensorProto, str]] = [
    (TensorProto(data_type=TensorProto.FLOAT, dims=[3], raw_data=bytes(8)), "is damaged: "),
    (TensorProto(data_type=TensorProto.FLOAT, dims=[-1], float_data=[1.0]), r"is damaged: its sizes are \[-1\]"),
    (TensorProto(data_type=TensorProto.UNDEFINED, dims=[1], float_data=[1.0]), "is damaged: "),
    (TensorProto(data_type=77, dims=[1], float_data=[1.0]), "is damaged: 77 is no type of elements"),
    (TensorProto(data_type=TensorProto.STRING, dims=[1], string_data=[b"\xff"]), "is damaged: "),
    (TensorProto(data_type=TensorProto.UINT2, dims=[2**31, 2**62, 0]), "are beyond all memory"),
    (TensorProto(data_type=TensorProto.FLOAT, dims=[1], float_data=[np.nan]), "holds NaN or infinity"),
    (
        TensorProto(
            data_type=TensorProto.FLOAT,
            dims=[1],
            data_location=TensorProto.EXTERNAL,
            external_data=[onnx.StringStringEntryProto(key="location", value="weights.data")],
        ),
        "lies in another file, which was not loaded",
    ),
]


def as_initializer(tensor: TensorProto) -> onnx.ModelProto:
    build = ModelBuilder((4, 8, 8))
    model = build.model(build.node("Mul", ["image", build.constant("held", 2.0)], "y"))
    model.graph.initializer[0].CopyFrom(tensor)
    model.graph.initializer[0].name = "held"
    return model


def as_constant(tensor: TensorProto) -> onnx.ModelProto:
    build, sound = ModelBuilder((4, 8, 8)), helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    model = build.model(build.node("Mul", ["image", build.node("Constant", [], "held", value=sound)], "y"))
    model.graph.node[0].attribute[0].t.CopyFrom(tensor)
    return model


@pytest.mark.parametrize(("tensor", "reason"), DAMAGED)
@pytest.mark.parametrize(
    ("place", "named"),
    [(as_initializer, "initializer 'held' "), (as_constant, r"node '/held' \(Constant\): its value ")],
)
def test_a_damaged_tensor_is_refused_by_its_name(
    place: Callable[[TensorProto], onnx.ModelProto], named: str, tensor: TensorProto, reason: str
) -> None:
    with pytest.raises(Refusal, match=rf"{named}.*{reason}") as caught:
        import_model(place(tensor), "m.onnx")
    assert "\n" not in str(caught.value)


def test_a_constant_whose_value_is_no_tensor_is_refused() -> None:
    model = as_constant(TensorProto())
    model.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("value", 3.0))
    with pytest.raises(Refusal, match=r"node '/held' \(Constant\): its value is no tensor"):
        import_model(model, "m.onnx")


SIZES = st.lists(st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**62, -(2**63)]), max_size=3)
CONTENTS = st.one_of(
    st.fixed_dictionaries({"raw_data": st.binary(max_size=24)}),
    st.fixed_dictionaries({"float_data": st.lists(st.floats(width=32), max_size=8)}),
    st.fixed_dictionaries({"int32_data": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=8)}),
    st.fixed_dictionaries({"int64_data": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8)}),
    st.fixed_dictionaries({"string_data": st.lists(st.binary(max_size=4), max_size=4)}),
)


@given(kind=st.integers(-2, 40), sizes=SIZES, contents=CONTENTS)
def test_any_tensor_is_read_in_its_sizes_or_unsupported(kind: int, sizes: list[int], contents: dict[str, Any]) -> None:
    try:
        value = read_tensor(TensorProto(data_type=kind, dims=sizes, **contents))
    except Unsupported:
        return
    assert value.shape == tuple(sizes)
