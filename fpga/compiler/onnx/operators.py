"""Which ONNX operators are supported, and who imports each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import onnx

from . import arithmetic, joining, layout, linear, quantized, reductions, windows
from .activations import ACTIVATIONS, import_relu2x2
from .importer import Importer

OperatorImporter: TypeAlias = Callable[[Importer, onnx.NodeProto], None]

IMPORTERS: dict[tuple[str, str], OperatorImporter] = {
    ("", "Add"): arithmetic.import_add,
    ("", "AveragePool"): windows.import_average_pool,
    ("", "BatchNormalization"): arithmetic.import_batch_norm,
    ("", "Cast"): layout.import_cast,
    ("", "CastLike"): layout.import_cast_like,
    ("", "Concat"): joining.import_concat,
    ("", "Conv"): windows.import_conv,
    ("", "DepthToSpace"): layout.import_depth_to_space,
    ("", "DequantizeLinear"): quantized.import_dequantize,
    ("", "Div"): arithmetic.import_div,
    ("", "Dropout"): layout.import_dropout,
    ("", "Einsum"): linear.import_einsum,
    ("", "Expand"): layout.import_expand,
    ("", "Flatten"): layout.import_flatten,
    ("", "Gather"): layout.import_gather,
    ("", "Gemm"): linear.import_gemm,
    ("", "GlobalAveragePool"): windows.import_global_average_pool,
    ("", "GlobalMaxPool"): windows.import_global_max_pool,
    ("", "Identity"): layout.import_identity,
    ("", "MatMul"): linear.import_matmul,
    ("", "MaxPool"): windows.import_max_pool,
    ("", "Mean"): arithmetic.import_mean,
    ("", "Mul"): arithmetic.import_mul,
    ("", "Neg"): arithmetic.import_neg,
    ("", "Pad"): joining.import_pad,
    ("", "Pow"): arithmetic.import_pow,
    ("", "QuantizeLinear"): quantized.import_quantize,
    ("", "ReduceMax"): reductions.import_reduce_max,
    ("", "ReduceMean"): reductions.import_reduce_mean,
    ("", "ReduceSum"): reductions.import_reduce_sum,
    ("", "Reshape"): layout.import_reshape,
    ("", "Slice"): layout.import_slice,
    ("", "SpaceToDepth"): layout.import_space_to_depth,
    ("", "Split"): layout.import_split,
    ("", "Squeeze"): layout.import_squeeze,
    ("", "Sub"): arithmetic.import_sub,
    ("", "Sum"): arithmetic.import_add,
    ("", "Tile"): layout.import_tile,
    ("", "Transpose"): layout.import_transpose,
    ("", "Unsqueeze"): layout.import_unsqueeze,
    ("rrnet", "Relu2x2"): import_relu2x2,
    ("rrnet", "X2act"): arithmetic.import_x2act,
    **ACTIVATIONS,
}

#: Operators that take a value in whatever order its words lie (`views.py`).
READS_VIEWS = frozenset(
    ("", name)
    for name in (
        *("Cast", "CastLike", "Concat", "Conv", "DepthToSpace", "DequantizeLinear", "Dropout", "Einsum", "Expand"),
        *("Flatten", "Gather", "Gemm", "Identity", "MatMul", "Pad", "QuantizeLinear", "ReduceMax", "ReduceMean"),
        *("ReduceSum", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    )
)
#: Operators that compute element by element, so that the order of the words is not theirs to know.
ELEMENTWISE = frozenset(
    ("", name)
    for name in (
        *(
            "Abs",
            "Add",
            "Celu",
            "Clip",
            "Div",
            "Elu",
            "Erf",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "Max",
            "Mean",
            "Min",
            "Mish",
            "Mul",
            "Neg",
        ),
        *("PRelu", "Pow", "Relu", "Selu", "Sigmoid", "Softplus", "Sub", "Sum", "Swish", "Tanh"),
    )
)
