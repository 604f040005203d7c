"""The compiler from end to end: graph, passes, formats, program, schedule, instructions, report."""

from __future__ import annotations

import gc
import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.image_format import load_format

from ..cost.budget import check_budget
from ..devices import Device, device_file, load_device
from ..program import LOGITS, Program, program_to_dict
from ..program.build import DEVICE, IMAGES, INSTRUCTIONS, OPERANDS, PAGE, TILES, TRACE
from ..program.isa import Instruction, encode_instructions
from ..program.write_build import check_output, json_bytes, write_build
from ..protocols import ProtocolCosts, get_costs
from .fixed_point.calibration import Calibration, UnfitRange, calibrate_beside, load_calibration
from .fixed_point.certificate import approximations, certify, estimated_error
from .fixed_point.rings import NARROW, WHOLE
from .fixed_point.saturation import keep_saturation
from .fixed_point.to_program import to_program
from .graph import Graph
from .onnx.frontend import read_onnx
from .passes import PassResult, run_passes
from .passes.equalize import equalize
from .report.gains import graphs_without, pass_gains
from .report.page import report_page
from .report.report import build_report, tiles_document, trace_events
from .schedule.accelerated import has_operand_table
from .schedule.instruction_stream import schedule_instructions
from .schedule.operand_table import TiledStage, operand_table
from .schedule.optimal import optimize
from .schedule.schedule import Schedule, schedule_program
from .steps import CERTIFICATE, FORMATS, GAINS, READING, SCHEDULE, WRITING, unheard

#: Whole words: `beaver-ot` opens no others, nor does the accelerator; only `masked` in software gains by narrow ones.
DEFAULT_RING = WHOLE


@dataclass(frozen=True)
class Compilation:
    """Everything that a build holds, in memory."""

    graph: Graph
    program: Program
    weights: dict[str, np.ndarray]
    calibration: Calibration
    schedule: Schedule
    instructions: list[Instruction]
    passes: list[PassResult]
    report: dict[str, Any]


@dataclass(frozen=True)
class FixedPoint:
    """A graph in fixed point, before it is scheduled: enough for `run_reference`.

    `without` has what the graph becomes without each of its passes, or why it becomes nothing, and `calibrations` what
    calibration saw of those; both are empty where nobody asked.
    """

    graph: Graph
    program: Program
    weights: dict[str, np.ndarray]
    calibration: Calibration
    passes: list[PassResult]
    without: Mapping[str, Graph | Refusal] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration | UnfitRange] = field(default_factory=dict)


def compile_program(
    graph: Graph,
    images: np.ndarray | None = None,
    disabled: Collection[str] = (),
    ring: str = WHOLE,
    compare_passes: bool = False,
) -> FixedPoint:
    """Passes, calibration, formats and program of a graph; arguments and refusals as of `compile_graph`.

    Without a protocol there is no better ring than whole words. `compare_passes` asks for the graph without each pass.
    """
    plain = keep_saturation(graph, images)
    optimized, passes = run_passes(plain, disabled)
    without = graphs_without(plain, passes, disabled) if compare_passes else {}
    others = {name: other for name, other in without.items() if isinstance(other, Graph)}
    calibration, beside = calibrate_beside(optimized, list(others.values()), images)
    optimized, calibration = equalize(optimized, calibration)
    program, weights = to_program(optimized, calibration, narrow=ring == NARROW)
    calibrations = dict(zip(others, beside, strict=True))
    return FixedPoint(optimized, program, weights, calibration, passes, without, calibrations)


