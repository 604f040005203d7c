"""What the paper publishes of latency, to compare with: Sec. IV-A and Fig. 3(b), CIFAR-10, two ZCU104 at 1 GB/s."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedLatency:
    """All-ReLU with MaxPool in ms, and how many times faster all-X2act with AvgPool is."""

    network: str
    all_relu_ms: float
    speed_up: float

    def latency_ms(self, activation: str) -> float:
        """Latency with `activation` ("relu" or "x2act") everywhere."""
        return self.all_relu_ms if activation == "relu" else self.all_relu_ms / self.speed_up


PUBLISHED_LATENCIES = (
    PublishedLatency("vgg16", 382, 20),
    PublishedLatency("mobilenet_v2", 1543, 15),
    PublishedLatency("resnet18", 324, 26),
    PublishedLatency("resnet34", 435, 19),
    PublishedLatency("resnet50", 922, 25),
)

#: Constants fitted to these alone must predict the others: the check that the model is more than an interpolation.
FITTED_NETWORKS = ("vgg16", "mobilenet_v2", "resnet18")
