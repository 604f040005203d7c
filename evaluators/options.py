"""The settings of images, training and teacher: plain values, read from a task file before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, Le

from rrnet_nni.base.pictures import Resize
from rrnet_nni.base.settings import (
    Count,
    Natural,
    NotNegative,
    OpenShare,
    Positive,
    Share,
    WrongSetting,
    check_settings,
)
from rrnet_nni.search_spaces.options import RANGE_BOUND


@dataclass(frozen=True)
class DataOptions:
    """Which images.

    Attributes:
        name: `digits`, `cifar10`, `cifar100`, `imagenet`, `folder` or `synthetic`.
        root: the image folder, or where torchvision keeps its files (None: in the cache).
        image_size: height and width in pixels; None takes 16 for digits, 32 for synthetic images, 224 for ImageNet,
            and for a folder the median of its pictures' shorter sides, 224 at most. CIFAR images are 32 pixels.
        resize: how a folder's picture that is not square becomes one: `squeeze` scales both sides for themselves,
            `crop` takes the middle, `pad` adds black bars.
        test_fraction: of a folder without `train/` and `test/`, the part that is for the test.
        contrast_bound: the most contrast (`ImageFormat`) of an image outside of training, as a multiple of the
            deviation of all training images' values: an image of more is brought to it, so that no square explodes.
            None leaves images as they are.
        leave_out: files of a folder that are not taken, relative to `root`.
        train_images: limit of the training images, a seeded part with every class in proportion; None takes all.
        test_images: likewise of the test images.
        seed: draws those parts.
        workers: processes that decode the files of a folder or of ImageNet anew in every epoch, for what does not fit
            into memory; None decodes a folder once into memory, and takes one process per core for ImageNet.
        download: let torchvision fetch missing files.
        cache_dir: where decoded images are kept (None: `~/.cache/rrnet-nni`, or `$RRNET_CACHE`).
    """

    name: Literal["digits", "cifar10", "cifar100", "imagenet", "folder", "synthetic"] = "digits"
    root: str | None = None
    image_size: Count | None = None
    train_images: Count | None = None
    test_images: Count | None = None
    seed: Natural = 0
    workers: Natural | None = None
    download: bool = False
    cache_dir: str | None = None
    resize: Resize = "squeeze"
    test_fraction: OpenShare = 0.2
    leave_out: tuple[str, ...] = ()
    contrast_bound: Positive | None = 1.2

    def __post_init__(self) -> None:
        check_settings(self)
        if self.name == "folder" and self.root is None:
            raise WrongSetting(
                "the dataset folder needs root: the folder that has CLASS/*.jpg, or train/CLASS/*.jpg "
                "and test/CLASS/*.jpg"
            )
        if self.workers is not None and self.name not in ("folder", "imagenet"):
            raise WrongSetting(f"workers decode a folder or imagenet; {self.name} is held in memory")
        for field in ("resize", "test_fraction", "leave_out"):
            if self.name != "folder" and getattr(self, field) != getattr(DataOptions, field):
                raise WrongSetting(f"{field} belongs to an image folder, and {self.name} is none")
        if self.name.startswith("cifar") and self.image_size not in (None, 32):
            raise WrongSetting(f"{self.name} images are 32 pixels, not {self.image_size}")


@dataclass(frozen=True)
class TrainingOptions:
    """How weights are trained. The defaults train all-ReLU and all-polynomial networks alike.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: of the weights, at its peak; SGD, linear warm-up, then cosine to zero.
        momentum: of SGD (Nesterov).
        weight_decay: on kernels and matrices only.
        warmup_epochs: epochs of linear warm-up.
        label_smoothing: share of the target spread over all classes.
        x2act_factor: learning rate of w1, w2 and b relative to the weights'.
        range_weight: factor of the range loss Σ relu(|x| − range_bound)² / batch over the inputs of all X2act, at its
            full strength; in normalized bases x is what the first normalization leaves of the input.
        range_bound: inputs of X2act within ± this cost nothing.
        range_onset: share of the training after which the range loss grows from a hundredth of its strength. It has all
            of it when half of the rest is done.
        settling_epochs: of networks with X2act, the last so many epochs, in which all statistics stand still, as at
            inference, at a fiftieth of the learning rate and ten times the range loss: what explodes there shows.
        stretch: of networks with X2act, the part by which the contrast of an eighth of the images of a batch grows at
            most; it comes to that over the first four fifths of the training, or of the settling epochs where there are
            any: images are then spread in these alone. 0 leaves images alone.
        w1_bound: w1 is clamped to ± this after every step.
        clip_norm: largest norm of a step's gradient.
        distillation_weight: share of the loss that asks for the teacher's probabilities, where there is a teacher.
        distillation_temperature: softens the probabilities of both.
        feature_weight: factor of the distance between the features of both at the end of every stage, relative to the
            teacher's; 0 leaves features alone.
        precision: `float32`, `bfloat16` (mixed precision), or `auto`: bfloat16 on a GPU that has it; on a processor
            what a self-test finds this network fastest in, of float32 in both layouts and bfloat16.
        channels_last: lay tensors out as N, H, W, C, which convolutions of GPUs prefer; on a processor bfloat16 always
            does, and `auto` where it is faster.
        compile: run the network through `torch.compile`, which needs a C++ compiler; pays off in long runs.
        seed: of order and augmentation.
    """

    epochs: Count = 20
    batch_size: Count = 64
    learning_rate: Positive = 0.1
    momentum: Share = 0.9
    weight_decay: NotNegative = 5e-4
    warmup_epochs: NotNegative = 1.0
    label_smoothing: Share = 0.0
    x2act_factor: NotNegative = 0.01
    range_weight: NotNegative = 0.1
    range_bound: Positive = RANGE_BOUND
    range_onset: Share = 0.4
    settling_epochs: Natural = 0
    stretch: NotNegative = 0.0
    w1_bound: Positive = 0.1
    clip_norm: Positive = 5.0
    distillation_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    distillation_temperature: Positive = 4.0
    feature_weight: NotNegative = 0.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: bool = False
    compile: bool = False
    seed: Natural = 0

    def __post_init__(self) -> None:
        check_settings(self)
        if self.settling_epochs >= self.epochs:
            raise WrongSetting(
                f"settling_epochs are the last of {self.epochs}, and {self.settling_epochs} leave none for the rest"
            )

    def unsettled(self) -> TrainingOptions:
        """The same without settling epochs, for what is trained in passing: searches, candidates, teachers."""
        return replace(self, settling_epochs=0)


@dataclass(frozen=True)
class TeacherOptions:
    """The all-ReLU network that the networks of a task are fine-tuned from and with.

    Attributes:
        epochs: of its training; 0 for no teacher: every network then trains from scratch.
        learning_rate: of its training; the rest is as the task's `training` says.
        initial_weights: networks start from its weights; without, they only learn its probabilities and features.
    """

    epochs: Natural = 0
    learning_rate: Positive = 0.1
    initial_weights: bool = True

    def __post_init__(self) -> None:
        check_settings(self)

    def training(self, task: TrainingOptions) -> TrainingOptions:
        """How the teacher of a task with this `training` is trained."""
        return replace(task.unsettled(), epochs=self.epochs, learning_rate=self.learning_rate)