def compile_graph(
    graph: Graph,
    device: Device,
    protocol: ProtocolCosts,
    images: np.ndarray | None = None,
    disabled: Collection[str] = (),
    optimal: bool = False,
    ring: str | None = None,
    on_step: Callable[[str], None] = unheard,
) -> Compilation:
    """Compile a graph.

    Args:
        graph: from `read_onnx` or `import_model`.
        images: float32 [N, *input shape] for calibration; without them a stated default range is assumed.
        disabled: names of optional passes that are skipped.
        optimal: let constraint programming improve the schedule and prove a bound (see `optimize`).
        on_step: hears each of `STEPS` that begins.
        ring: `narrow` lets protocols open a tensor on the bits that its range takes, `32` on whole words.

    Raises:
        Refusal: a device whose kernels do not fit its chip, a range that fits no format, or an operation too large
            for the device.
    """
    check_budget(device)
    on_step(FORMATS)
    fixed = compile_program(graph, images, disabled, ring or DEFAULT_RING, compare_passes=True)
    program, calibration, passes = fixed.program, fixed.calibration, fixed.passes
    on_step(CERTIFICATE)
    certificates, errors = certify(fixed.graph, program, fixed.weights, calibration)
    on_step(SCHEDULE)
    schedule = schedule_program(program, device, protocol)
    if optimal:
        schedule = optimize(schedule)
    instructions = schedule_instructions(schedule)
    on_step(GAINS)
    gains = pass_gains(fixed.without, fixed.calibrations, program, device, protocol)
    report = build_report(
        program, schedule, len(instructions), device, protocol, calibration, certificates, errors, passes, gains
    )
    of_logits = next(error for error in errors if error.tensor == fixed.graph.output)
    report["logits_error"] = float(f"{estimated_error(of_logits):.6g}")
    report["approximations"] = [asdict(each) for each in approximations(fixed.graph)]
    return Compilation(fixed.graph, program, fixed.weights, calibration, schedule, instructions, passes, report)


def compile_model(
    model: Path | str,
    output: Path | str,
    device: str = "zcu104",
    protocol: str = "beaver-ot",
    calibrate_with: Path | str | None = None,
    disabled: Collection[str] = (),
    optimal: bool = False,
    ring: str | None = None,
    images_file: Path | str | None = None,
    output_name: str | None = None,
    input_shape: Sequence[int] | None = None,
    secret_coefficients: bool = False,
    reveal: str = LOGITS,
    on_step: Callable[[str], None] = unheard,
) -> Compilation:
    """`rrnet-2pc-compile`: compile an ONNX file into a build directory; names and shape as of `import_model`.

    `images_file` describes the images that the model takes (`ImageFormat`), in place of what the model itself says;
    `secret_coefficients` keeps the numbers of polynomials out of the public program; `reveal` is of REVEALED; `on_step`
    hears each of `STEPS` that begins.

    Raises:
        Refusal: the model, the images, the names or the output directory are not usable; nothing is written then.
    """
    check_output(Path(output))
    described, priced = load_device(device), get_costs(protocol)
    with _collector_paused():
        on_step(READING)
        graph = read_onnx(model, output_name, input_shape)
        graph = replace(graph, secret_coefficients=secret_coefficients, reveals=reveal)
        if images_file is not None:
            graph = replace(graph, images=load_format(Path(images_file)))
        _check_format(graph, images_file or model)
        images = None if calibrate_with is None else load_calibration(calibrate_with, graph)
        compilation = compile_graph(graph, described, priced, images, disabled, optimal, ring, on_step)
        on_step(WRITING)
        write_compilation(compilation, output, described)
    return compilation


def _check_format(graph: Graph, where: Path | str) -> None:
    shape = graph.shapes[graph.input]
    if graph.images is None:
        return
    logits = math.prod(graph.shapes[graph.output])
    if graph.images.classes and len(graph.images.classes) != logits:
        raise Refusal(f"{where}: names {len(graph.images.classes)} classes, and the model has {logits} logits")
    if graph.images.shape != shape:
        raise Refusal(f"{where}: describes images {list(graph.images.shape)}, and the model takes {list(shape)}")


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Jobs and instructions are many small objects without cycles, among which looking for some takes long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def write_compilation(compilation: Compilation, output: Path | str, device: Device) -> Path:
    """Write the build directory of a compilation."""
    program = compilation.program
    digest = hashlib.sha256(json_bytes(program_to_dict(program))).digest()
    files = {
        INSTRUCTIONS: encode_instructions(compilation.instructions, digest),
        TILES: tiles_document(compilation.schedule),
        TRACE: trace_events(compilation.schedule, program, device),
        DEVICE: device_file(device),
        PAGE: report_page(compilation.report, compilation.schedule, program, device),
    }
    if compilation.graph.images is not None:
        files[IMAGES] = compilation.graph.images.to_json().encode() + b"\n"
    protocol = get_costs(compilation.report["protocol"])
    if has_operand_table(program, protocol):
        stages = [
            TiledStage(
                stage.operation,
                stage.tensor,
                stage.first_phase,
                stage.end_phase,
                tuple((*region.channels, *region.rows) for region in stage.regions),
            )
            for stage in compilation.schedule.stages
        ]
        files[OPERANDS] = operand_table(program, stages, protocol, device.buffer_bytes, digest).encode()
    return write_build(output, program, compilation.weights, compilation.report, files)
