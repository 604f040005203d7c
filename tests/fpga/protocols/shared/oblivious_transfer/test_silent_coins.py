"""The coins of silent transfers are fresh: in every expansion, for every tree and run, and of full entropy."""

import math

import numpy as np
import pytest
from helpers.hash_numbers import assert_numbers_run_on, recorded_numbers
from helpers.silent_pair import SilentPair
from helpers.statistics import LIMIT, assert_full_entropy

from rrnet_nni.fpga.protocols.shared.oblivious_transfer import silent
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.extension import CHUNK_OCTETS
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.silent import CODE


@pytest.fixture(scope="module")
def pair():
    return SilentPair()


def test_the_noise_of_every_expansion_is_elsewhere(pair, monkeypatch):
    seen = []
    real = pair.receiver._trees.puncture
    monkeypatch.setattr(
        pair.receiver._trees, "puncture", lambda holes, *given: seen.append(holes) or real(holes, *given)
    )
    for _ in range(3):
        pair.transfer(np.zeros(CODE.gained // 8, np.uint8))
    holes = np.concatenate(seen).reshape(-1, CODE.trees)
    assert len(holes) >= 3
    assert holes.min() >= 0
    assert holes.max() < 1 << CODE.depth
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert (holes[first] == holes[second]).sum() < 20  # two of 918 agree by chance
    ways = (holes[..., None] >> np.arange(CODE.depth)) & 1
    assert abs(ways.mean() - 0.5) < LIMIT * 0.5 / math.sqrt(ways.size)


def test_every_tree_of_every_expansion_and_run_grows_from_a_root_of_its_own(pair, monkeypatch):
    """A root that comes again tells the receiver of two holes both leaves, and so the secret."""
    roots = []
    for each in (pair, SilentPair()):
        real = each.sender._trees.grow
        monkeypatch.setattr(
            each.sender._trees,
            "grow",
            lambda given, *others, real=real: roots.append(given.copy()) or real(given, *others),
        )
        for _ in range(2):
            each.transfer(np.zeros(CODE.gained // 8, np.uint8))
    assert len(roots) >= 3
    assert_full_entropy([root.tobytes() for root in np.concatenate(roots)], silent.ROW_BYTES)


def test_the_receiver_starts_every_run_from_choices_of_its_own(monkeypatch):
    """They are the secret of the code, and say where the noise of the first expansion is."""
    choices = []
    for _ in range(2):
        pair = SilentPair()
        real = pair.receiver._start.rows
        monkeypatch.setattr(pair.receiver._start, "rows", lambda given, real=real: choices.append(given) or real(given))
        pair.transfer(np.zeros(1, np.uint8))
    assert [len(each) for each in choices] == 2 * [CODE.kept // 8]
    pieces = [each[: len(each) // 8 * 8].reshape(-1, 8) for each in choices]
    assert_full_entropy([piece.tobytes() for piece in np.concatenate(pieces)], 8)


def test_no_silent_transfer_is_hashed_under_another_ones_number():
    pair = SilentPair()
    receiver, sender = recorded_numbers(pair.receiver), recorded_numbers(pair.sender)
    for octets, words in ((3, 1), (CHUNK_OCTETS + 5, 1), (5, 4)):
        pair.transfer(np.zeros(octets, np.uint8), words)
    for numbers, shifted in ((receiver, False), (sender, False), (sender, True)):
        assert_numbers_run_on(numbers, shifted)
