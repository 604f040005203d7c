"""The project from Python, in five functions: `import rrnet_nni as rrnet`, then `rrnet.search(...)` and so on.

Each does what the command of its name does, takes the same files and names, and returns a dataclass; what is wrong is a
`Refusal`, with the sentence that the command prints.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .base.extras import refuses_without_libraries

if TYPE_CHECKING:
    from .fpga.compiler.compile import Compilation
    from .fpga.cost.network import NetworkCost
    from .reports.results import Result


@dataclass(frozen=True)
class Classified:
    """What two parties computed.

    Attributes:
        logits: [N, classes]; a one for the class and zeros where the build reveals the argmax alone.
        classes: the found class of every image: its name, or its number where the build knows no names.
        probabilities: of those classes; None where the build reveals the argmax alone.
        accuracy: part of the images whose class is the right one; None where the right ones are not known.
        bytes_sent: by party 0 and party 1.
        rounds: messages that one of the parties had to wait for.
        online_s, offline_s: seconds of the execution, and of its preparation.
    """

    logits: np.ndarray
    classes: tuple[str, ...]
    probabilities: tuple[float | None, ...]
    accuracy: float | None
    bytes_sent: tuple[int, int]
    rounds: int
    online_s: float
    offline_s: float


@refuses_without_libraries
def search(task: Path | str, output: Path | str, latency_weight: float | None = None) -> Result:
    """Search the task at one λ (1/ms; None: the task file's), then train, export and compile what was found."""
    from . import pipeline
    from .base.files import output_folder
    from .starting_files import task_named
    from .task import load_task
    from .workbench import prepare

    read = load_task(task_named(Path(task)))
    folder = output_folder(Path(output))
    bench = prepare(read)
    weight = read.search.latency_weight if latency_weight is None else latency_weight
    lesson = pipeline.teacher_of(bench)
    architecture = pipeline.search_architecture(bench, weight, folder, initial_weights=lesson.get("initial_weights"))
    return pipeline.finish(bench, architecture, folder, **lesson)


@refuses_without_libraries
def train(
    task: Path | str,
    output: Path | str,
    architecture: Path | str | None = None,
    *,
    activation: str = "relu",
    pooling: str = "maxpool",
) -> Result:
    """Train one architecture.json on the task's images, or without one the same choice everywhere, and compile it."""
    from . import pipeline
    from .architecture import read_architecture
    from .base.files import output_folder
    from .search_spaces import fixed_choices
    from .starting_files import task_named
    from .task import load_task
    from .workbench import prepare

    read = load_task(task_named(Path(task)))
    folder = output_folder(Path(output))
    if architecture is None:
        bench = prepare(read)
        chosen = pipeline.describe(bench, fixed_choices(read.backbone, bench.space, activation, pooling))
    else:
        found, space = read_architecture(Path(architecture))
        bench = prepare(replace(read, backbone=found.backbone, space=space))
        bench.check_images(space, str(architecture))
        chosen = pipeline.priced_again(bench, found)
    return pipeline.finish(bench, chosen, folder, **pipeline.teacher_of(bench))


@refuses_without_libraries
def compile(
    model: Path | str,
    output: Path | str,
    *,
    device: str = "zcu104",
    protocol: str = "beaver-ot",
    calibrate: Path | str | None = None,
    preprocess: Path | str | None = None,
) -> Compilation:
    """Compile an ONNX classifier into a build; `calibrate` and `preprocess` are files as of `rrnet-2pc-compile`."""
    from .fpga.compiler.compile import compile_model

    return compile_model(model, output, device, protocol, calibrate, images_file=preprocess)


@refuses_without_libraries
def run(
    build: Path | str,
    images: Path | str | np.ndarray,
    *,
    protocol: str | None = None,
    preprocessing: str | None = None,
    units: str | None = None,
) -> Classified:
    """Let two parties, processes of their own, classify a picture, a folder of them, or an array.

    Args:
        protocol: None takes the build's.
        preprocessing: `dealer` or `two-party`.
        units: what the numbers of an array mean: `pixels`, `fractions` or `model`.
    """
    from .experiments.finishing import run_json

    options = {"--protocol": protocol, "--preprocessing": preprocessing, "--units": units}
    arguments = [word for name, value in options.items() if value is not None for word in (name, value)]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "images.npy" if isinstance(images, np.ndarray) else Path(images)
        if isinstance(images, np.ndarray):
            np.save(path, images)
        answer = run_json("rrnet-2pc-run", [str(build), "--input", str(path), *arguments], captured=True)
    found = answer["predictions"]
    return Classified(
        logits=np.asarray(answer["logits"], dtype=np.float64).reshape(len(found), -1),
        classes=tuple(one["class"] for one in found),
        probabilities=tuple(one["probability"] for one in found),
        accuracy=answer.get("accuracy"),
        bytes_sent=(answer["bytes_sent"][0], answer["bytes_sent"][1]),
        rounds=answer["rounds"],
        online_s=answer["online_s"],
        offline_s=answer["offline_s"],
    )


@refuses_without_libraries
def latency(
    network: Path | str,
    *,
    device: str = "zcu104",
    protocol: str = "beaver-ot",
    activation: str | None = None,
    pooling: str | None = None,
    batch: int = 1,
) -> NetworkCost:
    """Price a backbone's name (with choices), an architecture.json or an ONNX file on a device pair."""
    from .cli.networks import SPACE_OPTIONS, load_operators
    from .fpga.cost.network import network_cost
    from .fpga.devices import load_device
    from .fpga.protocols import get_costs

    named = argparse.Namespace(network=str(network), activation=activation, pooling=pooling)
    for option in SPACE_OPTIONS:
        setattr(named, option, None)
    _, operators = load_operators(named)
    return network_cost(operators, load_device(device), get_costs(protocol), batch)
