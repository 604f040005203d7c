"""Networks that a command line names: a backbone, an architecture.json or an ONNX file, as operator shapes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    group.add_argument(
        "--activation", metavar="NAME", help="candidate of every activation, such as relu or x2act (default: relu)"
    )
    group.add_argument(
        "--pooling", choices=("maxpool", "avgpool"), help="candidate of every pooling (default: maxpool)"
    )
    add_space_options(group)


def add_space_options(group: argparse._ActionsContainer) -> None:
    """Add those of `SPACE_OPTIONS`."""
    group.add_argument(
        "--image-size", type=int, metavar="N", help="height and width of an image in pixels (default: 32)"
    )
    group.add_argument("--classes", type=int, metavar="N", help="outputs of the classifier (default: 10)")
    group.add_argument("--channels", type=int, metavar="N", help="channels of an image (default: 3)")
    group.add_argument("--width", type=float, metavar="X", help="multiplier of all widths (default: 1)")
    group.add_argument("--groups", type=int, metavar="G", help="slices of channels of every activation (default: 1)")
    group.add_argument("--stem", help="the backbone's stem: pool, plain, imagenet (default: the backbone's own)")


def given_space_options(options: argparse.Namespace, names: Sequence[str] = SPACE_OPTIONS) -> dict[str, Any]:
    """What the command line says of a backbone's options."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


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
            raise Refusal(f"--{option} chooses one candidate, but a search space has them all: drop it")
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
            raise Refusal(
                f"--{option} belongs to a backbone's name, and {options.network} is a file that says it: drop it"
            )


def _resolved(options: argparse.Namespace) -> tuple[str, SpaceOptions, dict[str, str], str]:
    """Backbone, its options, its choices and the title of what the command line names."""
    from rrnet_nni.search_spaces import SpaceOptions, fixed_choices

    from ..architecture import read_architecture

    name = options.network
    if (file := _architecture_file(name)) is not None:
        _refuse_options(options)
        architecture, space_options = read_architecture(file)
        return architecture.backbone, space_options, dict(architecture.choices), str(file)
    space_options = SpaceOptions(**given_space_options(options))
    activation, pooling = options.activation or "relu", options.pooling or "maxpool"
    choices = fixed_choices(name, space_options, activation, pooling)
    return name, space_options, dict(choices), f"{name} ({activation}, {pooling})"


def _architecture_file(network: str) -> Path | None:
    """The architecture.json that is named, itself or by its folder; None for a backbone's name and an ONNX file."""
    from ..architecture import ARCHITECTURE

    if not (network.endswith(".json") or "/" in network) or network.endswith(".onnx"):
        return None
    path = Path(network)
    return path / ARCHITECTURE if path.is_dir() else path


def replacement_distortions(network: str) -> dict[str, float] | None:
    """By label, what the polynomial in the place of an architecture's choice is expected to change, in nats per image.

    None where no search measured it beside the architecture.json.
    """
    if (file := _architecture_file(network)) is None:
        return None
    from rrnet_nni.strategies.knapsack_search import DISTORTIONS_NAME, read_distortions

    from ..architecture import Architecture

    distortions = file.with_name(DISTORTIONS_NAME)
    if not distortions.exists():
        return None
    choices = Architecture.load(file).choices
    measured = read_distortions(distortions)
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
