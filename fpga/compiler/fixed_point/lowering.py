"""The program while it is built: tensors, constants and operations, with the truncations between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...program import LOGITS, AffineOp, AnyOperation, Constant, Tensor, TruncateOp
from ..graph import AnyNode, Graph, Shape
from .calibration import UnfitRange
from .formats import Formats

#: What a product is called before its truncation.
UNTRUNCATED = ".untruncated"


@dataclass
class Lowering:
    """The program while it is built."""

    graph: Graph
    formats: Formats
    makes_constants: bool = True
    tensors: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    operations: list[AnyOperation] = field(default_factory=list)
    offset: int = 0

    def fraction_bits(self, name: str) -> int:
        return self.tensors[name].fraction_bits

    def declare(self, name: str, shape: Shape, fraction_bits: int) -> str:
        scale = self.graph.scales.get(name.removesuffix(UNTRUNCATED), np.ones(1))
        self.tensors[name] = Tensor(name, shape, fraction_bits, tuple(float(factor) for factor in scale))
        return name

    def constant(self, name: str, values: np.ndarray, fraction_bits: int, reach: float | None = None) -> str:
        """round(values * 2**f) modulo 2**32 in weights.bin; `reach` is their largest absolute value, if it is known."""
        if reach is None:
            reach = max(values.max(initial=0.0), -values.min(initial=0.0))
        if np.ldexp(reach, fraction_bits) >= 2.0**62:
            raise UnfitRange(f"constant {name!r} reaches {reach:.4g}: no fixed-point format fits it")
        if self.makes_constants:
            words = values * np.ldexp(1.0, fraction_bits)
            np.rint(words, out=words)
            fits = np.ldexp(reach, fraction_bits) < 2.0**31 - 1
            self.weights[name] = words.astype(np.int32) if fits else words.astype(np.int64).astype(np.int32)
        self.constants[name] = Constant(name, tuple(values.shape), fraction_bits, self.offset)
        self.offset += 4 * values.size
        return name

    def emit(
        self,
        kind: type,
        name: str,
        inputs: tuple[str, ...],
        output: str,
        shape: Shape,
        fraction_bits: int,
        **fields: Any,
    ) -> str:
        self.declare(output, shape, fraction_bits)
        self.operations.append(kind(name=name, inputs=inputs, output=output, **fields))
        return output

    def emit_product(
        self, kind: type, node: AnyNode, inputs: tuple[str, ...], bits: int, name: str | None = None, **fields: Any
    ) -> None:
        """An operation with `bits` fraction bits, truncated to the cap of the node's output if that is fewer.

        Logits that are opened stay untruncated: that ends the computation, and the bits cost nothing. So do products
        that are truncated with the sum that reads them.
        """
        shape, name = self.graph.shapes[node.output], name or node.name
        surplus = bits - self.formats.caps[node.output]
        opened = node.output == self.graph.output and self.graph.reveals == LOGITS
        if surplus <= 0 or opened or node.output in self.graph.deferred:
            self.emit(kind, name, inputs, node.output, shape, bits, **fields)
            return
        untruncated = self.emit(kind, name, inputs, node.output + UNTRUNCATED, shape, bits, **fields)
        self.truncate(node, untruncated, node.output, surplus)

    def truncate(self, node: AnyNode, source: str, output: str, bits: int) -> None:
        shape, have = self.tensors[source].shape, self.fraction_bits(source)
        suffix = "" if output == node.output else output.removeprefix(node.output)
        self.emit(TruncateOp, f"{node.name}{suffix}.truncate", (source,), output, shape, have - bits, bits=bits)

    def aligned(self, node: AnyNode, name: str, bits: int) -> str:
        """The tensor with `bits` fraction bits, multiplied by a power of two where it has fewer."""
        have = self.fraction_bits(name)
        if have == bits:
            return name
        output = f"{node.output}.aligned.{name}"
        if output not in self.tensors:
            shape = self.tensors[name].shape
            factor = ((1 << (bits - have),),)
            self.emit(AffineOp, f"{node.name}.align.{name}", (name,), output, shape, bits, multipliers=factor)
        return output
