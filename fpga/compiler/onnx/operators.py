"""Which ONNX operators are supported, and who imports each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import onnx

from . import arithmetic, layout, windows
from .importer import Importer

OperatorImporter: TypeAlias = Callable[[Importer, onnx.NodeProto], None]

IMPORTERS: dict[tuple[str, str], OperatorImporter] = {
    ("", "Add"): arithmetic.import_add,
    ("", "AveragePool"): windows.import_average_pool,
    ("", "BatchNormalization"): arithmetic.import_batch_norm,
    ("", "Cast"): layout.import_cast,
    ("", "Clip"): arithmetic.import_clip,
    ("", "Concat"): layout.import_concat,
    ("", "Conv"): windows.import_conv,
    ("", "Div"): arithmetic.import_div,
    ("", "Dropout"): layout.import_dropout,
    ("", "Flatten"): layout.import_flatten,
    ("", "Gemm"): arithmetic.import_gemm,
    ("", "GlobalAveragePool"): windows.import_global_average_pool,
    ("", "GlobalMaxPool"): windows.import_global_max_pool,
    ("", "Identity"): layout.import_identity,
    ("", "MatMul"): arithmetic.import_matmul,
    ("", "MaxPool"): windows.import_max_pool,
    ("", "Mul"): arithmetic.import_mul,
    ("", "Neg"): arithmetic.import_neg,
    ("", "Pad"): layout.import_pad,
    ("", "Pow"): arithmetic.import_pow,
    ("", "ReduceMean"): windows.import_reduce_mean,
    ("", "Relu"): arithmetic.import_relu,
    ("", "Reshape"): layout.import_reshape,
    ("", "Squeeze"): layout.import_squeeze,
    ("", "Sub"): arithmetic.import_sub,
    ("", "Sum"): arithmetic.import_add,
    ("rrnet", "X2act"): arithmetic.import_x2act,
}
