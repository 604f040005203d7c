"""Corrections are read in order, from where they lie where that is possible, and words are always aligned."""

from __future__ import annotations

import numpy as np
import pytest

from rrnet_nni.fpga.protocols.material import Corrections, CorrectionWriter


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("before", [8, 5])
def test_words_behind_any_octets_are_read_aligned(images: int, before: int) -> None:
    generator = np.random.default_rng(before)
    octets = generator.integers(0, 256, (images, before), dtype=np.uint8)
    words = generator.integers(0, 1 << 32, (images, 2, 3), dtype=np.uint32)
    wide = generator.integers(0, 1 << 63, (images, 4), dtype=np.uint64)
    writer = CorrectionWriter(images)
    for part in (octets, words, wide):
        writer.put(part)
    reader = Corrections(writer.buffers())
    assert np.array_equal(reader.planes(1, before)[:, 0], octets)
    for found, expected in ((reader.words(2, 3), words), (reader.wide_words(4), wide)):
        assert np.array_equal(found, expected)
        assert found.flags.aligned
    assert reader.exhausted
    with pytest.raises(ValueError, match="shorter"):
        reader.words(1)
