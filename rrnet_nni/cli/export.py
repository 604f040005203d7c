"""`rrnet export`: a trained network to ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path

from rrnet_nni.base.console import add_common_options, print_json

EPILOG = """example:
  rrnet export runs/first -o model.onnx
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("export", description=__doc__, epilog=EPILOG)
    parser.add_argument("run", type=Path, metavar="DIR", help="folder with architecture.json and weights.pt")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from rrnet_nni.base.files import output_file
    from rrnet_nni.base.image_format import ImageFormat
    from rrnet_nni.base.settings import checked

    from ..architecture import read_architecture
    from ..export import export_onnx
    from ..pipeline import ARCHITECTURE, WEIGHTS
    from ..trained import load_trained

    architecture, space = read_architecture(options.run / ARCHITECTURE)
    network = load_trained(architecture, options.run / WEIGHTS)
    shape = (space.channels, space.image_size, space.image_size)
    images = None if architecture.images is None else checked(architecture.images, ImageFormat)
    model = export_onnx(network, shape, output_file(options.output), images)
    answer = {"model": str(options.output), "nodes": len(model.graph.node), "input_shape": list(shape)}
    print_json(answer) if options.json else print(f"wrote {options.output}")
    return 0
