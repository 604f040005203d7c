"""In which numbers, in which layout and by which kernels a network trains, and how `precision: auto` decides it.

Tensors that lie as N, H, W, C suit most networks on a processor, and bfloat16 is up to three times as fast as float32
where there is AMX or AVX-512 bf16, but neither is for all. A short self-test on the machine decides, once for a kind of
network: what it found is kept in the cache, so that the same run takes the same arithmetic again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rrnet_nni.base.array_cache import cached_arrays
from rrnet_nni.base.caches import cache_folder
from rrnet_nni.base.compatibility import channels_last_is_safe

from .fused_squares import has_normalized_squares, square_kernels, use_kernels

#: How many times as fast bfloat16 must be to be taken: less does not pay for its rounding.
WORTHWHILE = 1.2
#: Timed steps of each kind, after one that pays for the start.
STEPS = 3


@dataclass(frozen=True)
class Arithmetic:
    """`precision` is `float32` or `bfloat16` (mixed); `channels_last` lays tensors out as N, H, W, C.

    With `fused` the kernels of `fused_squares` compute X2act, where they can be built.
    """

    precision: str
    channels_last: bool
    fused: bool = False

    @property
    def lightning(self) -> Literal["32-true", "bf16-mixed"]:
        """What a Lightning trainer calls it."""
        return "bf16-mixed" if self.precision == "bfloat16" else "32-true"

    def prepare(self, network: nn.Module) -> None:
        """Lay out a network's weights, and let its X2act be computed as this says."""
        if self.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        use_kernels(network, square_kernels() if self.fused else None)

    def images(self, images: Tensor) -> Tensor:
        """Images in this layout."""
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images


def choose_arithmetic(
    network: nn.Module,
    images: Tensor,
    precision: str,
    channels_last: bool,
    cache_dir: Path | None = None,
    bfloat16: bool = True,
    least_gain: float = 1.0,
) -> Arithmetic:
    """The arithmetic to train `network` in.

    Args:
        images: a batch of normalized images as the network takes them, on the device of the training.
        precision: `float32`, `bfloat16` or `auto`.
        channels_last: whether float32 lies as N, H, W, C; on the CPU bfloat16 always does where that is safe, and
            `auto` may find it faster in float32 too.
        cache_dir: where the finding of a self-test is kept (None: the default cache).
        bfloat16: whether the training bears it; otherwise `bfloat16` is float32, and `auto` looks for a layout alone.
        least_gain: how many times as fast as plain float32 `auto` wants another layout to be.
    """
    device = images.device
    safe = channels_last_is_safe(network, device)
    laid_out = safe if device.type == "cpu" else channels_last
    fused = laid_out and device.type == "cpu" and has_normalized_squares(network) and square_kernels() is not None
    plain = Arithmetic("float32", channels_last and safe, fused and channels_last)
    half = Arithmetic("bfloat16", laid_out, fused) if bfloat16 else plain
    if precision != "auto":
        return half if precision == "bfloat16" else plain
    if device.type == "cuda":
        return half if torch.cuda.is_bf16_supported() else plain
    if not safe:
        return plain
    others = [Arithmetic("float32", True, fused), *([half] if bfloat16 and processor_has_bfloat16() else [])]
    gains = _kept_gains(network, images, plain, others, cache_dir or cache_folder())
    full, gain = (others[0], gains[0]) if gains[0] > least_gain else (plain, least_gain)
    return half if len(others) > 1 and gains[1] >= WORTHWHILE * gain else full


@cache
def processor_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 by itself (`avx512_bf16` or `amx_bf16`)."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & words)


def _kept_gains(
    network: nn.Module, images: Tensor, plain: Arithmetic, others: Sequence[Arithmetic], cache_dir: Path
) -> list[float]:
    """What `measured_gains` found for a network of this kind on this machine, measured now where it never was."""
    what = {
        "torch": torch.__version__,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "images": list(images.shape),
        "compared": [asdict(arithmetic) for arithmetic in (plain, *others)],
        "modules": [type(module).__name__ for module in network.modules()],
        "weights": [list(parameter.shape) for parameter in network.parameters()],
    }
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]

    def measure() -> dict[str, np.ndarray]:
        return {"gains": np.array(measured_gains(network, images, plain, others))}

    kept: list[float] = cached_arrays(cache_dir, f"arithmetic-{digest}", measure)["gains"].tolist()
    return kept


def measured_gains(network: nn.Module, images: Tensor, plain: Arithmetic, others: Sequence[Arithmetic]) -> list[float]:
    """Seconds of a training step in `plain` over those in each of the others; 0 where its loss is another.

    Copies of the network step, and torch's random state stays as it is.
    """
    seconds: dict[Arithmetic, list[float]] = {arithmetic: [] for arithmetic in (plain, *others)}
    losses: dict[Arithmetic, float] = {}
    with torch.random.fork_rng(devices=[]):
        twins = {arithmetic: copy.deepcopy(network).train() for arithmetic in seconds}
        for arithmetic, twin in twins.items():
            arithmetic.prepare(twin)
        for step in range(STEPS + 1):
            for arithmetic, twin in twins.items():
                started = time.process_time()
                loss = _step(twin, images, arithmetic)
                if step:
                    seconds[arithmetic].append(time.process_time() - started)
                else:
                    losses[arithmetic] = loss
    usual = statistics.median(seconds[plain])
    return [
        usual / statistics.median(seconds[other]) if _alike(losses[other], losses[plain]) else 0.0 for other in others
    ]


def _alike(loss: float, usual: float) -> bool:
    return abs(loss - usual) <= 0.05 * abs(usual)


def _step(network: nn.Module, images: Tensor, arithmetic: Arithmetic) -> float:
    """A forward and a backward pass; the loss."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=arithmetic.precision == "bfloat16"):
        logits = network(arithmetic.images(images))
        loss = functional.cross_entropy(logits, torch.zeros(len(images), dtype=torch.int64, device=images.device))
    loss.backward()
    return float(loss.detach())


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
