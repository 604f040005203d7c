"""What crosses the link is uniform, fresh in every session, and the same for every input; nor do files say anything."""

from itertools import combinations

import numpy as np
import pytest
from helpers.statistics import chi_square
from helpers.tapped_sessions import Tapped, narrowed, network

from rrnet_nni.fpga.program import ConvOp, LinearOp, MulOp, SelectOp
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.protocols.masked.numpy_kernels import NumpyKernels
from rrnet_nni.fpga.protocols.masked.plan import plan_masked
from rrnet_nni.fpga.protocols.shared.randomness import Keystream
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds, deal_for_both
from rrnet_nni.fpga.runtime.material.store import PartyMaterial
from rrnet_nni.fpga.runtime.session import in_process
from rrnet_nni.fpga.runtime.session.conformance import run_shared

#: Each protocol on whole words, and on the narrow rings that `masked` can open.
CASES = {name: (execution, False) for name, execution in executions().items()}
CASES |= {f"{name}-narrow": (executions()[name], True) for name in executions() if name.startswith("masked")}

pytestmark = pytest.mark.parametrize(("execution", "narrow"), CASES.values(), ids=CASES)


@pytest.fixture
def transcript(monkeypatch, narrow):
    """A function that runs the parties and returns both parties' messages, one per round (empty where silent)."""
    monkeypatch.setattr(in_process, "Link", Tapped)

    def run(images, execution, seeds=None):
        program, weights = network()
        Tapped.sent = {}
        output = run_shared(narrowed(program) if narrow else program, weights, images, execution, seeds).output
        return (Tapped.sent[0], Tapped.sent[1]), output

    return run


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
        octets = words.view(np.uint8).reshape(-1, 4)
        assert abs(chi_square(octets)) < 6, f"round {place}"
        for position in range(4):  # a carry or a sign would show in one of them alone
            if len(octets) >= 256 * 5:
                assert abs(chi_square(octets[:, position])) < 6, f"round {place}, octet {position} of the words"


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


def bit_frequencies(transcript, execution, image, sessions):
    """How often each bit of what party 0, and party 1, receives for one image is set.

    Beside the messages: every two rounds' together, and every two neighbouring words'. (Weights are opened for all
    images at once and left out.)
    """
    images, sums = 64, [0, 0]
    for _ in range(sessions):
        messages, _ = transcript(np.repeat(image[None], images, 0), execution)
        for party in (0, 1):
            received = [message.reshape(images, -1) for message in messages[1 - party] if message.size % images == 0]
            rounds = [rows for rows in received if rows.shape[1] >= 4]
            joint = [a ^ b for a, b in combinations(rounds, 2) if a.shape == b.shape]
            neighbours = [rows[:, 4:] ^ rows[:, :-4] for rows in rounds if rows.shape[1] > 4]
            bits = np.unpackbits(np.concatenate([*rounds, *joint, *neighbours], axis=1), axis=1)
            sums[party] = sums[party] + bits.sum(axis=0)
    return [total / (images * sessions) for total in sums], images * sessions


def check_indistinguishable(transcript, execution, sessions):
    """No bit's frequency for an image of zeros differs from that for one of noise."""
    zero, noise = np.zeros((2, 8, 8)), np.random.default_rng(0).normal(size=(2, 8, 8)) * 2
    of_zero, samples = bit_frequencies(transcript, execution, zero, sessions)
    of_noise, _ = bit_frequencies(transcript, execution, noise, sessions)
    for first, second in zip(of_zero, of_noise):
        both = (first + second) / 2
        largest_score = np.abs((first - second) / np.sqrt(np.maximum(both * (1 - both), 1e-9) * 2 / samples)).max()
        assert len(first) > 10_000
        assert largest_score < 6.5


def test_no_bit_of_a_partys_view_tells_two_inputs_apart(execution, transcript):
    check_indistinguishable(transcript, execution, 2)


@pytest.mark.slow
def test_no_bit_of_a_partys_view_tells_two_inputs_apart_in_many_sessions(execution, transcript):
    check_indistinguishable(transcript, execution, 40)


def test_a_view_without_masks_would_tell_inputs_apart(execution, transcript, monkeypatch):
    """The check above is not vacuous."""
    monkeypatch.setattr(Keystream, "octets", lambda self, count: np.zeros((len(self.keys), count), np.uint8))
    with pytest.raises(AssertionError, match=r"< 6\.5"):
        check_indistinguishable(transcript, execution, 1)


