"""Compiled or portable: every kernel that exists in both forms is chosen here, in one way.

`RRNET_RING_BACKEND` says what is wanted: `compiled` (C, the default where a compiler works), `limbs` (NumPy and Python
alone), or `cuda` (ring products on a GPU, the rest as by default). A compiled form is used only after it agreed with
the portable one on a small sample.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rrnet_nni.base.errors import Refusal

from .library import CompilationUnavailable, Signatures, build_library, load_library

SWITCH = "RRNET_RING_BACKEND"
COMPILED, LIMBS, CUDA = "compiled", "limbs", "cuda"
BACKENDS = (COMPILED, LIMBS, CUDA)
_log = logging.getLogger(__name__)

Kernels = TypeVar("Kernels")


def wanted_backend() -> str | None:
    """What the environment asks for; None where it asks for nothing.

    Raises:
        Refusal: it names no backend.
    """
    wanted = os.environ.get(SWITCH)
    if wanted is not None and wanted not in BACKENDS:
        raise Refusal(f"{SWITCH}={wanted} names no backend: expected one of {', '.join(BACKENDS)}")
    return wanted


def choose(
    compiled: Callable[[], Kernels], portable: Callable[[], Kernels], agrees: Callable[[Kernels], bool]
) -> Kernels:
    """The compiled form where it is wanted, can be built and passes its self-test; else the portable one.

    Raises:
        Refusal: the environment asks for the compiled form alone, and there is none that computes rightly.
    """
    wanted = wanted_backend()
    if wanted == LIMBS:
        return portable()
    try:
        kernels = compiled()
    except CompilationUnavailable as error:
        problem = str(error)
    else:
        if agrees(kernels):
            return kernels
        problem = f"{type(kernels).__name__} computes wrongly as it was compiled here; choose another compiler with CC"
        _log.warning("%s; NumPy does its work", problem)
    if wanted == COMPILED:
        raise Refusal(f"{SWITCH}={COMPILED}: {problem}")
    return portable()


def require(
    source: Path, options: tuple[str, ...], signatures: Signatures, agrees: Callable[[ctypes.CDLL], bool], work: str
) -> ctypes.CDLL:
    """The library of kernels that exist in C alone.

    Args:
        source: the C file.
        options: of the compiler.
        signatures: of its functions.
        agrees: its self-test.
        work: what cannot be done without it, for the refusal.

    Raises:
        Refusal: there is no C compiler, it fails, or what it makes computes wrongly.
    """
    try:
        library = load_library(build_library(source, options), signatures)
    except CompilationUnavailable as error:
        raise Refusal(f"{work} needs a C compiler: {error}") from error
    if not agrees(library):
        raise Refusal(
            f"{work}: {source.name} computes wrongly as it was compiled here; choose another compiler with CC"
        )
    return library
