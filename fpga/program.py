"""The two-party program: operators over Z_2^32 on tensors with a fixed-point format.

This is the contract between the compiler that writes it and everything that executes it: the fixed-point reference
(`compiler/reference.py`, which is its meaning), the two parties (`board/`) and the accelerator (`hls/`).

Values are two's complement words of 32 bits; a tensor with `fraction_bits` f holds round(x * 2**f). Shapes are those of
one image, without the batch axis: (C, H, W) or (features,). Batches are an outer axis of the execution.

Secret constants (weights, biases) lie in `weights.bin` and belong to the server; what stands in the program itself
(shapes, formats, the coefficients of the polynomials) is public.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeVar

from .errors import Refusal
from .json_fields import read_fields

Record = TypeVar("Record")

SCHEMA_VERSION = 2
RING_BITS = 32
#: Untruncated values must stay inside ±2**TRUNCATION_BOUND_BITS or probabilistic truncation may fail.
TRUNCATION_BOUND_BITS = 30


@dataclass(frozen=True)
class Tensor:
    """A shared tensor of one image: int32 words with `fraction_bits` bits after the point.

    `scale` (one number, or one per channel) is how much larger the program's tensor is than the model's: a tensor t of
    the model is held as round(t * scale * 2**fraction_bits).

    `ring_bits` w promises |word| < 2**(w - 2): a protocol may open it on w bits. RING_BITS promises nothing beyond what
    the operations require. Every other operation of a program still computes modulo 2**32.
    """

    name: str
    shape: tuple[int, ...]
    fraction_bits: int
    scale: tuple[float, ...] = (1.0,)
    ring_bits: int = RING_BITS

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class Constant:
    """A secret constant: `shape` int32 words, row-major little-endian, at byte `offset` of weights.bin."""

    name: str
    shape: tuple[int, ...]
    fraction_bits: int
    offset: int


@dataclass(frozen=True)
class Operation:
    """Base of all operators: named tensors in, one named tensor out. `name` is unique and readable."""

    kind: ClassVar[str] = ""
    name: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class ConvOp(Operation):
    """beaver_conv: y = W ⊗ x + bias, untruncated: f_y = f_x + f_W, bias already at f_y.

    W is [out, in / groups, kh, kw]; bias [out]. `padding` is (top, left, bottom, right), with zeros.
    """

    kind: ClassVar[str] = "conv"
    weight: str
    bias: str | None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1


@dataclass(frozen=True)
class LinearOp(Operation):
    """beaver matrix product: y = W x + bias, untruncated; W is [out, in], x and y are flat."""

    kind: ClassVar[str] = "linear"
    weight: str
    bias: str | None


@dataclass(frozen=True)
class SquareOp(Operation):
    """beaver_square: y = x², f_y = 2 f_x."""

    kind: ClassVar[str] = "square"


@dataclass(frozen=True)
class AffineOp(Operation):
    """Local: y = Σ_t multipliers[t] * inputs[t] + addend, all integers of the ring.

    Each multiplier and the addend is a tuple of length 1 (one for all) or C (one per channel). It expresses residual
    addition with alignment (multipliers are powers of two), the polynomial's coefficients, and scaling.
    """

    kind: ClassVar[str] = "affine"
    multipliers: tuple[tuple[int, ...], ...]
    addend: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class ReluOp(Operation):
    """compare and multiplex: y = max(x, 0), f_y = f_x. Requires |x| < 2**31."""

    kind: ClassVar[str] = "relu"


@dataclass(frozen=True)
class MaxPoolOp(Operation):
    """MaxPool tree; `padding` counts as minus infinity (it is left out of the windows)."""

    kind: ClassVar[str] = "maxpool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class SumPoolOp(Operation):
    """Local: the sum over each window (zeros outside).

    The mean's divisor lives in f_y or in a later multiplier.
    """

    kind: ClassVar[str] = "sumpool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class TruncateOp(Operation):
    """Drop `bits` fraction bits: y ∈ {floor(x / 2**bits), floor(x / 2**bits) + 1}; requires |x| < 2**30."""

    kind: ClassVar[str] = "truncate"
    bits: int


@dataclass(frozen=True)
class ReshapeOp(Operation):
    """Local: the same words in another shape (flatten)."""

    kind: ClassVar[str] = "reshape"


@dataclass(frozen=True)
class ConcatOp(Operation):
    """Local: inputs side by side along the channel axis, all in one format."""

    kind: ClassVar[str] = "concat"


@dataclass(frozen=True)
class PadOp(Operation):
    """Local: zeros around an image; `padding` is (top, left, bottom, right)."""

    kind: ClassVar[str] = "pad"
    padding: tuple[int, int, int, int]


AnyOperation: TypeAlias = (
    ConvOp | LinearOp | SquareOp | AffineOp | ReluOp | MaxPoolOp | SumPoolOp | TruncateOp | ReshapeOp | ConcatOp | PadOp
)

OPERATION_KINDS: dict[str, type[AnyOperation]] = {
    operation.kind: operation
    for operation in (
        ConvOp,
        LinearOp,
        SquareOp,
        AffineOp,
        ReluOp,
        MaxPoolOp,
        SumPoolOp,
        TruncateOp,
        ReshapeOp,
        ConcatOp,
        PadOp,
    )
}


@dataclass(frozen=True)
class Program:
    """A straight-line two-party program: `operations` in an order that defines every input before its use."""

    name: str
    input: str
    output: str
    tensors: Mapping[str, Tensor]
    constants: Mapping[str, Constant]
    operations: tuple[AnyOperation, ...]
    source: Mapping[str, str] = field(default_factory=dict)

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]


_POSSIBLE = {
    **dict.fromkeys(("shape", "kernel", "stride", "groups"), (1, 2**31)),
    **dict.fromkeys(("padding", "offset"), (0, 2**31)),
    "ring_bits": (1, RING_BITS),
    "fraction_bits": (-512, 512),
    "bits": (1, TRUNCATION_BOUND_BITS),
}


def is_narrow(program: Program) -> bool:
    """Whether any tensor fits a ring of fewer than 32 bits, so that protocols may send fewer."""
    return any(tensor.ring_bits < RING_BITS for tensor in program.tensors.values())


def program_to_dict(program: Program) -> dict[str, Any]:
    """The program as plain JSON values; `program_from_dict` reads it back."""
    return {
        "schema": SCHEMA_VERSION,
        "ring_bits": RING_BITS,
        "name": program.name,
        "input": program.input,
        "output": program.output,
        "source": dict(program.source),
        "tensors": [asdict(tensor) for tensor in program.tensors.values()],
        "constants": [asdict(constant) for constant in program.constants.values()],
        "operations": [{"kind": operation.kind, **asdict(operation)} for operation in program.operations],
    }


def program_from_dict(document: Mapping[str, Any], where: str = "program.json") -> Program:
    """Read a program back; refuses an unknown schema, kind or field and a value of another type, naming `where`."""
    if document.get("schema") != SCHEMA_VERSION:
        raise Refusal(f"{where}: schema {document.get('schema')!r} is not {SCHEMA_VERSION}; compile the model again")
    for key, kind in (("name", str), ("input", str), ("output", str), ("source", dict)):
        if not isinstance(document.get(key), kind):
            raise Refusal(f"{where}: {key!r} is {document.get(key)!r:.60}, expected {kind.__name__}")
    return Program(
        name=document["name"],
        input=document["input"],
        output=document["output"],
        tensors={entry.name: entry for entry in _records(document, "tensors", lambda _: Tensor, where)},
        constants={entry.name: entry for entry in _records(document, "constants", lambda _: Constant, where)},
        operations=tuple(_records(document, "operations", _operation_type, where)),
        source=document["source"],
    )


def _records(
    document: Mapping[str, Any], section: str, type_of: Callable[[Mapping[str, Any]], type[Record]], where: str
) -> list[Record]:
    entries = document.get(section)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Refusal(f"{where}: {section!r} is not a list of objects")
    found = []
    for entry in entries:
        try:
            kind = type_of(entry)
            values = read_fields(kind, {key: item for key, item in entry.items() if key != "kind"})
            _check_numbers(values)
            found.append(kind(**values))
        except ValueError as error:
            raise Refusal(f"{where}: {entry.get('name')!r:.60} in {section!r}: {error}") from error
    return found


def _check_numbers(values: Mapping[str, Any]) -> None:
    for key, (least, most) in _POSSIBLE.items():
        value = values.get(key, ())
        if not all(least <= number <= most for number in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"{key!r} is {value!r:.60}, expected {least} to {most}")
    if values.get("inputs", True) == ():
        raise ValueError("it has no inputs")


def _operation_type(entry: Mapping[str, Any]) -> type[AnyOperation]:
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in OPERATION_KINDS:
        raise ValueError(f"the kind {kind!r:.60} is unknown")
    return OPERATION_KINDS[kind]
