"""`rrnet export`: a trained network to ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rrnet_nni.base.console import add_common_options, print_json
from rrnet_nni.base.errors import Refusal

if TYPE_CHECKING:
    from rrnet_nni.base.image_format import ImageFormat

EPILOG = """example:
  rrnet export runs/first -o model.onnx
  rrnet export runs/first -o model.onnx --pixels       # for runtimes that hand over pixels 0..255 as they are
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("export", description=__doc__, epilog=EPILOG)
    parser.add_argument("run", type=Path, metavar="DIR", help="folder with architecture.json and weights.pt")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    parser.add_argument(
        "--pixels",
        action="store_true",
        help="normalize by nodes of the graph, which then takes pixels 0..255; its calibration images go beside it",
    )
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from rrnet_nni.base.files import output_file
    from rrnet_nni.base.image_format import ImageFormat
    from rrnet_nni.base.settings import checked

    from ..architecture import read_architecture
    from ..export import export_onnx
    from ..pipeline import ARCHITECTURE, CALIBRATION, WEIGHTS
    from ..trained import load_trained

    architecture, space = read_architecture(options.run / ARCHITECTURE)
    network = load_trained(architecture, options.run / WEIGHTS)
    shape = (space.channels, space.image_size, space.image_size)
    images = None if architecture.images is None else checked(architecture.images, ImageFormat)
    calibration = options.run / CALIBRATION
    if options.pixels and not calibration.is_file():
        raise Refusal(f"{calibration}: there is no such file, and --pixels needs its images")
    if options.pixels and images is None:
        raise Refusal(f"{options.run}: --pixels needs a network that knows its images, and this one does not")
    model = export_onnx(network, shape, output_file(options.output), images, pixels=options.pixels)
    answer = {"model": str(options.output), "nodes": len(model.graph.node), "input_shape": list(shape)}
    if images is not None and options.pixels:
        answer["calibration"] = str(_pixel_calibration(calibration, options.output, images))
    written = [answer[name] for name in ("model", "calibration") if name in answer]
    print_json(answer) if options.json else print(f"wrote {' and '.join(map(str, written))}")
    return 0


def _pixel_calibration(calibration: Path, model: Path, images: ImageFormat) -> Path:
    """The run's calibration images, beside the exported file and in the units that it takes."""
    import numpy as np

    from ..pixel_input import pixels_of_normalized

    path = model.with_suffix(".calibration.npz")
    with np.load(calibration) as stored:
        np.savez(path, image=pixels_of_normalized(stored["image"], images))
    return path
