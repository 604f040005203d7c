"""RRNet: ReLU-reduced neural architecture search for two-party private inference, as an extension of NNI.

    import rrnet_nni as rrnet

    result = rrnet.train("digits.yml", "runs/first", activation="x2act", pooling="avgpool")
    print(rrnet.run(result.build, "photo.jpg").classes)

The functions are those of `rrnet_nni.door`; nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base.errors import ExecutionFault, Refusal
    from .door import Classified, compile, latency, run, search, train

__version__ = "0.1.0"

__all__ = ["Classified", "ExecutionFault", "Refusal", "compile", "latency", "run", "search", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "base.errors" if name in ("ExecutionFault", "Refusal") else "door"
    return getattr(import_module(f".{home}", __name__), name)
