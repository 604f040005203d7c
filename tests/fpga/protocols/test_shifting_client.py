"""What a client that does not follow the protocol can do, so that the document that warns of it stays true."""

import numpy as np
import pytest
from helpers.networks.small_programs import residual_network

from rrnet_nni.fpga.program import ConvOp, LinearOp
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.session import in_process
from rrnet_nni.fpga.runtime.session.conformance import run_shared

SHIFT = np.uint32(1 << 20)


class Shifting(Link):
    """A link whose client adds `SHIFT` to a word that its last message opens, and goes on as if that were the value."""

    word: int | None = None
    #: The client's messages that open the last layer's weights and its input, counted from one.
    weights_message: int
    input_message: int
    weights: np.ndarray

    def __init__(self, connection, peer, *arguments):
        super().__init__(connection, peer, *arguments)
        self.shifts, self.sent = peer == "party 1", 0

    def exchange(self, outgoing, incoming_bytes):
        self.sent += 1
        if not self.shifts or self.sent not in (self.weights_message, self.input_message):
            return super().exchange(outgoing, incoming_bytes)
        own = np.ascontiguousarray(outgoing).view(np.uint32).reshape(-1).copy()
        shift = np.zeros_like(own)
        if self.sent == self.input_message and self.word is not None:
            shift[self.word] = SHIFT
        received = super().exchange(own + shift, incoming_bytes).view(np.uint32).reshape(-1) + shift
        if self.sent == self.weights_message:
            Shifting.weights = own + received
        return received.view(np.uint8)


@pytest.mark.parametrize("execution", executions().values(), ids=executions())
def test_a_client_that_shifts_opened_words_reads_every_weight_of_the_last_layer_in_nine_queries(execution, monkeypatch):
    program, weights = residual_network()
    products = sum(isinstance(operation, ConvOp | LinearOp) for operation in program.operations)
    rounds = sum(len(each.rounds) for each in execution.traffic(program, 1))
    image = np.random.default_rng(0).normal(size=(1, *program.tensor(program.input).shape))
    monkeypatch.setattr(in_process, "Link", Shifting)
    monkeypatch.setattr(Shifting, "weights_message", products, False)
    monkeypatch.setattr(Shifting, "input_message", products + rounds, False)
    unshifted = run_shared(program, weights, image, execution).output[0]
    columns = []
    for word in range(8):
        monkeypatch.setattr(Shifting, "word", word)
        moved = run_shared(program, weights, image, execution).output[0] - unshifted
        if execution.name == "beaver-ot":  # the client's own share of the input meets the opened F = W - B
            moved += SHIFT * Shifting.weights.reshape(10, 8)[:, word]
        columns.append(np.rint(moved.view(np.int32) / SHIFT))
    assert np.stack(columns, axis=1).size == 80
    assert np.array_equal(np.stack(columns, axis=1), weights["fc.w"])
