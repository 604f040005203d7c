"""What crosses the link is uniform, fresh in every session, and the same for every input."""

import numpy as np
import pytest

from rrnet_nni.fpga.board import in_process
from rrnet_nni.fpga.board.conformance import ProgramBuilder, run_shared
from rrnet_nni.fpga.board.dealer import DealerSeeds
from rrnet_nni.fpga.board.executions import EXECUTIONS
from rrnet_nni.fpga.board.link import Link
from rrnet_nni.fpga.program import (
    AffineOp,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    ReluOp,
    ReshapeOp,
    SquareOp,
    TruncateOp,
)

pytestmark = pytest.mark.parametrize("execution", EXECUTIONS.values(), ids=EXECUTIONS)


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
    b.add(ReshapeOp, "flat", ["affine.t"], (128,), 8)
    b.add(LinearOp, "fc", ["flat"], (8,), 16, weight=b.constant("fc.w", (8, 128), 8, 90), bias=None)
    return b.program(), b.weights


class Tapped(Link):
    """A link that remembers what it sent, message by message."""

    sent: list

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.messages = []
        Tapped.sent.append(self.messages)

    def exchange(self, outgoing, incoming_bytes):
        sent = np.zeros(0, np.uint8) if outgoing is None else np.ascontiguousarray(outgoing).view(np.uint8).reshape(-1)
        self.messages.append(sent.copy())
        return super().exchange(outgoing, incoming_bytes)


@pytest.fixture
def transcript(monkeypatch):
    """A function that runs the parties and returns both parties' messages, one per round (empty where silent)."""
    monkeypatch.setattr(in_process, "Link", Tapped)

    def run(images, execution, seeds=None):
        program, weights = network()
        Tapped.sent = []
        output = run_shared(program, weights, images, execution, seeds).output
        ordered = sorted(Tapped.sent, key=lambda messages: sum(map(len, messages)))
        return ordered, output

    return run


def chi_square(octets):
    """Standard score of the chi-square statistic of 256 bins; about N(0, 1) for uniform octets."""
    counts = np.bincount(octets, minlength=256)
    expected = octets.size / 256
    statistic = ((counts - expected) ** 2 / expected).sum()
    return (statistic - 255) / np.sqrt(2 * 255)


def extreme_inputs():
    generator = np.random.default_rng(0)
    return {"zero": np.zeros((16, 2, 8, 8)), "constant": np.full((16, 2, 8, 8), 3.0),
            "noise": generator.normal(size=(16, 2, 8, 8))}  # fmt: skip


@pytest.mark.parametrize("name", extreme_inputs())
def test_every_message_is_uniform_whatever_the_input(execution, transcript, name):
    runs = [transcript(extreme_inputs()[name], execution)[0] for _ in range(4)]
    for party in range(2):
        for place in range(len(runs[0][party])):
            octets = np.concatenate([run[party][place] for run in runs])
            if octets.size >= 256 * 5:
                assert abs(chi_square(octets)) < 6, f"message {place} of a party"


@pytest.mark.slow
def test_every_message_is_uniform_over_a_megabyte_of_each(execution, transcript):
    images = np.zeros((64, 2, 8, 8))
    runs = [transcript(images, execution)[0] for _ in range(16)]
    for party in range(2):
        for place in range(len(runs[0][party])):
            octets = np.concatenate([run[party][place] for run in runs])
            if octets.size >= 1 << 16:
                assert abs(chi_square(octets)) < 6, f"message {place} of a party"


@pytest.mark.parametrize("name", extreme_inputs())
def test_every_opened_value_is_uniform_whatever_the_input(execution, transcript, name):
    """What a round reveals is the sum (words) or exclusive or (bits) of the two messages."""
    runs = [transcript(extreme_inputs()[name], execution)[0] for _ in range(4)]
    for place in range(len(runs[0][0])):
        pairs = [(run[0][place], run[1][place]) for run in runs]
        if pairs[0][0].size != pairs[0][1].size or pairs[0][0].size * 4 < 256 * 5:
            continue
        bits = np.concatenate([a ^ b for a, b in pairs])
        assert abs(chi_square(bits)) < 6, f"round {place}"
        words = np.concatenate([a[: a.size // 4 * 4].view("<u4") + b[: b.size // 4 * 4].view("<u4") for a, b in pairs])
        assert abs(chi_square(words.view(np.uint8))) < 6, f"round {place}"


def test_two_sessions_on_one_input_share_nothing(execution, transcript):
    images = extreme_inputs()["constant"]
    first, second = transcript(images, execution)[0], transcript(images, execution)[0]
    for party in range(2):
        for a, b in zip(first[party], second[party]):
            if a.size >= 256 * 5:
                assert abs(chi_square(a - b)) < 6
                assert abs(chi_square(a ^ b)) < 6


def test_images_of_one_batch_have_their_own_masks(execution, transcript):
    """Equal images in one batch give unequal messages."""
    messages, _ = transcript(extreme_inputs()["constant"], execution)
    for party in range(2):
        for message in messages[party]:
            if message.size % 16 == 0 and message.size >= 16 * 64:
                rows = message.reshape(16, -1)
                assert len({row.tobytes() for row in rows}) == 16


def test_repeated_seeds_would_repeat_the_masks_which_is_why_material_is_used_once(execution, transcript):
    """The check above is not vacuous: with the same seeds the opened words of equal inputs are equal."""
    seeds = DealerSeeds.fresh()
    images = extreme_inputs()["noise"]
    outputs = [transcript(images, execution, seeds)[1] for _ in range(2)]
    assert np.array_equal(outputs[0], outputs[1])


def test_the_transcript_has_the_same_shape_for_every_input(execution, transcript):
    shapes = {  # sizes per round
        name: [[message.size for message in messages] for messages in transcript(images, execution)[0]]
        for name, images in extreme_inputs().items()
    }
    assert len({str(shape) for shape in shapes.values()}) == 1
