"""RRNet: ReLU-reduced neural architecture search for two-party private inference, as an extension of NNI.

    import rrnet_nni as rrnet

    result = rrnet.train("digits.yml", "runs/first", activation="x2act", pooling="avgpool")
    print(rrnet.run(result.build, "photo.jpg").classes)

The functions are those of `rrnet_nni.door`; nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base.lazy import lazy_names

if TYPE_CHECKING:
    from .base.errors import ExecutionFault, Refusal
    from .door import Classified, compile, latency, run, search, train

__version__ = "0.1.0"

__all__ = ["Classified", "ExecutionFault", "Refusal", "compile", "latency", "run", "search", "train"]

_HOMES = {name: "base.errors" if name in ("ExecutionFault", "Refusal") else "door" for name in __all__}

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
