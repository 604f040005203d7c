"""A small network that two forked processes execute from prepared material."""

import numpy as np

from helpers.parties.forked_parties import ForkedParties
from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.program import LinearOp, MaxPoolOp, ReluOp, ReshapeOp, TruncateOp
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.party_set import party_directory, unused_count
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session.agreement import Terms
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder
from rrnet_nni.fpga.runtime.session.session import Party

DIGEST = "a" * 64
SECRET = 1.2345678
#: Inferences in a set: for many sessions of six images, and for a dealer that is killed.
IMAGES, DEALT = 6 * 110, 120


def network():
    b = ProgramBuilder((2, 16, 16), 8, seed=1)
    b.add(ReluOp, "relu", ["image"], (2, 16, 16), 8)
    b.add(MaxPoolOp, "pool", ["relu"], (2, 8, 8), 8, kernel=(2, 2), stride=(2, 2))
    b.add(ReshapeOp, "flat", ["pool"], (128,), 8)
    b.add(LinearOp, "fc", ["flat"], (64,), 16, weight=b.constant("w", (64, 128), 8, 50), bias=None)
    b.add(TruncateOp, "t", ["fc"], (64,), 8, bits=8)
    b.add(ReluOp, "relu2", ["t"], (64,), 8)
    return b.program(), b.weights


def party_process(number, end, other_end, root, protocol, timeout_s, images, pipe):
    """One party in a process of its own; reports ("logits", sum) or ("fault", sentence)."""
    other_end.close()
    program, weights = network()
    try:
        with MaterialStore(root, number) as store, Link(end, f"party {1 - number}", timeout_s) as link:
            party = Party(number, program, executions()[protocol], link, store)
            terms = Terms(DIGEST, protocol, 0, len(images) if number == 0 else None, 2)
            words = np.full((len(images), 2, 16, 16), 77, np.uint32) if number == 0 else None
            result = party.run(terms, words, weights if number == 1 else None)
        pipe.send(("logits", None if result.logits is None else result.logits.shape))
    except (ExecutionFault, Refusal) as error:
        pipe.send(("fault", str(error)))


class Run(ForkedParties):
    """An execution by both parties."""

    def __init__(self, root, protocol="beaver-ot", timeout_s=20.0, images=6, relay=None):
        super().__init__(party_process, lambda number: (root, protocol, timeout_s, range(images)), relay)


def used_counts(root):
    return [IMAGES - unused_count(party_directory(root, party)) for party in (0, 1)]
