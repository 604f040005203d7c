"""Networks that a command line names: a backbone, an architecture.json or an ONNX file, as operator shapes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program.operators import NamedOperator

if TYPE_CHECKING:
    from rrnet_nni.evaluators.space_operators import SpaceOperators
    from rrnet_nni.search_spaces import SpaceOptions

#: Options that go with a backbone's name; the first two are choices, the rest `SpaceOptions`.
CHOICE_OPTIONS = ("activation", "pooling")
SPACE_OPTIONS = ("image_size", "classes", "channels", "width", "stem", "groups")


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the positional `network` and the options of a backbone."""
    parser.add_argument("network", help="a backbone's name, an architecture.json or a .onnx file")
    group = parser.add_argument_group("a backbone's choices and options")
    group.add_argument("--activation", metavar="NAME", help="all activations, relu or x2act (default: relu)")
    group.add_argument("--pooling", choices=("maxpool", "avgpool"), help="all poolings (default: maxpool)")
    group.add_argument("--image-size", type=int, metavar="N", help="pixels of a side (default: 32)")
    group.add_argument("--classes", type=int, metavar="N", help="outputs of the classifier (default: 10)")
    group.add_argument("--channels", type=int, metavar="N", help="channels of an image (default: 3)")
    group.add_argument("--width", type=float, metavar="X", help="multiplier of all widths (default: 1)")
    group.add_argument("--groups", type=int, metavar="G", help="slices of channels of every activation (default: 1)")
    group.add_argument("--stem", help="the backbone's stem: pool, plain, imagenet (default: the backbone's own)")


def load_operators(options: argparse.Namespace) -> tuple[str, list[NamedOperator]]:
    """The operators that the command line names, and what to call them.

    Raises:
        Refusal: there is no such backbone or file, or an option does not go with it.
    """
    if _is_onnx(options):
        return options.network, _onnx_operators(Path(options.network))
    from rrnet_nni.evaluators.space_operators import network_operators

    backbone, space_options, choices, title = _resolved(options)
    return title, network_operators(backbone, space_options, choices)


def load_space(options: argparse.Namespace) -> tuple[str, SpaceOperators]:
    """The search space that the command line names: of a backbone, or the one that an architecture was found in.

    Raises:
        Refusal: as `load_operators`; an ONNX file has no choices left.
    """
    if _is_onnx(options):
        raise Refusal(f"{options.network}: an ONNX file has no choices left: name a backbone or an architecture.json")
    for option in CHOICE_OPTIONS:
        if getattr(options, option) is not None:
            raise Refusal(f"--{option} chooses one candidate, and a search space has them all: leave it away")
    from rrnet_nni.evaluators.space_operators import describe_space

    backbone, space_options, _, _ = _resolved(options)
    return backbone, describe_space(backbone, space_options)


def _is_onnx(options: argparse.Namespace) -> bool:
    if not options.network.endswith(".onnx"):
        return False
    _refuse_options(options)
    return True


def _refuse_options(options: argparse.Namespace) -> None:
    for name in (*CHOICE_OPTIONS, *SPACE_OPTIONS):
        if getattr(options, name) is not None:
            option = name.replace("_", "-")
            raise Refusal(f"--{option} goes with a backbone's name, and {options.network} says that itself")


def _resolved(options: argparse.Namespace) -> tuple[str, SpaceOptions, dict[str, str], str]:
    """Backbone, its options, its choices and the title of what the command line names."""
    from rrnet_nni.search_spaces import SpaceOptions, fixed_choices

    name = options.network
    if name.endswith(".json") or "/" in name:
        _refuse_options(options)
        return _architecture(Path(name))
    given = {key: getattr(options, key) for key in SPACE_OPTIONS if getattr(options, key) is not None}
    space_options = SpaceOptions(**given)
    activation, pooling = options.activation or "relu", options.pooling or "maxpool"
    choices = fixed_choices(name, space_options, activation, pooling)
    return name, space_options, dict(choices), f"{name} ({activation}, {pooling})"


def _architecture(path: Path) -> tuple[str, SpaceOptions, dict[str, str], str]:
    from ..architecture import ARCHITECTURE, read_architecture

    path = path / ARCHITECTURE if path.is_dir() else path
    architecture, space_options = read_architecture(path)
    return architecture.backbone, space_options, dict(architecture.choices), str(path)


def replacement_distortions(network: str) -> dict[str, float] | None:
    """By label, what the polynomial in the place of an architecture's choice is expected to change, in nats per image.

    None where no search measured it beside the architecture.json.
    """
    if not (network.endswith(".json") or "/" in network) or network.endswith(".onnx"):
        return None
    from rrnet_nni.strategies.knapsack_search import DISTORTIONS_NAME, read_distortions

    from ..architecture import ARCHITECTURE, Architecture

    path = Path(network)
    folder = path if path.is_dir() else path.parent
    if not (folder / DISTORTIONS_NAME).exists():
        return None
    choices = Architecture.load(folder / ARCHITECTURE if path.is_dir() else path).choices
    measured = read_distortions(folder / DISTORTIONS_NAME)
    found = {}
    for label, chosen in choices.items():
        names = measured.get(label, {})
        other = "avgpool" if "avgpool" in names else "x2act"
        if chosen in names and other in names:
            found[label] = names[other] - names[chosen]
    return found


def _onnx_operators(path: Path) -> list[NamedOperator]:
    """The network as its author wrote it: MaxPool is not moved before ReLU, so that ReLUs are counted as elsewhere.

    The ends of a quantized model's integers count as where a build without calibration images computes them.
    """
    from rrnet_nni.fpga.compiler.fixed_point.saturation import keep_saturation
    from rrnet_nni.fpga.compiler.inventory import graph_operators
    from rrnet_nni.fpga.compiler.onnx.frontend import read_onnx
    from rrnet_nni.fpga.compiler.passes import run_passes

    graph, _ = run_passes(keep_saturation(read_onnx(path), None), disabled=("maxpool-before-relu",))
    return graph_operators(graph)
