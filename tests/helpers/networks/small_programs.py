"""Two-party programs that have every operation, made without the compiler."""

from __future__ import annotations

from rrnet_nni.fpga.program import (
    AffineOp,
    ConcatOp,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    MulOp,
    PadOp,
    ReluOp,
    ReshapeOp,
    SelectOp,
    SquareOp,
    SumPoolOp,
    TruncateOp,
)
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder


def residual_network():
    """Every operator once or more: stem, MaxPool, a residual block with ReLU and X2act, pooling, classifier."""
    b = ProgramBuilder((3, 9, 9), 8, seed=3)
    stem = b.constant("stem.w", (6, 3, 3, 3), 8, 100)
    bias = b.constant("stem.b", (6,), 16, 1 << 14)
    b.add(ConvOp, "stem", ["image"], (6, 9, 9), 16, weight=stem, bias=bias, padding=(1, 1, 1, 1))
    b.add(TruncateOp, "stem.t", ["stem"], (6, 9, 9), 8, bits=8)
    b.add(ReluOp, "stem.relu", ["stem.t"], (6, 9, 9), 8)
    b.add(MaxPoolOp, "pool", ["stem.relu"], (6, 5, 5), 8, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    depthwise = b.constant("dw.w", (6, 1, 3, 3), 8, 128)
    b.add(ConvOp, "dw", ["pool"], (6, 5, 5), 16, weight=depthwise, bias=None, padding=(1, 1, 1, 1), groups=6)
    b.add(TruncateOp, "dw.t", ["dw"], (6, 5, 5), 8, bits=8)
    b.add(SquareOp, "act.square", ["dw.t"], (6, 5, 5), 16)
    b.add(
        AffineOp,
        "act.affine",
        ["act.square", "dw.t"],
        (6, 5, 5),
        16,
        multipliers=((3, 1, 2, 5, 1, 0), (256,)),
        addend=(-70,),
    )
    b.add(TruncateOp, "act.t", ["act.affine"], (6, 5, 5), 8, bits=8)
    b.add(AffineOp, "add", ["act.t", "pool"], (6, 5, 5), 8, multipliers=((1,), (1,)))
    b.add(ConcatOp, "concat", ["add", "pool"], (12, 5, 5), 8)
    b.add(PadOp, "pad", ["concat"], (12, 6, 7), 8, padding=(1, 0, 0, 2))
    grouped = b.constant("down.w", (8, 6, 2, 2), 8, 60)
    b.add(ConvOp, "down", ["pad"], (8, 3, 3), 16, weight=grouped, bias=None, stride=(2, 2), groups=2)
    b.add(TruncateOp, "down.t", ["down"], (8, 3, 3), 7, bits=9)
    b.add(ReluOp, "down.relu", ["down.t"], (8, 3, 3), 7)
    b.add(SumPoolOp, "gap", ["down.relu"], (8, 1, 1), 7, kernel=(3, 3), stride=(3, 3))
    b.add(ReshapeOp, "flat", ["gap"], (8,), 7)
    fc, fc_bias = b.constant("fc.w", (10, 8), 8, 128), b.constant("fc.b", (10,), 15, 1 << 13)
    b.add(LinearOp, "fc", ["flat"], (10,), 15, weight=fc, bias=fc_bias)
    return b.program(), b.weights


def x2act(b, name, source, shape, fraction_bits, polynomial_bits, k=3):
    """k 2^(2f − p) x² + x with the polynomial at p fraction bits, truncated to the f of the input."""
    b.add(SquareOp, f"{name}.square", [source], shape, 2 * fraction_bits)
    multipliers = ((k,), (1 << (polynomial_bits - fraction_bits),))
    inputs = [f"{name}.square", source]
    b.add(AffineOp, f"{name}.affine", inputs, shape, polynomial_bits, multipliers=multipliers, addend=(-99,))
    return b.add(TruncateOp, name, [f"{name}.affine"], shape, fraction_bits, bits=polynomial_bits - fraction_bits)


def polynomial_network():
    """X2act in every place: on an image, behind a truncation, on a wire, on a sum, with its square truncated alone."""
    b = ProgramBuilder((4, 6, 6), 6, seed=5)
    shape = (4, 6, 6)
    first = x2act(b, "first", "image", shape, 6, 14)
    weight = b.constant("w", (4, 4, 3, 3), 6, 20)
    b.add(ConvOp, "conv", [first], shape, 12, weight=weight, bias=None, padding=(1, 1, 1, 1))
    b.add(TruncateOp, "conv.t", ["conv"], shape, 6, bits=6)
    second = x2act(b, "second", "conv.t", shape, 6, 16)
    b.add(AffineOp, "residual", [second, first], shape, 6, multipliers=((1,), (1,)))
    third = x2act(b, "third", "residual", shape, 6, 16)
    b.add(SquareOp, "short.square", [third], shape, 12)
    b.add(TruncateOp, "short", ["short.square"], shape, 6, bits=6)
    b.add(AffineOp, "short.sum", ["short", third], shape, 12, multipliers=((1,), (64,)))
    b.add(TruncateOp, "fourth", ["short.sum"], shape, 6, bits=6)
    b.add(ReluOp, "relu", ["fourth"], shape, 6)
    b.add(SquareOp, "both.square", ["conv.t"], shape, 12)
    b.add(ReluOp, "both.relu", ["conv.t"], shape, 6)
    b.add(AffineOp, "both", ["both.square", "both.relu"], shape, 12, multipliers=((1,), (64,)))
    b.add(TruncateOp, "both.t", ["both"], shape, 6, bits=6)
    b.add(AffineOp, "sum", ["relu", "both.t"], shape, 6, multipliers=((1,), (1,)))
    b.add(MaxPoolOp, "pool", ["sum"], (4, 3, 3), 6, kernel=(2, 2), stride=(2, 2))
    b.add(SumPoolOp, "gap", ["pool"], (4, 1, 1), 6, kernel=(3, 3), stride=(3, 3))
    last = x2act(b, "last", "gap", (4, 1, 1), 6, 16)
    b.add(ReshapeOp, "flat", [last], (4,), 6)
    b.add(SquareOp, "logits", ["flat"], (4,), 12)
    return b.program(), b.weights


def gated_network():
    """Products of two secrets in every place: a gate per channel, h-swish, factors that are open, lifted or wide."""
    b = ProgramBuilder((3, 5, 5), 6, seed=7)
    shape = (4, 5, 5)
    weight = b.constant("w", (4, 3, 3, 3), 6, 20)
    b.add(ConvOp, "conv", ["image"], shape, 12, weight=weight, bias=None, padding=(1, 1, 1, 1))
    b.add(TruncateOp, "x", ["conv"], shape, 6, bits=6)
    b.add(AffineOp, "shifted", ["x"], shape, 6, multipliers=((1,),), addend=(192,))
    b.add(ReluOp, "gate", ["shifted"], shape, 6)
    b.add(MulOp, "swish", ["x", "gate"], shape, 12)
    b.add(TruncateOp, "swish.t", ["swish"], shape, 6, bits=6)
    b.add(SumPoolOp, "pool", ["swish.t"], (4, 1, 1), 6, kernel=(5, 5), stride=(5, 5))
    squeeze = b.constant("squeeze", (4, 4, 1, 1), 6, 3)
    b.add(ConvOp, "excite", ["pool"], (4, 1, 1), 12, weight=squeeze, bias=None)
    b.add(TruncateOp, "excite.t", ["excite"], (4, 1, 1), 6, bits=6)
    b.add(ReluOp, "excite.relu", ["excite.t"], (4, 1, 1), 6)
    b.add(MulOp, "scaled", ["swish.t", "excite.relu"], shape, 12)
    b.add(TruncateOp, "scaled.t", ["scaled"], shape, 4, bits=8)
    b.add(ReluOp, "scaled.relu", ["scaled.t"], shape, 4)
    b.add(MulOp, "per_channel_again", ["scaled.t", "excite.relu"], shape, 10)
    b.add(TruncateOp, "again.t", ["per_channel_again"], shape, 4, bits=6)
    b.add(AffineOp, "sum", ["again.t", "scaled.relu"], shape, 4, multipliers=((1,), (1,)))
    b.add(ReshapeOp, "flat", ["sum"], (100,), 4)
    fc = b.constant("fc", (5, 100), 6, 30)
    b.add(LinearOp, "features", ["flat"], (5,), 10, weight=fc, bias=None)
    b.add(TruncateOp, "features.t", ["features"], (5,), 5, bits=5)
    act = x2act(b, "act", "features.t", (5,), 5, 16)
    b.add(MulOp, "logits", [act, "features.t"], (5,), 10)
    return b.program(), b.weights


def patch_network():
    """Signs of patches of an odd image choose what is truncated, what is a sum, and what a ReLU left."""
    b = ProgramBuilder((2, 5, 4), 8)
    shape, grid = (3, 5, 4), (3, 3, 2)

    def conv(name, source, channels):
        weight = b.constant(f"{name}.w", (3, channels, 3, 3), 6, 40)
        y = b.add(ConvOp, name, [source], shape, 14, weight=weight, bias=None, padding=(1, 1, 1, 1))
        return b.add(TruncateOp, f"{name}.t", [y], shape, 8, bits=6)

    def select(name, source):
        geometry = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0, 1, 0)}
        sums = b.add(SumPoolOp, f"{name}.sums", [source], grid, 8, **geometry)
        return b.add(SelectOp, name, [source, sums], shape, 8, patch=(2, 2))

    x = select("first", conv("conv1", "image", 2))
    y = conv("conv2", x, 3)
    y = b.add(AffineOp, "add", [y, x], shape, 8, multipliers=((1,), (1,)))
    y = select("third", b.add(ReluOp, "relu", [select("second", y)], shape, 8))
    w = b.constant("last.w", (2, 3, 1, 1), 6, 40)
    b.add(ConvOp, "last", [y], (2, 5, 4), 14, weight=w, bias=None)
    return b.program(), b.weights


def digits_network(side=6, pool=2, classes=3):
    """Grey images to classes, with every kind of layer that the digits' networks have."""
    b = ProgramBuilder((1, side, side), 10, seed=5)
    weight, bias = b.constant("w", (4, 1, 3, 3), 8, 128), b.constant("b", (4,), 18, 1 << 16)
    image, pooled = (4, side, side), (4, side // pool, side // pool)
    features = 4 * (side // pool) ** 2
    b.add(ConvOp, "conv", ["image"], image, 18, weight=weight, bias=bias, padding=(1, 1, 1, 1))
    b.add(TruncateOp, "conv.t", ["conv"], image, 10, bits=8)
    b.add(ReluOp, "relu", ["conv.t"], image, 10)
    b.add(MaxPoolOp, "pool", ["relu"], pooled, 10, kernel=(pool, pool), stride=(pool, pool))
    b.add(SquareOp, "square", ["pool"], pooled, 20)
    b.add(TruncateOp, "square.t", ["square"], pooled, 10, bits=10)
    b.add(ReshapeOp, "flat", ["square.t"], (features,), 10)
    b.add(LinearOp, "fc", ["flat"], (classes,), 18, weight=b.constant("fc", (classes, features), 8, 100), bias=None)
    return b.program(), b.weights
