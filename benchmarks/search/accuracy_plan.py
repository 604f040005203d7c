"""Which networks `accuracy.py` trains, in the order of their worth, and by which recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rrnet_nni.evaluators.training import TrainingOptions

KINDS = {"relu": ("relu", "maxpool"), "relu+avgpool": ("relu", "avgpool"), "x2act": ("x2act", "avgpool")}
#: Training images that `held-out/` holds out to judge recipes by.
HELD_OUT = 5000
BASE = TrainingOptions(batch_size=128, learning_rate=0.1, label_smoothing=0.1, precision="bfloat16", channels_last=True)
#: Fine-tuning asks the teacher for half of the loss. Chosen on the held-out images, as is the rate.
TUNING: Mapping[str, Any] = {"distillation_weight": 0.5}
#: What polynomial networks do besides, named so that rows say it: where the range loss began at 8 deviations, one
#: training image in 25,000 exploded; from 6 on none of 50,000 did.
POLYNOMIAL: Mapping[str, Any] = {"range_bound": 6.0}
#: The last epoch with statistics that stand still and an eighth of the images of more contrast: for deep networks, in
#: which one test image of 10,000 exploded without.
SETTLED: Mapping[str, Any] = {"settling_epochs": 1, "stretch": 0.4}
#: What `held-out/` compares: name -> kind and what differs from `TUNING`.
CANDIDATES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "control": ("relu", {}),
    "relu+avgpool": ("relu+avgpool", {}),
    "x2act": ("x2act", {}),
    "wider-range": ("x2act", {"range_bound": 8.0}),
    "weaker-range": ("x2act", {"range_weight": 0.02}),
    "stretched": ("x2act", {"stretch": 0.5}),
    "settled": ("x2act", SETTLED),
    "narrower-range": ("x2act", {"range_bound": 4.5}),
    "features": ("x2act", {"feature_weight": 1.0}),
    "mostly-taught": ("x2act", {"distillation_weight": 0.9, "label_smoothing": 0.0}),
}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        key: its name, and its folder under the cache.
        kind: of `KINDS`.
        start: key of the run whose network is initial weights and teacher; None trains from scratch.
        training: what differs from `BASE`, apart from epochs and seed.
        choices: the candidate of every gate, in place of those of `kind`.
    """

    key: str
    backbone: str
    width: float
    kind: str
    epochs: int
    seed: int = 0
    start: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] | None = None

    @property
    def held_out(self) -> bool:
        return self.key.startswith("held-out/")

    @property
    def after(self) -> str | None:
        """Key of the run that must be finished before this one begins."""
        return self.start

    def options(self) -> TrainingOptions:
        return replace(BASE, epochs=self.epochs, seed=self.seed, **self.training)


def choice() -> Iterator[Run]:
    """The choice of the recipe: 8 epochs of ReLU and 5 of fine-tuning, judged on held-out training images."""
    teacher = Run("held-out/teacher", "resnet18", 0.25, "relu", 8)
    yield teacher
    for name, (kind, differences) in CANDIDATES.items():
        tuned = {**TUNING, **differences}
        yield replace(teacher, key=f"held-out/{name}", kind=kind, epochs=5, start=teacher.key, training=tuned)


def family(
    name: str, backbone: str, width: float, seed: int, epochs: int, training: Mapping[str, Any] | None = None
) -> Iterator[Run]:
    """An all-ReLU network from scratch, and what is fine-tuned from it: polynomial, control, ReLU with AvgPool.

    All three train for the same number of epochs in all, and learn from the same teacher. `training` is what all four
    do otherwise than `BASE`.
    """
    scratch = dict(training or {})
    teacher = Run(f"{name}/seed{seed}/teacher", backbone, width, "relu", epochs, seed, training=scratch)
    tuned = replace(teacher, start=teacher.key, training={**scratch, **TUNING})
    yield teacher
    yield replace(tuned, key=f"{name}/seed{seed}/x2act", kind="x2act", training={**tuned.training, **POLYNOMIAL})
    yield replace(tuned, key=f"{name}/seed{seed}/control")
    yield replace(tuned, key=f"{name}/seed{seed}/relu+avgpool", kind="relu+avgpool")


def judged() -> Iterator[Run]:
    """The runs that are judged on the test images, once, the most important first."""
    half = [run for seed in (0, 1, 2) for run in family("resnet18-half", "resnet18", 0.5, seed, 10)]
    yield from sorted(half, key=lambda run: run.kind == "relu+avgpool")
    for backbone in ("resnet18", "mobilenet_v2", "vgg16", "resnet34", "resnet50"):
        yield from family(f"{backbone}-quarter", backbone, 0.25, 0, 10)
    yield from family("resnet18-full", "resnet18", 1.0, 0, 10)
    for backbone in ("vgg16", "resnet50"):
        run = next(run for run in family(f"{backbone}-quarter", backbone, 0.25, 0, 10) if run.kind == "x2act")
        yield replace(run, key=run.key.replace("x2act", "settled"), training={**run.training, **SETTLED})


def plan() -> tuple[Run, ...]:
    return (*choice(), *judged())
