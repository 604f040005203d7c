"""What a trained network is worth on images that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .images.data import ImageDataset, Images

#: Logits beyond this are an explosion: the squares of some layers ran away on this image.
EXPLOSION_BOUND = 1e3


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over `images` images, and how many of them exploded.

    An exploded image has a logit that is not finite or beyond ±1000. One or two of them among thousands do not show in
    the accuracy, and ruin a mean loss and every calibrated range.
    """

    images: int
    correct: int
    exploded: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.images


@torch.inference_mode()
def evaluate(
    network: nn.Module, dataset: ImageDataset, images: Images | None = None, labels: Tensor | None = None
) -> Evaluation:
    """Evaluate in eval mode on the dataset's test images, or on others of its kind (uint8 [N, C, H, W])."""
    images = dataset.test_images if images is None else images
    labels = dataset.test_labels if labels is None else labels
    training = network.training
    network.eval()
    correct = exploded = 0
    for batch, answers in dataset.loader(images, labels, 500):
        logits = network(batch).float()
        correct += int((logits.argmax(1) == answers).sum())
        exploded += int((~(logits.abs() <= EXPLOSION_BOUND).all(1)).sum())
    network.train(training)
    return Evaluation(len(labels), correct, exploded)
