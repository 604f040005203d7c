"""A small network with every kind of material, and two forked parties that prepare for it."""

from helpers.parties.forked_parties import ForkedParties
from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.program import AffineOp, ConvOp, LinearOp, MaxPoolOp, ReluOp, ReshapeOp, SquareOp, TruncateOp
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder
from rrnet_nni.fpga.runtime.session.two_party_prepare import Preparer

DIGEST = "b" * 64


def network():
    """Every kind of material once: convolution, truncation, ReLU, MaxPool, square, depthwise, linear."""
    b = ProgramBuilder((2, 8, 8), 8, seed=2)
    b.add(
        ConvOp,
        "conv",
        ["image"],
        (4, 8, 8),
        16,
        weight=b.constant("w", (4, 2, 3, 3), 8, 100),
        bias=None,
        padding=(1,) * 4,
    )
    b.add(TruncateOp, "conv.t", ["conv"], (4, 8, 8), 8, bits=8)
    b.add(ReluOp, "relu", ["conv.t"], (4, 8, 8), 8)
    b.add(MaxPoolOp, "pool", ["relu"], (4, 4, 4), 8, kernel=(3, 3), stride=(2, 2), padding=(1,) * 4)
    depthwise = b.constant("dw", (4, 1, 3, 3), 8, 128)
    b.add(ConvOp, "depthwise", ["pool"], (4, 2, 2), 16, weight=depthwise, bias=None, groups=4)
    b.add(TruncateOp, "depthwise.t", ["depthwise"], (4, 2, 2), 8, bits=8)
    b.add(SquareOp, "square", ["depthwise.t"], (4, 2, 2), 16)
    b.add(AffineOp, "affine", ["square", "depthwise.t"], (4, 2, 2), 16, multipliers=((1,), (256,)))
    b.add(TruncateOp, "affine.t", ["affine"], (4, 2, 2), 5, bits=11)
    b.add(ReshapeOp, "flat", ["affine.t"], (16,), 5)
    b.add(LinearOp, "fc", ["flat"], (3,), 13, weight=b.constant("fc", (3, 16), 8, 100), bias=None)
    return b.program(), b.weights


def preparing_process(number, end, other_end, root, timeout_s, count, digest, protocol, pipe):
    """One party in a process of its own; reports ("prepared", bytes) or ("fault", sentence)."""
    other_end.close()
    try:
        with Link(end, f"party {1 - number}", timeout_s) as link:
            try:
                prepared = Preparer(number, network()[0], digest, executions()[protocol], link).run(root, count)
            except (ExecutionFault, Refusal) as error:
                link.abort(str(error))
                raise
        pipe.send(("prepared", prepared.bytes_sent == prepared.predicted_bytes))
    except (ExecutionFault, Refusal) as error:
        pipe.send(("fault", str(error)))


class Preparation(ForkedParties):
    """A preparation by both parties, each with a root of its own."""

    def __init__(self, root, protocol, count=2, timeout_s=20.0, relay=None, digests=(DIGEST, DIGEST)):
        def arguments_of(number):
            return root / f"machine-{number}" / "material", timeout_s, count, digests[number], protocol

        super().__init__(preparing_process, arguments_of, relay)
