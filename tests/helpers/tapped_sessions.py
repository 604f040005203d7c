"""A small program with every kind of message, and a link that remembers what the parties sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rrnet_nni.fpga.program import (
    AffineOp,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    MulOp,
    ReluOp,
    ReshapeOp,
    SelectOp,
    SquareOp,
    SumPoolOp,
    TruncateOp,
)
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder


def network():
    """Element counts are multiples of eight, so that planes have no bits beyond the last element."""
    b = ProgramBuilder((2, 8, 8), 8, seed=2)
    b.add(ConvOp, "conv", ["image"], (8, 8, 8), 16, weight=b.constant("w", (8, 2, 3, 3), 8, 90), bias=None,
          padding=(1, 1, 1, 1))  # fmt: skip
    b.add(TruncateOp, "conv.t", ["conv"], (8, 8, 8), 8, bits=8)
    b.add(ReluOp, "relu", ["conv.t"], (8, 8, 8), 8)
    b.add(MaxPoolOp, "pool", ["relu"], (8, 4, 4), 8, kernel=(2, 2), stride=(2, 2))
    b.add(SquareOp, "square", ["pool"], (8, 4, 4), 16)
    b.add(AffineOp, "affine", ["square", "pool"], (8, 4, 4), 16, multipliers=((2,), (256,)))
    b.add(TruncateOp, "affine.t", ["affine"], (8, 4, 4), 8, bits=8)
    b.add(MulOp, "mul", ["affine.t", "pool"], (8, 4, 4), 16)
    b.add(TruncateOp, "mul.t", ["mul"], (8, 4, 4), 8, bits=8)
    b.add(SumPoolOp, "sums", ["mul.t"], (8, 2, 2), 8, kernel=(2, 2), stride=(2, 2))
    b.add(SelectOp, "select", ["mul.t", "sums"], (8, 4, 4), 8, patch=(2, 2))
    b.add(ReshapeOp, "flat", ["select"], (128,), 8)
    b.add(LinearOp, "fc", ["flat"], (8,), 16, weight=b.constant("fc.w", (8, 128), 8, 90), bias=None)
    return b.program(), b.weights


def narrowed(program):
    """The same values on narrower rings, which hold them: all are below 2^12."""
    rings = {"image": 16, "conv.t": 16, "relu": 16, "pool": 20, "affine.t": 24, "mul.t": 24, "sums": 26}
    rings |= {"select": 24, "flat": 24}
    tensors = {name: replace(tensor, ring_bits=rings.get(name, 32)) for name, tensor in program.tensors.items()}
    return replace(program, tensors=tensors)


class Tapped(Link):
    """A link that remembers what it sent, message by message, under the number of the party that holds it."""

    sent = None

    def __init__(self, connection, peer, *arguments):
        super().__init__(connection, peer, *arguments)
        self.messages = Tapped.sent[1 - int(peer.removeprefix("party "))] = []

    def exchange(self, outgoing, incoming_bytes):
        sent = np.zeros(0, np.uint8) if outgoing is None else np.ascontiguousarray(outgoing).view(np.uint8).reshape(-1)
        self.messages.append(sent.copy())
        return super().exchange(outgoing, incoming_bytes)
