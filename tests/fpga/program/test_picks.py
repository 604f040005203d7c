"""Index arithmetic of picked words, and what is applied to opened logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.program.heads import apply_head
from rrnet_nni.fpga.program.picks import pick, pick_index, picked_region, separate

ROWS = st.lists(st.integers(-1, 9), min_size=1, max_size=4).map(tuple)


@given(st.tuples(ROWS, ROWS, ROWS))
def test_offsets_are_found_again_from_the_words_that_they_pick(offsets: tuple[tuple[int, ...], ...]) -> None:
    index = pick_index(offsets)
    found = separate(index)
    assert found is not None
    np.testing.assert_array_equal(pick_index(found), index)


@given(st.tuples(ROWS, ROWS, ROWS), st.data())
def test_the_region_of_a_tile_holds_every_word_that_it_copies(
    offsets: tuple[tuple[int, ...], ...], data: st.DataObject
) -> None:
    source = (4, 3, 3)
    places = [sorted(data.draw(st.tuples(*[st.integers(0, len(row))] * 2))) for row in offsets[:2]]
    (channel, end), (row, below) = places
    if channel == end or row == below:
        return
    channels, rows = picked_region(offsets, source, (channel, end), (row, below))
    words = pick_index(offsets)[channel:end, row:below]
    for word in words[words >= 0]:
        at = np.unravel_index(word, source)
        assert channels[0] <= at[0] < channels[1]
        assert rows[0] <= at[1] < rows[1]


def test_words_in_no_separable_order_have_no_offsets() -> None:
    assert separate(np.array([[0, 1], [3, 2]])) is None
    assert separate(np.array([[0, -1], [2, 3]])) is None


def test_picked_words_and_zeros() -> None:
    words = np.arange(12, dtype=np.uint32).reshape(1, 3, 2, 2)
    np.testing.assert_array_equal(pick(words, ((8, -1), (0,), (1, 0)))[0], [[[9, 8]], [[0, 0]]])


def test_heads_are_applied_one_after_the_other_over_the_classes() -> None:
    logits = np.array([[0.0, 1000.0, -5.0], [3.0, 1.0, 2.0]])
    np.testing.assert_allclose(apply_head(logits, ["softmax"]).sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(apply_head(logits[1:], ["log-softmax"])), apply_head(logits[1:], ["softmax"]))
    assert apply_head(logits, ["softmax", "argmax"]).tolist() == [1, 0]
    np.testing.assert_allclose(apply_head(np.zeros((1, 2)), ["sigmoid"]), 0.5)
    with pytest.raises(ValueError, match="'relu' is unknown"):
        apply_head(logits, ["relu"])
