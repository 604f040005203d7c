"""Workarounds for the libraries below us, each with its reason and the test that shows when it can go.

Every room that imports NNI or Lightning calls `prepare_libraries()` in its `__init__`, before anything else does.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

_KEPT_ALIVE: list[object] = []


def prepare_libraries() -> None:
    """Make the installed libraries importable together; cheap, and safe to call again."""
    _define_missing_torchvision_operators()


def _define_missing_torchvision_operators() -> None:
    """Declare the two operators that `import torchvision` needs where its extension does not load.

    torchvision's only wheel links CUDA libraries. Beside a CPU build of torch its extension is not loaded, and
    `import torchvision`, also from torchmetrics and so from Lightning and NNI, dies with `operator torchvision::nms
    does not exist`. The schemas alone let models, datasets and transforms work.
    """
    if _KEPT_ALIVE:
        return
    import torch

    if hasattr(torch.ops.torchvision, "nms") or _torchvision_extension_loads():
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT_ALIVE.append(library)


def _torchvision_extension_loads() -> bool:
    import torch

    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return False
    for extension in Path(package.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(extension)
        except OSError:
            return False
        return True
    return False
