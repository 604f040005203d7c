"""`rrnet-2pc-compile`: an ONNX classifier becomes a program and a schedule for two parties."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrnet_nni.base.console import Parser, add_common_options, print_json, run_command
from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.progress import Steps

from ..devices import device_names
from ..native.memory import keep_freed_memory
from ..program import ARGMAX, LOGITS, REVEALED, is_narrow
from ..program.build import CLIENT
from ..program.public_numbers import count_coefficients, public_numbers
from ..protocols import protocol_names
from .check.check import check_build
from .compile import Compilation, compile_model
from .fixed_point.calibration import DEFAULT_RANGE
from .fixed_point.rings import RINGS
from .passes import optional_passes
from .steps import STEPS

EXAMPLE = """example:
  rrnet-2pc-compile model.onnx -o build/ --calibrate images.npy
  rrnet-2pc-compile --check build/
  rrnet-2pc-run build/ --input x.npy
"""
DEFAULT_DEVICE = "zcu104"
#: Logits that are off by more than this part of their size deserve a warning.
LOST_LOGITS = 0.01
JSON_KEYS = (
    "makespan_ms",
    "lower_bound_ms",
    "operator_sum_ms",
    "bytes_sent",
    "rounds",
    "comparisons",
    "instructions",
)


def make_parser() -> Parser:
    parser = Parser(prog="rrnet-2pc-compile", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("model", nargs="?", help="the classifier, an ONNX file")
    parser.add_argument("-o", "--output", metavar="DIR", help="build directory to write")
    parser.add_argument("--check", metavar="BUILD", help="validate a build instead: schema, order, buffers, messages")
    parser.add_argument(
        "--device",
        help=f"a device by name ({', '.join(device_names())}) or its YAML file (default: {DEFAULT_DEVICE}; with "
        "--check that of the build)",
    )
    parser.add_argument("--protocol", default=protocol_names()[0], choices=protocol_names())
    parser.add_argument(
        "--calibrate",
        metavar="FILE",
        help="images (.npy or .npz, NCHW, in the units that the model expects) from which formats are chosen; without "
        f"them, normalized images in ±{DEFAULT_RANGE:g} are assumed",
    )
    parser.add_argument(
        "--preprocess",
        metavar="FILE",
        help="the images that the model takes, described in YAML or JSON (height, width, color, mean, std, classes, "
        "...; see docs/reference/onnx.md); a model that rrnet exported has the description inside",
    )
    parser.add_argument(
        "--disable", action="append", default=[], metavar="PASS", help=f"skip a pass: {', '.join(optional_passes())}"
    )
    parser.add_argument(
        "--ring",
        choices=RINGS,
        help="bits on which words are opened: whole words of 32 (the default), or as few as calibrated ranges allow "
        "(narrow), which halves the bytes of masked in software and costs accuracy; beaver-ot always opens whole words",
    )
    parser.add_argument("--output-name", metavar="NAME", help="the output to compile, if the model has several")
    parser.add_argument(
        "--input-shape",
        type=_shape,
        metavar="N,C,H,W",
        help="sizes of the input's axes that the model leaves open, height and width for example",
    )
    parser.add_argument(
        "--secret-coefficients",
        action="store_true",
        help="keep the three numbers of every X2act (per layer or channel) secret, as weights are, at the price of two "
        "products per element (docs/explanation/reveal-less.md)",
    )
    parser.add_argument(
        "--reveal",
        choices=REVEALED,
        default=LOGITS,
        help="what a run of the build opens: the logits (the default), or the argmax alone, which the parties then "
        "compute with three comparisons per class (docs/explanation/reveal-less.md)",
    )
    parser.add_argument(
        "--optimal",
        action="store_true",
        help="let constraint programming look for a shorter schedule and prove a bound: small models only, may take "
        "minutes; needs pip install 'rrnet-nni[optimal]'",
    )
    add_common_options(parser)
    return parser


def _shape(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 0 < int(part) < 2**20 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not sizes like 1,3,224,224")
    return tuple(int(part) for part in parts)


def run(options: argparse.Namespace) -> int:
    if options.check is not None:
        if options.model is not None or options.output is not None:
            raise Refusal("--check validates a build and takes neither a model nor -o")
        return run_check(options)
    if options.model is None or options.output is None:
        raise Refusal("a model and -o DIR are needed (see rrnet-2pc-compile --help)")
    started = time.perf_counter()
    with Steps("rrnet-2pc-compile", STEPS) as steps:
        compilation = compile_model(
            options.model,
            options.output,
            DEFAULT_DEVICE if options.device is None else options.device,
            options.protocol,
            options.calibrate,
            options.disable,
            options.optimal,
            options.ring,
            options.preprocess,
            options.output_name,
            options.input_shape,
            options.secret_coefficients,
            options.reveal,
            steps,
        )
    seconds = time.perf_counter() - started
    if options.json:
        print_json(answer(compilation, seconds))
    else:
        print_summary(compilation, Path(options.output), seconds)
    return 0


def run_check(options: argparse.Namespace) -> int:
    """`--check`: status 0 where every rule holds, 2 with the first one broken."""
    result = check_build(options.check, options.device)
    if options.json:
        print_json({"valid": True, "instructions": result.instructions, "checks": list(result.checks)})
    else:
        print(f"{options.check} is valid: {result.instructions:,} instructions; checked {', '.join(result.checks)}")
    return 0


def answer(compilation: Compilation, seconds: float) -> dict[str, Any]:
    """What `--json` prints."""
    return {**{key: compilation.report[key] for key in JSON_KEYS}, "compile_s": round(seconds, 3)}


def print_summary(compilation: Compilation, output: Path, seconds: float) -> None:
    report = compilation.report
    if compilation.calibration.assumed:
        sys.stderr.write(
            f"rrnet-2pc-compile: no --calibrate: formats assume normalized images in ±{DEFAULT_RANGE:g}; values "
            "outside may overflow\n"
        )
    if kind := compilation.calibration.left_out:
        sys.stderr.write(
            f"rrnet-2pc-compile: {kind} images make this model's activations explode, so that formats assume none: "
            "give --calibrate images of its own kind\n"
        )
    lost = report["logits_error"]
    if lost > LOST_LOGITS:
        way_out = "--ring 32 keeps more; " if is_narrow(compilation.program) else ""
        sys.stderr.write(
            f"rrnet-2pc-compile: the logits may be {lost:.1%} of their root mean square off what floating point gives: "
            f"{way_out}report.html says which layer loses them\n"
        )
    tightest = min(report["certificate"], key=lambda entry: entry["margin_bits"])
    sent = " and ".join(f"{size:,}" for size in report["bytes_sent"])
    print(f"{report['model']}: {len(compilation.program.operations)} operations on two {report['device']}")
    print(f"  makespan     {report['makespan_ms']:.3f} ms (lower bound {report['lower_bound_ms']:.3f} ms,")
    print(f"               one operator after the other {report['operator_sum_ms']:.3f} ms)")
    print(f"  network      {sent} bytes sent in {report['rounds']} rounds, {report['comparisons']:,} comparisons")
    print(f"  fixed point  logits at most about {lost:.2%} of their root mean square off;")
    print(f"               tightest margin {tightest['margin_bits']:.2f} bits, at {tightest['tensor']}")
    if compilation.program.reveals == ARGMAX:
        print("  reveals      the class of the largest logit alone, computed by both parties")
    elif head := compilation.program.head:
        print(f"  head         {', '.join(head)}: in the clear, by the party that learns the logits")
    for each in report["approximations"]:
        print(f"               {each['function']} at {each['node']} within {each['largest_error']:g} of the exact one")
    listed = public_numbers(compilation.program, report)
    numbers, formats = count_coefficients(listed), len(listed["formats"]) + len(listed["constant_formats"])
    print(
        f"  public       {numbers:,} coefficients of {len(listed['coefficients'])} operations, the binary exponents of"
    )
    print(f"               {formats} formats, what calibration images reach: report.json lists them all")
    print(f"               {output / CLIENT} is the client's part, all else the server's")
    print(f"  build        {output} ({report['instructions']:,} instructions, compiled in {seconds:.1f} s)")


def main(arguments: Sequence[str] | None = None) -> int:
    keep_freed_memory()
    return run_command(make_parser(), run, arguments, lambda: {"device": device_names()})
