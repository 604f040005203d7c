"""Under which numbers an end of oblivious transfers hashes its rows."""


def recorded_numbers(end):
    """A list that grows as `end` hashes: (first number, rows, whether Δ was added)."""
    plain, numbers = end._hash, []

    class Recording:
        def pads(self, rows, first, offset, words):
            numbers.append((first, len(rows), bool(offset.any())))
            return plain.pads(rows, first, offset, words)

    end._hash = Recording()
    return numbers


def assert_numbers_run_on(numbers, shifted):
    """The rows with or without Δ were hashed under 0, 1, 2, … in at least four calls."""
    ranges = [range(first, first + count) for first, count, offset in numbers if offset == shifted]
    assert len(ranges) >= 4
    assert [each.start for each in ranges] == [0, *(each.stop for each in ranges[:-1])]
