"""Torchvision's classifiers without trained weights, for `model_zoo.py` and `imagenet.py`: names, images, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: Families that the compiler has no operators for: attention, and layer normalization of every pixel.
LEFT_OUT = ("vit_", "swin", "maxvit", "convnext")
#: So large that a row takes an hour; by name with --networks.
HUGE = (
    *(f"efficientnet_{size}" for size in ("b5", "b6", "b7", "v2_m", "v2_l")),
    *("regnet_x_16gf", "regnet_x_32gf", "regnet_y_16gf", "regnet_y_32gf", "regnet_y_128gf"),
)
ADAPTING_IMAGES, TEST_IMAGES = 16, 4
#: Published pixels of models that are not made for 224.
IMAGE_SIZES = {
    "inception_v3": 299,
    **{f"efficientnet_b{i}": size for i, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))},
    **{"efficientnet_v2_s": 384, "efficientnet_v2_m": 480, "efficientnet_v2_l": 480},
}


def network_names() -> list[str]:
    """The classifiers of torchvision that the table is about, those with the fewest parameters first."""
    from torchvision import models

    names = [name for name in models.list_models(module=models) if not name.startswith(LEFT_OUT) and name not in HUGE]
    return sorted(names, key=lambda name: (_parameters(name), name))


def _parameters(name: str) -> int:
    from torchvision import models

    return int(models.get_model_weights(name).DEFAULT.meta["num_params"])  # type: ignore[attr-defined]


def adapted(name: str) -> Any:
    """The network with untrained weights, and BatchNorm statistics of random images."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    size = IMAGE_SIZES.get(name, 224)
    extra = {"transform_input": False} if name in ("googlenet", "inception_v3") else {}
    if extra:
        extra["aux_logits"] = False
    network = models.get_model(name, weights=None, **({"init_weights": True} if extra else {}), **extra)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average of all batches
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    network.train()
    with torch.no_grad():
        for _ in range(ADAPTING_IMAGES // 8):
            network(torch.randn(8, 3, size, size))
    return network.eval()


def float16_losses(name: str) -> dict[str, Any]:
    """What the network itself loses where weights and activations are float16: of its logits, and of its classes."""
    import torch

    network, size = adapted(name), IMAGE_SIZES.get(name, 224)
    with torch.no_grad():
        images = [torch.from_numpy(image)[None] for image in test_images(size)]
        wanted = torch.cat([network(image) for image in images])
        network.half()
        found = torch.cat([network(image.half()).float() for image in images])
    same = int((found.argmax(dim=1) == wanted.argmax(dim=1)).sum())
    return {"error": relative_error(found.numpy(), wanted.numpy()), "same_class": same}


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference, as a part of that of what is wanted; three digits."""
    return float(f"{np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2)):.3g}")


def last_words(stderr: str) -> str:
    """What a command that failed said last."""
    return (stderr.strip().splitlines() or ["no message"])[-1][:300]


def test_images(size: int) -> np.ndarray:
    """Images that no statistics and no format have seen."""
    return np.random.default_rng(1).normal(size=(TEST_IMAGES, 3, size, size)).astype(np.float32)


def export(name: str, path: Path) -> int:
    """Write the network's ONNX file; returns the side of its images."""
    import torch

    size = IMAGE_SIZES.get(name, 224)
    torch.onnx.export(
        adapted(name),
        (torch.zeros(1, 3, size, size),),
        str(path),
        dynamo=False,
        opset_version=17,
        verbose=False,
        input_names=["image"],
        output_names=["logits"],
    )
    return size
