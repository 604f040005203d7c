"""In which numbers and in which layout a network trains, and how `precision: auto` decides it.

bfloat16 with tensors that lie as N, H, W, C trains two to three times as fast as float32 on processors with AMX or
AVX-512 bf16, but not small networks. A short self-test on the machine decides, once for a kind of network: what it
found is kept in the cache, so that the same run takes the same arithmetic again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import statistics
import time
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

#: How many times as fast bfloat16 must be to be taken: less does not pay for its rounding.
WORTHWHILE = 1.2
#: Timed steps of each kind, after one that pays for the start.
STEPS = 3


@dataclass(frozen=True)
class Arithmetic:
    """`precision` is `float32` or `bfloat16` (mixed); `channels_last` lays tensors out as N, H, W, C."""

    precision: str
    channels_last: bool

    @property
    def lightning(self) -> Literal["32-true", "bf16-mixed"]:
        """What a Lightning trainer calls it."""
        return "bf16-mixed" if self.precision == "bfloat16" else "32-true"


def choose_arithmetic(
    network: nn.Module, images: Tensor, precision: str, channels_last: bool, cache_dir: Path | None = None
) -> Arithmetic:
    """The arithmetic to train `network` in.

    Args:
        images: a batch of normalized images as the network takes them, on the device of the training.
        precision: `float32`, `bfloat16` or `auto`.
        channels_last: whether float32 may lie as N, H, W, C; bfloat16 on the CPU always does where that is safe.
        cache_dir: where the finding of a self-test is kept (None: the default cache).
    """
    device = images.device
    safe = channels_last_is_safe(network, device)
    plain = Arithmetic("float32", channels_last and safe)
    fast = Arithmetic("bfloat16", safe if device.type == "cpu" else channels_last)
    if precision != "auto":
        return fast if precision == "bfloat16" else plain
    if device.type == "cuda":
        return fast if torch.cuda.is_bf16_supported() else plain
    if not safe or not processor_has_bfloat16():
        return plain
    gain = _kept_gain(network, images, plain, fast, cache_dir or cache_folder())
    return fast if gain >= WORTHWHILE else plain


@cache
def processor_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 by itself (`avx512_bf16` or `amx_bf16`)."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & words)


def _kept_gain(network: nn.Module, images: Tensor, plain: Arithmetic, fast: Arithmetic, cache_dir: Path) -> float:
    """What `measured_gain` found for a network of this kind on this machine, measured now where it never was."""
    what = {
        "torch": torch.__version__,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "images": list(images.shape),
        "plain": asdict(plain),
        "modules": [type(module).__name__ for module in network.modules()],
        "weights": [list(parameter.shape) for parameter in network.parameters()],
    }
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]

    def measure() -> dict[str, np.ndarray]:
        return {"gain": np.array(measured_gain(network, images, plain, fast))}

    return float(cached_arrays(cache_dir, f"arithmetic-{digest}", measure)["gain"])


def measured_gain(network: nn.Module, images: Tensor, plain: Arithmetic, fast: Arithmetic) -> float:
    """Seconds of a training step in `plain` over those in `fast`; 0 where `fast` does not give the same loss.

    A copy of the network steps, and torch's random state stays as it is.
    """
    seconds: dict[Arithmetic, list[float]] = {plain: [], fast: []}
    losses: dict[Arithmetic, float] = {}
    with torch.random.fork_rng(devices=[]):
        twins = {arithmetic: copy.deepcopy(network).train() for arithmetic in seconds}
        for step in range(STEPS + 1):
            for arithmetic, twin in twins.items():
                started = time.process_time()
                loss = _step(twin, images, arithmetic)
                if step:
                    seconds[arithmetic].append(time.process_time() - started)
                else:
                    losses[arithmetic] = loss
    if not abs(losses[fast] - losses[plain]) <= 0.05 * abs(losses[plain]):
        return 0.0
    return statistics.median(seconds[plain]) / statistics.median(seconds[fast])


def _step(network: nn.Module, images: Tensor, arithmetic: Arithmetic) -> float:
    """A forward and a backward pass; the loss."""
    if arithmetic.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=arithmetic.precision == "bfloat16"):
        logits = network(images)
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
