"""The compiled kernels of the preprocessing: bit transposition and polynomial arithmetic."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np

from ..errors import Refusal
from ..ring.compiled import CompilationUnavailable, build_library

_HERE = Path(__file__).parent
_OPTIONS = ("-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared")


@functools.cache
def load_kernels(name: str) -> ctypes.CDLL:
    """The library compiled from `name`.c for this CPU.

    Raises:
        Refusal: there is no C compiler, or it fails.
    """
    try:
        return ctypes.CDLL(str(build_library(_HERE / f"{name}.c", _OPTIONS)))
    except (CompilationUnavailable, OSError) as error:
        raise Refusal(f"two-party preprocessing needs a C compiler: {error}") from error


def address(array: np.ndarray) -> ctypes.c_void_p:
    """Where a contiguous array lies."""
    if not array.flags.c_contiguous:
        raise ValueError("a kernel needs a contiguous array")
    return ctypes.c_void_p(array.__array_interface__["data"][0])
