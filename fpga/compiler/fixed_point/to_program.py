"""A graph after its passes becomes the program that is executed, in formats that follow from calibration."""

from __future__ import annotations

import numpy as np

from ...program import ARGMAX, Program
from ...program.revealed import with_argmax
from ..graph import Graph
from .calibration import Calibration
from .formats import choose_formats
from .lower import lower
from .rings import narrow_rings


def to_program(
    graph: Graph, calibration: Calibration, narrow: bool, constants: bool = True
) -> tuple[Program, dict[str, np.ndarray]]:
    """The program and its int32 constants by name; with `narrow` every tensor in the smallest ring that holds it.

    Without `constants` the program is described alone.

    Raises:
        Refusal: no format fits some tensor, or the output has no argmax that the graph asks for.
    """
    program, weights = lower(graph, choose_formats(graph, calibration, narrow), constants)
    if narrow:
        program = narrow_rings(program, calibration.seen)
    return (with_argmax(program) if graph.reveals == ARGMAX else program), weights
