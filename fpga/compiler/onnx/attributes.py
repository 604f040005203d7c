"""What the importers read of a node, and how they say that it cannot be compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper

#: Types that a cast may go to without a number losing more than its last digits.
FLOATING = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})


class Unsupported(Exception):
    """Why one node cannot be compiled."""


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes by name; text as str."""
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        try:
            value = helper.get_attribute_value(attribute)
        except (ValueError, TypeError) as error:
            raise Unsupported(f"its attribute {attribute.name!r} cannot be read: {error}") from error
        values[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return values


def integers(given: Mapping[str, Any], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute of as many integers as its default."""
    value = given.get(name)
    if value is None:
        return default
    try:
        numbers = tuple(int(item) for item in value)
    except (TypeError, ValueError) as error:
        raise Unsupported(f"its attribute {name!r} is not a list of integers") from error
    if len(numbers) != len(default):
        raise Unsupported(f"its attribute {name!r} is {list(numbers)}, expected {len(default)} numbers")
    return numbers


def read_tensor(tensor: object) -> np.ndarray:
    """The array of a tensor of the file, or of an attribute that ought to hold one.

    Raises:
        Unsupported: it is damaged, or holds NaN or infinity; to be read behind the tensor's name.
    """
    if not isinstance(tensor, TensorProto):
        raise Unsupported("is no tensor")
    if external_data_helper.uses_external_data(tensor):
        raise Unsupported("lies in another file, which was not loaded")
    if any(size < 0 for size in tensor.dims):
        raise Unsupported(f"is damaged: its sizes are {list(tensor.dims)}")
    try:
        value = numpy_helper.to_array(tensor)
    except KeyError as error:
        raise Unsupported(f"is damaged: {error} is no type of elements") from error
    except MemoryError as error:
        raise Unsupported(f"is damaged: its sizes {list(tensor.dims)} are beyond all memory") from error
    except (ValueError, TypeError) as error:  # sizes, bytes or text that do not fit, and elements without a type
        raise Unsupported(f"is damaged: {error}") from error
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise Unsupported("holds NaN or infinity")
    return value
