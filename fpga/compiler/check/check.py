"""Validate a build against its schema alone; nothing of the scheduler is used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rrnet_nni.base.errors import Refusal

from ...devices import Device, load_device
from ...program.build import INSTRUCTIONS, OPERANDS, TILES, Build, build_device, load_build, read_build_file
from ...program.check import check_program
from ...program.isa import HEADER, decode_instructions
from ...program.operands import decode_operands
from ...protocols import get_costs
from ..schedule.accelerated import has_operand_table
from ..schedule.operand_table import TiledStage, operand_table
from ..schedule.simulate import simulate
from .buffers import check_buffers
from .scheduled_build import ScheduledBuild
from .tiles import check_messages, check_tiles
from .waits import check_dependencies, check_opened_words


@dataclass(frozen=True)
class CheckResult:
    """What was found to hold."""

    instructions: int
    makespan_cycles: int
    checks: tuple[str, ...]


def check_build(path: Path | str, device: str | None = None) -> CheckResult:
    """Check a build directory.

    Args:
        path: the build.
        device: name or file of another device; default is the one that the build was made for.

    Raises:
        Refusal: the first rule that is broken, with the instruction or operation that breaks it.
    """
    build = load_build(path)
    described = build_device(build) if device is None else load_device(device)
    for name in _listed_files(build):
        read_build_file(build.path, name)
    check_program(build.program)
    data = read_build_file(build.path, INSTRUCTIONS)
    instructions = decode_instructions(data, str(build.path / INSTRUCTIONS))
    if HEADER.unpack_from(data)[5] != bytes.fromhex(build.program_digest)[:12]:
        raise Refusal(f"{build.path / INSTRUCTIONS} belongs to another program.json")
    stages = _stages(build)
    makespan = simulate(instructions, described).makespan
    scheduled = ScheduledBuild(build, described, instructions, stages)
    check_tiles(scheduled)
    check_messages(scheduled)
    check_dependencies(scheduled)
    check_opened_words(scheduled)
    check_buffers(scheduled)
    done = ["checksums", "program", "instructions", "no deadlock", "tiles", "messages", "dependencies"]
    done += ["opened words", "buffers"]
    if has_operand_table(build.program, get_costs(build.protocol_name)):
        _check_operands(build, described, stages)
        done.append("operands")
    return CheckResult(len(instructions), makespan, tuple(done))


def _listed_files(build: Build) -> list[str]:
    return sorted(json.loads((build.path / "manifest.json").read_bytes())["files"])


def _stages(build: Build) -> list[TiledStage]:
    where = build.path / TILES
    try:
        document = json.loads(read_build_file(build.path, TILES))
        stages = [
            TiledStage(
                int(entry["operation"]),
                str(entry["tensor"]),
                int(entry["phases"][0]),
                int(entry["phases"][1]),
                tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in entry["tiles"]),
            )
            for entry in document["stages"]
        ]
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise Refusal(f"{where} does not list the tiles of stages: {error}") from error
    for number, stage in enumerate(stages):
        if not 0 <= stage.operation < len(build.program.operations) or stage.tensor not in build.program.tensors:
            raise Refusal(f"{where}: stage {number} is of an operation or tensor that is not there")
        if not 0 <= stage.first_phase <= stage.end_phase:
            raise Refusal(f"{where}: stage {number} has the phases {stage.first_phase} to {stage.end_phase}")
    return stages


def _check_operands(build: Build, device: Device, stages: Sequence[TiledStage]) -> None:
    """operands.bin is what the program and its tiles say."""
    where = str(build.path / OPERANDS)
    data = read_build_file(build.path, OPERANDS)
    found = decode_operands(data, where)
    digest = bytes.fromhex(build.program_digest)
    if found.program_digest != digest[:12]:
        raise Refusal(f"{where} belongs to another program.json")
    expected = operand_table(
        build.program, stages, get_costs(build.protocol_name), found.header["buffer_bytes"], digest
    )
    if found.header["buffer_bytes"] > device.buffer_bytes:
        raise Refusal(f"{where} needs {found.header['buffer_bytes']} bytes of buffer, {device.name} has fewer")
    for name, records in found.sections.items():
        for number, (record, meant) in enumerate(zip(records, expected.sections[name])):
            if record != meant:
                raise Refusal(f"{where}: record {number} of {name} is not what the program and its tiles say")
    if expected.encode() != data:
        raise Refusal(f"{where} is not what the program and its tiles say")
