"""What a client's part of a build tells of the model's numbers and of the calibration images: all of it, as a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import AffineOp, PickOp, Program

#: Files that the client gets: the program, the schedule for it, its device and its images. Nothing of them is secret.
CLIENT_FILES = (
    "program.json",
    "instructions.bin",
    "operands.bin",
    "tiles.json",
    "trace.json",
    "device.yaml",
    "images.json",
)


def public_numbers(program: Program, report: Mapping[str, Any]) -> dict[str, Any]:
    """The list, for report.json.

    `coefficients`: per operation the integers of polynomials and public scales. `picks`: per operation that picks words
    how many places it names on each axis: layout, and what a mask of zeros leaves. `formats`: fraction bits and ring
    bits of tensors, and of constants, which tell the logarithms of ranges. `scales`: how much larger tensors are than
    the model's, where they are, which tells the square's coefficient of a polynomial that is not secret. `input_range`:
    what calibration images reached.
    """
    coefficients = {
        operation.name: {
            "multipliers": [list(each) for each in operation.multipliers],
            "addend": list(operation.addend),
        }
        for operation in program.operations
        if isinstance(operation, AffineOp) and not _adds_alone(operation)
    }
    return {
        "coefficients": coefficients,
        "picks": {
            operation.name: [len(places) for places in operation.offsets]
            for operation in program.operations
            if isinstance(operation, PickOp)
        },
        "formats": {tensor.name: [tensor.fraction_bits, tensor.ring_bits] for tensor in program.tensors.values()},
        "scales": {
            tensor.name: list(tensor.scale) for tensor in program.tensors.values() if set(tensor.scale) != {1.0}
        },
        "constant_formats": {constant.name: constant.fraction_bits for constant in program.constants.values()},
        "input_range": _input_row(program, report),
    }


def count_coefficients(listed: Mapping[str, Any]) -> int:
    """How many integers `coefficients` of the list has."""
    entries = listed["coefficients"].values()
    return sum(sum(map(len, each["multipliers"])) + len(each["addend"]) for each in entries)


def client_report(program: Program, report: Mapping[str, Any]) -> dict[str, Any]:
    """What a client's report.json says: which device and protocol, how far its images may reach, and the list."""
    row = _input_row(program, report)
    told = {key: report[key] for key in ("schema", "device", "protocol") if key in report}
    if row is not None:
        told |= {"certificate": [row], "calibration": {"headroom": report["calibration"]["headroom"]}}
    return told | {"public_numbers": public_numbers(program, report)}


def _adds_alone(operation: AffineOp) -> bool:
    """Whether it shifts and adds: its multipliers are powers of two, one per tensor, that align formats."""
    numbers = [number for each in operation.multipliers for number in each]
    alone = len(numbers) == len(operation.multipliers)
    return alone and not any(operation.addend) and all(n > 0 and n & (n - 1) == 0 for n in numbers)


def _input_row(program: Program, report: Mapping[str, Any]) -> dict[str, Any] | None:
    for row in report.get("certificate", ()):
        if row["tensor"] == program.input:
            return {"tensor": row["tensor"], "seen": row["seen"]}
    return None
