"""docs/reference/claims.md and SECURITY.md name tests that exist."""

import re
from pathlib import Path

import pytest

TREE = Path(__file__).parents[3]


@pytest.mark.parametrize("document", ["docs/reference/claims.md", "SECURITY.md"])
def test_every_test_that_holds_a_claim_exists(document):
    text = (TREE / document).read_text()
    named = re.findall(r"(test_\w+\.py)(?:::(test_\w+))?", text)
    assert len(named) >= 15
    for file, test in named:
        places = list((TREE / "tests").rglob(file))
        assert len(places) == 1, f"{file}: {places}"
        assert not test or f"\ndef {test}(" in places[0].read_text(), f"{file}::{test}"


def test_every_claim_of_the_protocols_names_a_test_or_says_that_there_is_none():
    page = (TREE / "docs" / "reference" / "claims.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 40
    for row in rows:
        assert re.search(r"::test_\w+`|\*no test", row), row
