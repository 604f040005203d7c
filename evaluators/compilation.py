"""`torch.compile` with failures that say what is missing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rrnet_nni.base.errors import ExecutionFault, Refusal


def compiled_forward(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The model's forward pass, compiled at its first call; weights and their names stay the model's own.

    Raises:
        Refusal: there is no C++ compiler, which torch.compile needs on every device.
    """
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise Refusal(
            f"compile: torch.compile needs a C++ compiler, and {compiler} is not there: install it, name another one "
            "in the environment variable CXX, or train with compile: false"
        )
    compiled = torch.compile(model.forward)

    def forward(images: Tensor) -> Tensor:
        try:
            return compiled(images)  # type: ignore[no-any-return]
        except RuntimeError as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = " ".join(str(error).split())[:160]
            raise ExecutionFault(f"compile: torch.compile failed ({reason}): train with compile: false") from error

    return forward
