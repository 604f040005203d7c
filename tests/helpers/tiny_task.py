"""A tiny gated space, its prices and an evaluator: enough to run every line of a search in seconds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from rrnet_nni.evaluators.expected_latency import ExpectedLatency

torch.set_num_threads(1)


def tiny_latency() -> ExpectedLatency:
    def cost(latency_ms: float, comparisons: int) -> Any:
        return SimpleNamespace(latency_ms=latency_ms, comparisons=comparisons)

    table = SimpleNamespace(
        fixed_ms=1.0,
        entries={
            "act1": {"relu": cost(4.0, 400), "x2act": cost(0.5, 0)},
            "act2": {"relu": cost(2.0, 200), "x2act": cost(0.25, 0)},
            "pool": {"maxpool": cost(3.0, 300), "avgpool": cost(0.0, 0)},
        },
    )
    return ExpectedLatency(table, relus={"act1": {"relu": 400}, "act2": {"relu": 200}})


def tiny_space() -> Any:
    from nni.nas.nn.pytorch import LayerChoice, ModelSpace
    from torch import nn

    from rrnet_nni.search_spaces import NormalizedX2act, PlainX2act

    class TinySpace(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(4)
            self.act1 = LayerChoice({"relu": nn.ReLU(), "x2act": PlainX2act("act1", (4, 8, 8))}, label="act1")
            self.pool = LayerChoice({"maxpool": nn.MaxPool2d(2), "avgpool": nn.AvgPool2d(2)}, label="pool")
            self.conv2 = nn.Conv2d(4, 8, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(8)
            self.act2 = LayerChoice({"relu": nn.ReLU(), "x2act": NormalizedX2act("act2", 8)}, label="act2")
            self.drop = nn.Dropout(0.1)
            self.head = nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.pool(self.act1(self.norm1(self.conv1(x))))
            x = self.act2(self.norm2(self.conv2(x)))
            return self.head(self.drop(x.mean(dim=(2, 3))))

    return TinySpace()


def tiny_evaluator(epochs: int, batch_size: int = 32) -> Any:
    from nni.nas.evaluator.pytorch import Classification, DataLoader
    from sklearn.datasets import load_digits
    from torch.utils.data import TensorDataset

    digits = load_digits()
    images = torch.tensor(digits.images[:400], dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target[:400])
    return Classification(
        learning_rate=0.05,
        weight_decay=5e-4,
        optimizer=_MomentumSGD,
        train_dataloaders=DataLoader(TensorDataset(images[:200], labels[:200]), batch_size=batch_size, shuffle=True),
        val_dataloaders=DataLoader(TensorDataset(images[200:], labels[200:]), batch_size=batch_size, shuffle=True),
        num_classes=10,
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _MomentumSGD(torch.optim.SGD):
    """NNI's `Classification` passes learning rate and weight decay only."""

    def __init__(self, params: Any, lr: float, weight_decay: float) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, momentum=0.9)


def tiny_search(strategy: Any, epochs: int = 4, seed: int = 0, evaluator: Any = None) -> Any:
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.space import RawFormatModelSpace

    torch.manual_seed(seed)
    strategy(RawFormatModelSpace(tiny_space(), evaluator or tiny_evaluator(epochs)), SequentialExecutionEngine())
    return strategy
