"""The two-party program: operators over Z_2^32 on tensors with a fixed-point format.

This is the contract between the compiler that writes it and everything that executes it: the fixed-point reference
(`reference.py`, which is its meaning), the two parties (`runtime/`) and the accelerator (`hls/`).

Values are two's complement words of 32 bits; a tensor with `fraction_bits` f holds round(x * 2**f). Shapes are those of
one image, without the batch axis: (C, H, W) or (features,). Batches are an outer axis of the execution.

Secret constants (weights, biases) lie in `weights.bin` and belong to the server; what stands in the program itself
(shapes, formats, the coefficients of the polynomials) is public.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.settings import checked

from .heads import HEADS
from .operations import OPERATION_KINDS, RING_BITS, TRUNCATION_BOUND_BITS, AnyOperation, Constant, Tensor

Record = TypeVar("Record")

SCHEMA_VERSION = 2

#: What the output of a program is: the logits, or a one for the class of the largest and zeros (`revealed.py`).
REVEALED = LOGITS, ARGMAX = "logits", "argmax"


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
    #: What the party that learns the output applies to it in the clear (`heads.py`).
    head: tuple[str, ...] = ()
    reveals: str = LOGITS

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]


_POSSIBLE = {
    **dict.fromkeys(("shape", "kernel", "stride", "groups", "patch"), (1, 2**31)),
    **dict.fromkeys(("padding", "offset"), (0, 2**31)),
    "ring_bits": (1, RING_BITS),
    "fraction_bits": (-512, 512),
    "bits": (1, TRUNCATION_BOUND_BITS),
}


def is_narrow(program: Program) -> bool:
    """Whether any tensor fits a ring of fewer than 32 bits, so that protocols may send fewer."""
    return any(tensor.ring_bits < RING_BITS for tensor in program.tensors.values())


def program_to_dict(program: Program) -> dict[str, Any]:
    """The program as plain JSON values; `program_from_dict` reads it back, all but `source`, which is the server's."""
    return {
        "schema": SCHEMA_VERSION,
        "ring_bits": RING_BITS,
        "name": program.name,
        "input": program.input,
        "output": program.output,
        **({"head": list(program.head)} if program.head else {}),
        **({"reveals": program.reveals} if program.reveals != LOGITS else {}),
        "tensors": [asdict(tensor) for tensor in program.tensors.values()],
        "constants": [asdict(constant) for constant in program.constants.values()],
        "operations": [{"kind": operation.kind, **asdict(operation)} for operation in program.operations],
    }


def program_from_dict(document: Mapping[str, Any], where: str = "program.json") -> Program:
    """Read a program back; refuses an unknown schema, kind or field and a value of another type, naming `where`."""
    if document.get("schema") != SCHEMA_VERSION:
        raise Refusal(f"{where}: schema {document.get('schema')!r} is not {SCHEMA_VERSION}; compile the model again")
    for key, kind in (("name", str), ("input", str), ("output", str)):
        if not isinstance(document.get(key), kind):
            raise Refusal(f"{where}: {key!r} is {document.get(key)!r:.60}, expected {kind.__name__}")
    return Program(
        name=document["name"],
        input=document["input"],
        output=document["output"],
        tensors={entry.name: entry for entry in _records(document, "tensors", lambda _: Tensor, where)},
        constants={entry.name: entry for entry in _records(document, "constants", lambda _: Constant, where)},
        operations=tuple(_records(document, "operations", _operation_type, where)),
        head=_head(document.get("head", []), where),
        reveals=_reveals(document.get("reveals", LOGITS), where),
    )


def _reveals(name: Any, where: str) -> str:
    if name not in REVEALED:
        raise Refusal(f"{where}: 'reveals' is {name!r:.60}, expected one of {', '.join(REVEALED)}")
    return str(name)


def _head(names: Any, where: str) -> tuple[str, ...]:
    if not isinstance(names, list) or any(name not in HEADS.values() for name in names):
        raise Refusal(f"{where}: 'head' is {names!r:.60}, expected some of {', '.join(HEADS.values())}")
    return tuple(names)


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
            record = checked({key: item for key, item in entry.items() if key != "kind"}, kind)
            _check_numbers(vars(record))
            found.append(record)
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