def test_no_mask_is_used_twice(execution, narrow, transcript, monkeypatch):
    """Every block of sixteen octets that a party expands for a batch is expanded once, whatever operation or image."""
    drawn = []

    class Recorded(Keystream):
        def __init__(self, keys, operation, set_id):
            super().__init__(keys, operation, set_id)
            drawn.append((self.keys, operation))

    monkeypatch.setattr(PartyMaterial, "source", lambda self, operation: Recorded(self._keys, operation, self._set_id))
    transcript(extreme_inputs()["noise"], execution)
    expanded = [block for keys, operation in drawn for block in Keystream(keys, operation).octets(1 << 12)]
    blocks = np.concatenate(expanded).reshape(-1, 16)
    assert len(np.unique(blocks, axis=0)) == len(blocks)
    assert len({(key, operation) for keys, operation in drawn for key in keys}) == sum(len(keys) for keys, _ in drawn)


def test_a_partys_files_alone_predict_nothing(execution, narrow):
    """Per operation: corrections are noise, also beside the party's own expansion, another set's, another image's."""
    program = narrowed(network()[0]) if narrow else network()[0]
    sets = []
    for seeds in (DealerSeeds.fresh(), DealerSeeds.fresh()):
        sets.append((seeds, deal_for_both(execution.dealer(program, seeds.weight_masks), seeds, range(16))))
    checked = 0
    for party in (0, 1):
        for index, operation in enumerate(program.operations):
            dealt = [np.stack([parts[index] for parts in dealt[party]]) for _, dealt in sets]
            if dealt[0].size < 256 * 5:
                continue
            checked += 1
            own = sets[0][0].images(range(16), index)[party].octets(dealt[0].shape[1])
            for octets in (dealt[0], dealt[0] ^ own, dealt[0] - own, dealt[0] ^ dealt[1], dealt[0][0:8] ^ dealt[0][8:]):
                assert abs(chi_square(octets)) < 6, (party, operation.name)
    assert checked >= 4


def opened_factors(program, operation, plan, messages):
    """The same of a product of two secrets, and of a selection: what is not open of both inputs, in one round."""
    start = 0
    for name, opens in zip(operation.inputs, (plan.opens, plan.opens_second), strict=True):
        if opens:
            words = np.zeros((16, program.tensor(name).elements), np.uint32)
            end = start + -(-words.shape[1] * plan.width // 8)
            for packed in (sent.reshape(16, -1)[:, start:end] for sent in messages):
                words = NumpyKernels().add_packed(words, np.ascontiguousarray(packed), plan.width)
            yield operation.name, plan.width, words
            start = end


def opened_words(program, execution, messages):
    """Per operation that opens words: their bits, and the sum of both parties' messages modulo the ring."""
    place = sum(isinstance(operation, ConvOp | LinearOp) for operation in program.operations)  # weights come first
    for operation, plan, traffic in zip(program.operations, plan_masked(program), execution.traffic(program, 16)):
        if isinstance(operation, MulOp | SelectOp):
            yield from opened_factors(program, operation, plan, [sent[place] for sent in messages])
        elif plan.opens:
            name = operation.output if plan.reduces else operation.inputs[0]
            words = np.zeros((16, program.tensor(name).elements), np.uint32)
            for packed in (sent[place].reshape(16, -1) for sent in messages):
                assert packed.shape[1] == -(-words.shape[1] * plan.width // 8)
                words = NumpyKernels().add_packed(words, packed, plan.width)
            yield operation.name, plan.width, words
        place += len(traffic.rounds)


@pytest.mark.parametrize("name", extreme_inputs())
def test_nothing_above_the_ring_of_a_word_is_sent_and_the_word_is_uniform_on_it(execution, narrow, transcript, name):
    if not execution.name.startswith("masked"):
        pytest.skip("opens words of 32 bits whatever the ring")
    program = narrowed(network()[0]) if narrow else network()[0]
    runs = [transcript(extreme_inputs()[name], execution)[0] for _ in range(4)]
    opened = [list(opened_words(program, execution, messages)) for messages in runs]
    assert len({width for _, width, _ in opened[0]}) >= (3 if narrow else 1)
    for place, (operation, width, _) in enumerate(opened[0]):
        words = np.concatenate([run[place][2] for run in opened]).reshape(-1)
        assert not (words >> np.uint32(width - 1) >> np.uint32(1)).any()
        for octets in (words, words >> np.uint32(width - 8)):
            if words.size >= 256 * 5:
                assert abs(chi_square((octets & np.uint32(255)).astype(np.uint8))) < 6, operation
