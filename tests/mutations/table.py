"""Apply every fault, time the test that notices it, and write docs/mutations.md: `python tests/mutations/table.py`."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from mutations import MUTATIONS
from test_mutations import TREE, check_caught, copy_package

HEAD = """\
# Faults that tests must notice

Each fault is applied to a scratch copy of the package; results stay right, only what is revealed changes. The edits are
in `tests/mutations/`; `make test-all` applies all of them, `make test` two, and the named tests always run.
Seconds are those of a fresh process until its test fails, on a busy machine of two cores. This table is written by
`python tests/mutations/table.py`.

| fault | test | s |
| --- | --- | --- |
"""


def main() -> int:
    """Write the table; status 1 where a fault is not noticed."""
    rows, started = [], time.perf_counter()
    scratch = Path(tempfile.mkdtemp())
    try:
        package = copy_package(scratch)
        for mutation in MUTATIONS:
            begun = time.perf_counter()
            check_caught(package, mutation)
            file, _, name = mutation.test.partition("::")
            rows.append(f"| {mutation.name} | `{Path(file).name}`: `{name}` | {time.perf_counter() - begun:.1f} |\n")
    finally:
        shutil.rmtree(scratch)
    total = f"\nAll {len(rows)} together: {time.perf_counter() - started:.0f} s.\n"
    (TREE / "docs" / "mutations.md").write_text(HEAD + "".join(rows) + total)
    return 0


if __name__ == "__main__":
    sys.exit(main())
