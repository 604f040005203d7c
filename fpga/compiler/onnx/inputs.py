"""The image of an ONNX file: its name, shape and kind, and the opset that the file was written for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx
from onnx import version_converter

from rrnet_nni.base.errors import Refusal

#: Opsets from here on are read as they are; older ones are brought to it, from OLDEST_OPSET on.
READ_OPSET, OLDEST_OPSET = 11, 7
FLOAT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
#: Whole numbers from 0 to 255, as cameras give them.
PIXEL_TYPE = onnx.TensorProto.UINT8


@dataclass(frozen=True)
class ImageInput:
    """The only input: `shape` of one image, `batch` (1 where it is dynamic), `pixels` where it is 0 to 255."""

    name: str
    shape: tuple[int, ...]
    batch: int
    pixels: bool


def in_readable_opset(model: onnx.ModelProto, where: str) -> tuple[onnx.ModelProto, int]:
    """The model in an opset that can be read, and which.

    Raises:
        Refusal: an opset that is too old, too new or missing, or a model that cannot be converted.
    """
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise Refusal(f"{where}: the model imports no version of the standard operators")
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= versions[0] <= newest:
        raise Refusal(f"{where}: opset {versions[0]} is not one of {OLDEST_OPSET} to {newest}; export it again")
    if versions[0] >= READ_OPSET:
        return model, int(versions[0])
    try:
        return version_converter.convert_version(model, READ_OPSET), READ_OPSET
    except Exception as error:  # what the converter raises is not documented, and differs with the operator
        reason = " ".join(str(error).split())
        raise Refusal(
            f"{where}: opset {versions[0]} cannot be converted to {READ_OPSET}: {reason:.200}; export it again"
        ) from error


def image_input(
    graph: onnx.GraphProto, constants: Collection[str], where: str, given: Sequence[int] | None
) -> ImageInput:
    """The only input that is no initializer.

    Args:
        given: [N, C, H, W], or as many axes as the input has, for axes that the model leaves open.

    Raises:
        Refusal: several inputs, another type or rank, an axis that nobody says, or one that `given` contradicts.
    """
    inputs = [entry for entry in graph.input if entry.name not in constants]
    if len(inputs) != 1:
        raise Refusal(f"{where}: the model has {len(inputs)} inputs, expected one: the image")
    name, tensor_type = inputs[0].name, inputs[0].type.tensor_type
    if tensor_type.elem_type not in (*FLOAT_TYPES, PIXEL_TYPE):
        kind = onnx.TensorProto.DataType.Name(tensor_type.elem_type) if tensor_type.elem_type else "no tensor"
        raise Refusal(f"{where}: input {name!r} is {kind}, expected a floating point tensor or UINT8")
    dimensions = list(tensor_type.shape.dim)
    if given is not None and not dimensions:
        dimensions = [onnx.TensorShapeProto.Dimension() for _ in given]
    if len(dimensions) not in (2, 4):
        raise Refusal(f"{where}: input {name!r} has {len(dimensions)} axes, expected [N, C, H, W]")
    if given is not None and len(given) != len(dimensions):
        raise Refusal(f"{where}: --input-shape has {len(given)} numbers, input {name!r} has {len(dimensions)} axes")
    sizes = [
        _size(axis, dimension, None if given is None else given[axis], name, where)
        for axis, dimension in enumerate(dimensions)
    ]
    return ImageInput(name, tuple(sizes[1:]), sizes[0], tensor_type.elem_type == PIXEL_TYPE)


def _size(axis: int, dimension: onnx.TensorShapeProto.Dimension, given: int | None, name: str, where: str) -> int:
    known = dimension.dim_value if dimension.HasField("dim_value") and dimension.dim_value > 0 else None
    if axis == 0:
        return known or given or 1
    if known is not None and given is not None and known != given:
        raise Refusal(f"{where}: axis {axis} of input {name!r} is {known}, --input-shape says {given}")
    size = known if known is not None else given
    if size is None or not 0 < size < 2**20:
        shown = dimension.dim_param or (dimension.dim_value if dimension.HasField("dim_value") else "dynamic")
        raise Refusal(
            f"{where}: axis {axis} of input {name!r} is {shown}; only the batch may be dynamic: "
            "say the others with --input-shape N,C,H,W"
        )
    return size
