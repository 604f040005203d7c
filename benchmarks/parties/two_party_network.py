"""The plain-stem ResNet-18 of the two-party benchmarks, written as a program by hand.

Of the compiler's choices only the rings enter: those that some random images ask for, as for any model. Weights are
random; costs do not depend on them.
"""

from __future__ import annotations

import numpy as np

from rrnet_nni.fpga.compiler.fixed_point.rings import narrow_rings
from rrnet_nni.fpga.program import (
    AffineOp,
    ConvOp,
    LinearOp,
    Program,
    ReluOp,
    ReshapeOp,
    SquareOp,
    SumPoolOp,
    TruncateOp,
)
from rrnet_nni.fpga.program.reference import decode, walk_reference
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
ACTIVATIONS = ("relu", "x2act")
CALIBRATION_IMAGES = 4


class ResNet18:
    """The plain-stem ResNet-18 (557,056 activations at 32x32) written as a two-party program."""

    def __init__(self, activation: str) -> None:
        self.activation = activation
        self.b = ProgramBuilder((3, 32, 32), 8)

    def build(self) -> tuple[Program, dict[str, np.ndarray]]:
        x = self.act("stem.act", self.truncate(self.conv("stem", "image", 64, 3, 1)))
        for stage, (channels, stride) in enumerate(STAGES):
            for block in range(2):
                x = self.block(f"layer{stage + 1}.{block}", x, channels, stride if block == 0 else 1)
        channels, height, _ = self.b.tensors[x].shape
        self.b.add(SumPoolOp, "gap", [x], (channels, 1, 1), 8, kernel=(height, height), stride=(height, height))
        self.b.add(ReshapeOp, "flat", ["gap"], (channels,), 8)
        weight = self.b.constant("fc.w", (10, channels), 8, 60)
        self.b.add(LinearOp, "fc", ["flat"], (10,), 16, weight=weight, bias=None)
        program, weights = self.b.program("resnet18"), self.b.weights
        images = np.random.default_rng(1).normal(size=(CALIBRATION_IMAGES, 3, 32, 32))
        seen = {
            name: float(np.abs(decode(words, program.tensor(name).fraction_bits)).max())
            for name, words in walk_reference(program, weights, images)
        }
        return narrow_rings(program, seen), weights

    def block(self, name: str, x: str, channels: int, stride: int) -> str:
        """The sum is formed before the truncation, so that a block truncates twice, whatever its shortcut."""
        y = self.act(f"{name}.act1", self.truncate(self.conv(f"{name}.conv1", x, channels, 3, stride)))
        y = self.conv(f"{name}.conv2", y, channels, 3, 1)
        shape, one = self.b.tensors[y].shape, (1,)
        aligned = (256,)
        if self.b.tensors[x].shape != shape:
            x, aligned = self.conv(f"{name}.down", x, channels, 1, stride), one
        self.b.add(AffineOp, f"{name}.add", [y, x], shape, 16, multipliers=(one, aligned))
        return self.act(f"{name}.act2", self.truncate(f"{name}.add"))

    def conv(self, name: str, x: str, channels: int, kernel: int, stride: int) -> str:
        inputs, height, _ = self.b.tensors[x].shape
        size = (height + 2 * (kernel // 2) - kernel) // stride + 1
        bound = max(1, int(180 * (3 / (inputs * kernel**2)) ** 0.5))  # values stay small through all blocks
        weight = self.b.constant(f"{name}.w", (channels, inputs, kernel, kernel), 8, bound)
        shape, padding = (channels, size, size), (kernel // 2,) * 4
        return self.b.add(
            ConvOp, name, [x], shape, 16, weight=weight, bias=None, stride=(stride, stride), padding=padding
        )

    def truncate(self, x: str) -> str:
        return self.b.add(TruncateOp, f"{x}.t", [x], self.b.tensors[x].shape, 8, bits=8)

    def act(self, name: str, x: str) -> str:
        """ReLU, or x + x²/256: like the coefficient of a trained X2act, the square's is small."""
        shape = self.b.tensors[x].shape
        if self.activation == "relu":
            return self.b.add(ReluOp, name, [x], shape, 8)
        self.b.add(SquareOp, f"{name}.square", [x], shape, 16)
        self.b.add(AffineOp, f"{name}.affine", [f"{name}.square", x], shape, 24, multipliers=((1,), (1 << 16,)))
        return self.b.add(TruncateOp, f"{name}.t", [f"{name}.affine"], shape, 8, bits=16)
