"""Libraries that only some rooms need, and the extra of the package that installs them.

`pip install rrnet-nni` is the hardware and its protocols: it compiles, prices and executes networks that exist.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from .errors import Refusal

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

#: Top-level modules of every extra that a user may meet missing.
EXTRAS = {
    "search": (
        *("torch", "torchvision", "pytorch_lightning", "nni", "onnxscript", "onnxruntime", "sklearn", "tensorboard"),
    ),
    "figures": ("matplotlib",),
    "optimal": ("ortools",),
}


def missing_library(error: ModuleNotFoundError) -> Refusal | None:
    """What to tell a user whose command met a library of an extra that is not installed; None for any other module."""
    library = (error.name or "").split(".")[0]
    for extra, libraries in EXTRAS.items():
        if library in libraries:
            return Refusal(f"this needs {library}, which is not installed: pip install 'rrnet-nni[{extra}]'")
    return None


def refuses_without_libraries(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """A function that raises a `Refusal` where a library of an extra is missing."""

    @wraps(function)
    def called(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return function(*args, **kwargs)
        except ModuleNotFoundError as error:
            if refusal := missing_library(error):
                raise refusal from error
            raise

    return called
