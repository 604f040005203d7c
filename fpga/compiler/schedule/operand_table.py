"""Lay a program out in the board's memory and describe it to the accelerator: operands.bin.

The table follows from the program, the tiles and the protocol alone, so that whoever has those can check it by making
it again.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

from rrnet_nni.base.errors import Refusal

from ...cost.protocol import ProtocolCosts
from ...program import (
    AffineOp,
    AnyOperation,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    PadOp,
    PickOp,
    Program,
    ReluOp,
    SquareOp,
    SumPoolOp,
    TruncateOp,
)
from ...program.operands import BUS_BYTES, NO_BAND, Flag, Kind, OperandTable, Record
from ...program.shapes import operation_shape
from ...program.views import view_word
from ...protocols import get_protocol
from ...protocols.shared.opened_words import OperationPlan
from .accelerated import why_not_accelerated

WORD_BYTES = 4
#: First channel, end channel, first row, end row.
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class TiledStage:
    """One stage of tiles.json: phases [first_phase, end_phase) of an operation on `tiles` of `tensor`."""

    operation: int
    tensor: str
    first_phase: int
    end_phase: int
    tiles: tuple[Box, ...]


def operand_table(
    program: Program, stages: Sequence[TiledStage], protocol: ProtocolCosts, buffer_bytes: int, program_digest: bytes
) -> OperandTable:
    """The table of a scheduled program.

    Raises:
        Refusal: what `why_not_accelerated` says, or a number that does not fit its field, naming the operation.
    """
    accelerator = get_protocol(protocol.name).accelerator
    if reason := why_not_accelerated(program, protocol):
        raise Refusal(reason)
    assert accelerator is not None
    layout = _Layout(program, protocol)
    sections: dict[str, list[Record]] = {
        name: [] for name in ("operations", "inputs", "stages", "tiles", "bands", "coefficients")
    }
    for index, operation in enumerate(program.operations):
        inputs = layout.inputs(operation)
        record = _geometry(operation, program) | layout.addresses(index, operation)
        record["flags"] |= layout.flags(operation)
        record |= {"first_input": len(sections["inputs"]), "inputs": len(operation.inputs)}
        record |= {"first_stage": len(sections["stages"]), "first_coefficient": len(sections["coefficients"])}
        sections["inputs"] += inputs
        if isinstance(operation, AffineOp):
            sections["coefficients"] += [{"word": word} for word in _coefficients(operation, program)]
        own = [stage for stage in stages if stage.operation == index]
        for stage in own:
            _add_stage(sections, stage, operation)
        sections["operations"].append(record | {"stages": len(own)})
    header = {
        "protocol": accelerator.number,
        "buffer_bytes": buffer_bytes,
        "memory_words": layout.memory_words,
        "material_words": layout.material_words,
        "input": layout.input,
        "input_words": program.tensor(program.input).elements,
        "output": layout.tensors[program.output],
        "output_words": program.tensor(program.output).elements,
    }
    _check_widths(program, sections["operations"])
    return OperandTable(header, program_digest, sections)


class _Layout:
    """Addresses, in bus words, of everything that an operation reads or writes outside of the chip."""

    def __init__(self, program: Program, protocol: ProtocolCosts) -> None:
        self.program, self.placed = program, protocol.in_place(program)
        self.plans: dict[str, OperationPlan] | None = None
        plan_words = get_protocol(protocol.name).plan
        if plan_words is not None:
            names = [operation.name for operation in program.operations]
            self.plans = dict(zip(names, plan_words(program), strict=True))
        self.open: dict[str, int] = {}
        self.producers: dict[str, int] = {}
        self.memory_words = self.material_words = 0
        #: The image's share; a square that lifts it keeps it in another place too.
        self.input = self._take(program.tensor(program.input).elements)
        self.tensors = {program.input: self.input}

    def inputs(self, operation: AnyOperation) -> list[Record]:
        """Where an operation's inputs lie, and of a local operation that hands words on their opened words."""
        hands_on = self._hands_on(operation)
        return [
            {
                "address": self.tensors[name],
                "opened": self.open[name] if hands_on else 0,
                **_image(self.program, name, ""),
            }
            for name in operation.inputs
        ]

    def _hands_on(self, operation: AnyOperation) -> bool:
        return self.plans is not None and self.plans[operation.name].wire and self._view(operation) is None

    def _view(self, operation: AnyOperation) -> int | None:
        """How many bus words behind its input's address a result that moves nothing lies."""
        word = view_word(operation, self.program)
        return None if word is None else WORD_BYTES * word // BUS_BYTES

    def addresses(self, index: int, operation: AnyOperation) -> Record:
        """Where an operation's output, opened words, constants and corrections lie."""
        program = self.program
        view = self._view(operation)
        if view is not None:
            self.tensors[operation.output] = self.tensors[operation.inputs[0]] + view
        else:
            self.tensors[operation.output] = self._take_share(operation, operation.output)
        product = isinstance(operation, ConvOp | LinearOp)
        weights = program.constants[operation.weight].shape if isinstance(operation, ConvOp | LinearOp) else (0,)
        outputs = program.tensor(operation.output).shape[0] if product else 0
        corrections_bytes = self.placed[operation.name].offline_bytes(operation_shape(operation, program))[1]
        corrections = self.material_words
        self.material_words += -(-corrections_bytes // BUS_BYTES)
        return {
            "output": self.tensors[operation.output],
            "opened": self._opened(operation),
            "weights": self._take(math.prod(weights)),
            "bias": self._take(outputs),
            "corrections": corrections,
            "corrections_bytes": corrections_bytes,
            **self._masked_addresses(index, operation),
        }

    def _opened(self, operation: AnyOperation) -> int:
        """Where the opened words of an operation's input lie; a lifted input is read from its truncation's input."""
        name = operation.inputs[0]
        if self.plans is None:
            product = isinstance(operation, ConvOp | LinearOp)
            return self._take(self.program.tensor(name).elements if product else 0)
        view = self._view(operation)
        if view is not None and name in self.open:
            self.open[operation.output] = self.open[name] + view
        plan = self.plans[operation.name]
        if self._hands_on(operation):
            self.open[operation.output] = self._take(self.program.tensor(operation.output).elements)
            return self.open[operation.output]
        if plan.opens:
            self.open[name] = self._take(self.program.tensor(name).elements)
        if plan.lifted:
            producer = self.program.operations[self.producers[name]]
            name = producer.inputs[0]
        return self.open.get(name, 0)

    def _take_share(self, operation: AnyOperation, tensor: str) -> int:
        """Place of a share; a wide one has its low words first, then its high words."""
        elements = self.program.tensor(tensor).elements
        address = self._take(elements)
        if self.plans is not None and self.plans[operation.name].wide:
            self._take(elements)
        return address

    def _masked_addresses(self, index: int, operation: AnyOperation) -> Record:
        """What the host prepares, and whose forms a lifted input has."""
        if self.plans is None:
            return {"prepared": 0, "producer": 0}
        plan, source = self.plans[operation.name], operation.inputs[0]
        if isinstance(operation, TruncateOp) and not plan.reduces:
            self.producers[operation.output] = index
        producer = self.producers[source] if plan.lifted else 0
        if plan.lifts:
            self.producers[source] = index
            self.tensors[source] = self._take_share(operation, source)
            return {"prepared": self.tensors[source], "producer": producer}
        prepared = 0
        if isinstance(operation, ConvOp | LinearOp):
            prepared = self.program.tensor(operation.output).elements
        elif isinstance(operation, ReluOp | MaxPoolOp | SquareOp) and not plan.opens and not plan.lifted:
            prepared = self.program.tensor(source).elements
        return {"prepared": self._take(prepared), "producer": producer}

    def flags(self, operation: AnyOperation) -> Flag:
        """How `masked` treats an operation where it stands."""
        if self.plans is None:
            return Flag(0)
        plan = self.plans[operation.name]
        kinds = {
            Flag.OPENS: plan.opens,
            Flag.LIFTED: plan.lifted,
            Flag.WIDE: plan.wide,
            Flag.LIFTS: plan.lifts,
            Flag.REDUCES: plan.reduces,
            Flag.KEEPS: plan.keeps or self._hands_on(operation),
        }
        return functools.reduce(operator.or_, (flag for flag, holds in kinds.items() if holds), Flag(0))

    def _take(self, words: int) -> int:
        start = self.memory_words
        self.memory_words += -(-WORD_BYTES * words // BUS_BYTES)
        return start


def _image(program: Program, tensor: str, prefix: str) -> Record:
    shape = program.tensor(tensor).shape
    channels, height, width = (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)
    return {f"{prefix}channels": channels, f"{prefix}height": height, f"{prefix}width": width}


def _geometry(operation: AnyOperation, program: Program) -> Record:
    kernel, stride, padding, groups, flags = (1, 1), (1, 1), (0, 0, 0, 0), 1, Flag(0)
    match operation:
        case ConvOp():
            weights = program.constants[operation.weight].shape
            kernel, stride, padding = (weights[2], weights[3]), operation.stride, operation.padding
            groups = operation.groups
            if groups == weights[0] == program.tensor(operation.inputs[0]).shape[0]:
                flags |= Flag.DEPTHWISE
        case MaxPoolOp() | SumPoolOp():
            kernel, stride, padding = operation.kernel, operation.stride, operation.padding
        case PadOp():
            padding = operation.padding
    if isinstance(operation, ConvOp | LinearOp) and operation.bias is not None:
        flags |= Flag.BIAS
    return {
        # a pick that the accelerator takes is a view, as a reshape is
        "kind": Kind.RESHAPE if isinstance(operation, PickOp) else Kind[operation.kind.upper()],
        "bits": operation.bits if isinstance(operation, TruncateOp) else 0,
        "flags": flags,
        "groups": groups,
        **_image(program, operation.inputs[0], ""),
        **_image(program, operation.output, "out_"),
        **dict(zip(("kernel_h", "kernel_w", "stride_h", "stride_w"), (*kernel, *stride))),
        **dict(zip(("pad_top", "pad_left", "pad_bottom", "pad_right"), padding)),
    }


def _coefficients(operation: AffineOp, program: Program) -> list[int]:
    channels = program.tensor(operation.output).shape[0]
    rows = (*operation.multipliers, operation.addend)
    return [value % 2**32 for row in rows for value in (row * channels if len(row) == 1 else row)]


def _add_stage(sections: dict[str, list[Record]], stage: TiledStage, operation: AnyOperation) -> None:
    product = isinstance(operation, ConvOp | LinearOp) and stage.tensor == operation.output
    bands = sorted({(tile[0], tile[1]) for tile in stage.tiles}) if product else []
    sections["stages"].append(
        {
            "operation": stage.operation,
            "first_phase": stage.first_phase,
            "end_phase": stage.end_phase,
            "opens": int(stage.tensor != operation.output),
            "first_tile": len(sections["tiles"]),
            "tiles": len(stage.tiles),
            "first_band": len(sections["bands"]),
            "bands": len(bands),
        }
    )
    sections["bands"] += [{"channel_begin": begin, "channel_end": end} for begin, end in bands]
    names = ("channel_begin", "channel_end", "row_begin", "row_end")
    for tile in stage.tiles:
        band = bands.index((tile[0], tile[1])) if product else NO_BAND
        sections["tiles"].append(dict(zip(names, tile)) | {"band": band})


def _check_widths(program: Program, records: Sequence[Record]) -> None:
    narrow = ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_top", "pad_left", "pad_bottom", "pad_right")
    for operation, record in zip(program.operations, records):
        if any(record[name] >= 1 << 16 for name in narrow) or any(value >= 1 << 32 for value in record.values()):
            raise Refusal(f"operation {operation.name!r} is too large for the accelerator's operand table")
