"""What our training costs beside the bare minimum: four ratios, each of two things measured in turns in one run.

    python benchmarks/search/training.py [--backbone resnet18 --width 0.25] [--json]

1. One training step of `train_network` (Lightning, range loss, guards, schedule) against a bare PyTorch loop with the
   same frozen network, the same batches and the same optimizer. Bar: at most 1.10.
2. Images per second of `BatchLoader` (crop, flip, normalization) against a torchvision transform in a DataLoader
   without workers, both on one core. Bar: at least 10.
3. A training step of the same network in bfloat16 with tensors that lie as N, H, W, C against one in float32: what
   `precision: auto` decides by.
4. A training step of the all-polynomial network in bfloat16 with X2act by torch against one by the compiled kernels.

Seconds are of the processor, on one thread, and a ratio is the median of the ratios of neighbours in time, so that
other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rrnet_nni.evaluators.arithmetic import Arithmetic, measured_gains
from rrnet_nni.evaluators.images.batches import Augmentation, BatchLoader
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.module import TrainingOptions
from rrnet_nni.evaluators.parameters import parameter_groups
from rrnet_nni.evaluators.training import EpochProgress, train_network
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def training_ratio(backbone: str, width: float, activation: str, pooling: str, rounds: int) -> dict[str, float]:
    """Seconds of an epoch of ours over those of a bare epoch beside it, median over the epochs of one training run.

    The bare loop trains a copy of the network for one epoch after each of ours, so that both see the same machine.
    """
    dataset = load_dataset(DataOptions("synthetic"))
    space = SpaceOptions(width=width)
    network = build_network(backbone, space, fixed_choices(backbone, space, activation, pooling))
    options = TrainingOptions(epochs=rounds + 1, batch_size=64, precision="float32")
    bare = BareLoop(copy.deepcopy(network), dataset, options)
    ours_s: list[float] = []
    bare_s: list[float] = []
    resumed = 0.0

    def after_our_epoch(step: EpochProgress) -> None:
        nonlocal resumed
        ours_s.append(time.process_time() - resumed)
        bare_s.append(seconds(bare.epoch))
        resumed = time.process_time()

    train_network(network, dataset, options, progress=after_our_epoch)
    # The first epoch of each pays for the start: the trainer, memory pools, momentum buffers.
    ours_s, bare_s = ours_s[1:], bare_s[1:]
    ratio = statistics.median(mine / plain for mine, plain in zip(ours_s, bare_s))
    return {"ours_s": statistics.median(ours_s), "bare_s": statistics.median(bare_s), "ratio": ratio}


def precision_ratio(backbone: str, width: float, activation: str, pooling: str, rounds: int) -> float:
    """How many times as fast a step of 128 images is in bfloat16 as in float32, median of the rounds."""
    space = SpaceOptions(width=width)
    network = build_network(backbone, space, fixed_choices(backbone, space, activation, pooling))
    images = torch.randn(128, space.channels, space.image_size, space.image_size)
    plain, fast = Arithmetic("float32", channels_last=False), Arithmetic("bfloat16", channels_last=True, fused=True)
    return statistics.median(measured_gains(network, images, plain, [fast])[0] for _ in range(rounds))


def kernel_ratio(backbone: str, width: float, rounds: int) -> float:
    """How many times as fast a step of 128 images is where compiled kernels compute X2act, median of the rounds."""
    space = SpaceOptions(width=width)
    network = build_network(backbone, space, fixed_choices(backbone, space, "x2act", "avgpool"))
    images = torch.randn(128, space.channels, space.image_size, space.image_size)
    by_torch, fused = (Arithmetic("bfloat16", channels_last=True, fused=kernels) for kernels in (False, True))
    return statistics.median(measured_gains(network, images, by_torch, [fused])[0] for _ in range(rounds))


class BareLoop:
    """Forward, cross-entropy, backward, SGD, and nothing else."""

    def __init__(self, network: nn.Module, dataset: ImageDataset, options: TrainingOptions) -> None:
        self.network = network
        groups = parameter_groups(network, 1e-3, options.weight_decay, options.x2act_factor)
        self.optimizer = torch.optim.SGD(groups, momentum=options.momentum, nesterov=True)
        self.loader = dataset.loader(dataset.train_images, dataset.train_labels, options.batch_size, training=True)

    def epoch(self) -> None:
        for images, labels in self.loader:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.network(images), labels).backward()
            self.optimizer.step()


def input_ratio(images: int, rounds: int) -> dict[str, float]:
    """Our images per second over those of the usual transform pipeline, median of alternating rounds."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (images, 3, 32, 32), dtype=np.uint8))
    labels = torch.zeros(images, dtype=torch.int64)
    ours = BatchLoader(pixels, labels, 128, MEAN, STD, augmentation=Augmentation(4, flip=True), shuffle=True)
    theirs = transform_loader(pixels, labels)
    rates: dict[str, list[float]] = {"ours": [], "torchvision": []}
    for _ in range(rounds):
        rates["torchvision"].append(images / seconds(lambda: exhaust(theirs)))
        rates["ours"].append(images / seconds(lambda: exhaust(ours)))
    ratio = statistics.median(mine / other for mine, other in zip(rates["ours"], rates["torchvision"]))
    return {
        "ours_images_per_s": statistics.median(rates["ours"]),
        "torchvision_images_per_s": statistics.median(rates["torchvision"]),
        "ratio": ratio,
    }


def transform_loader(pixels: Tensor, labels: Tensor) -> Any:
    """The pipeline of torchvision's CIFAR-10 examples: a transform for each PIL image, collated by a DataLoader."""
    from PIL import Image
    from torchvision import transforms

    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    arrays = pixels.permute(0, 2, 3, 1).numpy()

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(arrays)

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            return transform(Image.fromarray(arrays[index])), labels[index]

    return torch.utils.data.DataLoader(Images(), batch_size=128, shuffle=True)


def exhaust(loader: Any) -> None:
    for _ in loader:
        pass


def seconds(action: Callable[[], None]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=9, help="timed epochs of each loop, and passes of each pipeline")
    parser.add_argument("--count", type=int, default=4096, help="images of a round of the input pipelines")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kinds = {"relu": ("relu", "maxpool"), "x2act": ("x2act", "avgpool")}
    answer: dict[str, Any] = {
        f"step_{kind}": training_ratio(options.backbone, options.width, *choice, options.rounds)
        for kind, choice in kinds.items()
    }
    for kind, choice in kinds.items():
        answer[f"bfloat16_{kind}"] = precision_ratio(options.backbone, options.width, *choice, options.rounds)
    answer["kernels_x2act"] = kernel_ratio(options.backbone, options.width, options.rounds)
    answer["input"] = input_ratio(options.count, options.rounds)
    if options.json:
        print(json.dumps(answer, indent=2))
        return
    for kind in kinds:
        measured = answer[f"step_{kind}"]
        print(f"training step, {options.backbone} {kind}: {measured['ratio']:.3f}x a bare PyTorch loop (bar: 1.10)")
    for kind in kinds:
        ratio = answer[f"bfloat16_{kind}"]
        print(f"training step, {options.backbone} {kind}: {ratio:.2f} times as fast in bfloat16 as in float32")
    print(
        f"training step, {options.backbone} x2act: {answer['kernels_x2act']:.2f} times as fast by compiled kernels as "
        "by torch"
    )
    rates = answer["input"]
    print(
        f"input pipeline: {rates['ours_images_per_s']:,.0f} images/s, {rates['ratio']:.1f}x torchvision's "
        f"{rates['torchvision_images_per_s']:,.0f} (bar: 10)"
    )


if __name__ == "__main__":
    main()
