"""`rrnet show`: every choice of a backbone, with its shape, its comparisons and its latency."""

from __future__ import annotations

import argparse
from typing import Any

from rrnet_nni.base.console import add_common_options, print_json
from rrnet_nni.base.tables import text_table
from rrnet_nni.fpga.cost.latency import operator_cost
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import comparison_count, relu_count
from rrnet_nni.fpga.protocols import get_costs, protocol_names

from .networks import SPACE_OPTIONS, add_space_options, given_space_options

EXAMPLE = """\
examples:
  rrnet show resnet18
  rrnet show resnet18 --stem plain
  rrnet show mobilenet_v2 --image-size 224 --stem imagenet --classes 1000 --json
"""
#: Options of the backbone that the command line hands on as they are.
SHOWN_OPTIONS = (*SPACE_OPTIONS, "gates")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "show",
        description="Print every choice of a backbone: candidates, shape, comparisons and latency of each candidate.",
        epilog=EXAMPLE,
    )
    parser.add_argument("backbone", help="a backbone's name; an unknown one lists them all")
    add_space_options(parser)
    parser.add_argument("--gates", help="what is searched: both, activation or pooling (default: both)")
    parser.add_argument("--device", default="zcu104", help="name or .yaml file of the device (default: %(default)s)")
    parser.add_argument(
        "--protocol", default=protocol_names()[0], help=f"{', '.join(protocol_names())} (default: %(default)s)"
    )
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from rrnet_nni.evaluators.space_operators import describe_space
    from rrnet_nni.search_spaces import SpaceOptions

    space = describe_space(options.backbone, SpaceOptions(**given_space_options(options, SHOWN_OPTIONS)))
    device, protocol = load_device(options.device), get_costs(options.protocol)
    first = [next(iter(candidates.values())) for candidates in space.choices.values()]
    shapes = [*first, *(operator.shape for operator in space.fixed)]
    answer = {
        "backbone": options.backbone,
        "device": device.name,
        "protocol": protocol.name,
        "relus": sum(map(relu_count, shapes)),
        "pool_comparisons": sum(comparison_count(shape) - relu_count(shape) for shape in shapes),
        "fixed_latency_ms": sum(operator_cost(o.shape, device, protocol).latency_ms for o in space.fixed),
        "choices": [
            {
                "label": label,
                "candidates": list(candidates),
                "shape": list(space.input_shapes[label]),
                "comparisons": {name: comparison_count(shape) for name, shape in candidates.items()},
                "latency_ms": {name: operator_cost(s, device, protocol).latency_ms for name, s in candidates.items()},
            }
            for label, candidates in space.choices.items()
        ],
    }
    if options.json:
        print_json(answer)
    else:
        print(_text(answer))
    return 0


def _text(answer: dict[str, Any]) -> str:
    header = ("choice", "shape", "candidates", "comparisons", "latency ms")
    rows = [
        (
            choice["label"],
            "x".join(map(str, choice["shape"])),
            " | ".join(choice["candidates"]),
            " | ".join(str(count) for count in choice["comparisons"].values()),
            " | ".join(f"{latency:.4f}" for latency in choice["latency_ms"].values()),
        )
        for choice in answer["choices"]
    ]
    return (
        f"{answer['backbone']}: {answer['relus']:,} ReLUs and {answer['pool_comparisons']:,} pool comparisons with "
        f"ReLU and MaxPool throughout\nprotocol {answer['protocol']}, device {answer['device']}\n\n"
        + text_table(header, rows, left=3)
        + f"\neverything that is not chosen: {answer['fixed_latency_ms']:.3f} ms"
    )
