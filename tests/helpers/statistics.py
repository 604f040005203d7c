"""Statistics that tell noise from what is not: of octets, of bits side by side, and of keys."""

from __future__ import annotations

import numpy as np

#: Standard scores beyond this do not happen: once in 10^10 for a normal one.
LIMIT = 6.5


def chi_square(octets):
    """Standard score of the chi-square statistic of 256 bins; about N(0, 1) for uniform octets."""
    counts = np.bincount(np.ascontiguousarray(octets).view(np.uint8).reshape(-1), minlength=256)
    expected = counts.sum() / 256
    return float((((counts - expected) ** 2 / expected).sum() - 255) / np.sqrt(510))


def largest_correlation(bits):
    """Largest standard score of two different rows of bits, [signals, samples], and which two."""
    samples = bits.shape[1]
    signs = 1 - 2 * bits.astype(np.float32)
    scores = np.abs(signs @ signs.T) / np.sqrt(samples)
    np.fill_diagonal(scores, 0)
    first, second = np.unravel_index(np.argmax(scores), scores.shape)
    return float(scores[first, second]), int(first), int(second)


def largest_bias(bits):
    """Largest standard score of one row's balance, and which row."""
    scores = np.abs(2 * bits.mean(axis=1) - 1) * np.sqrt(bits.shape[1])
    return float(scores.max()), int(scores.argmax())


def rank_of_bits(rows):
    """Rank over GF(2) of rows of octets [n, octets]: less than all bits where bits are constant, repeated or summed."""
    pivots = {}
    for row in np.ascontiguousarray(rows):
        value = int.from_bytes(row.tobytes(), "big")
        while value:
            top = value.bit_length()
            if top not in pivots:
                pivots[top] = value
                break
            value ^= pivots[top]
    return len(pivots)


def assert_full_entropy(samples, octets):
    """All bits of equally long secrets are independent of each other, none is constant, and none repeats a secret.

    `samples` must be at least 64 more than there are bits, so that fresh ones have full rank but once in 2^64.
    """
    rows = np.frombuffer(b"".join(samples), np.uint8).reshape(-1, octets)
    assert len(rows) >= 8 * octets + 65
    assert len({bytes(row) for row in rows}) == len(rows)
    ones = np.concatenate((rows, np.full((len(rows), 1), 1, np.uint8)), axis=1)  # finds complements and constants too
    assert rank_of_bits(ones) == 8 * octets + 1
