"""The tables of the documentation that follow from code or from docs/results.

    python docs/tables.py            writes them into the pages
    python docs/tables.py --check    exits with 1 where a page shows another table

A table stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole

DOCS = Path(__file__).parent
_BLOCK = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def of_script(script: str, function: str = "table", results: str = "", part: str = "") -> Callable[[], str]:
    """What a script makes of the code, or of rows in docs/results that it or another one wrote there."""

    def made() -> str:
        path = DOCS.parent / script
        sys.path.insert(0, str(path.parent))  # scripts of one folder import each other
        try:
            module = importlib.import_module(path.stem)
        finally:
            sys.path.remove(str(path.parent))
        make: Callable[..., str] = getattr(module, function)
        if not results:
            return make().rstrip() + "\n"
        rows = json.loads((DOCS / "results" / results).read_text(encoding="utf-8"))
        return make(rows[part] if part else rows).rstrip() + "\n"

    return made


TABLES: Mapping[str, Callable[[], str]] = {
    "protocol-latencies": of_script("docs/computed.py", "protocol_latencies"),
    "replacing": of_script("docs/computed.py", "replacing"),
    "protocol-costs": of_script("docs/computed.py", "protocol_costs"),
    "schedule": of_script("benchmarks/hardware/schedule.py", results="schedule.json"),
    "model-zoo": of_script("benchmarks/parties/model_zoo.py", results="model_zoo.json"),
    "model-zoo-executed": of_script("benchmarks/parties/model_zoo.py", "executed_table", "model_zoo.json"),
    "fixed-point": of_script("docs/measured.py", "fixed_point", "fixed_point.json"),
    "accuracy": of_script("benchmarks/search/accuracy.py", results="accuracy.json", part="runs"),
    "contrast": of_script("benchmarks/search/contrast.py", results="contrast.json", part="rows"),
    "relu-budgets": of_script("benchmarks/search/relu_budgets.py", results="relu_budgets.json", part="runs"),
    "strategies-equal-time": of_script(
        "benchmarks/search/relu_budgets.py", "strategies_table", "relu_budgets.json", "runs"
    ),
    "front-controls": of_script("benchmarks/search/front_controls.py", results="front_controls.json", part="points"),
    "executed": of_script("benchmarks/search/executed.py", results="executed.json"),
    "shared-signs": of_script("docs/computed.py", "shared_signs"),
    "accuracy-relus": of_script("docs/figures/accuracy_relus.py", results="accuracy.json", part="runs"),
    "paper-latencies": of_script("docs/computed.py", "paper_latencies"),
    "long-link": of_script("benchmarks/parties/long_link.py", results="long_link.json"),
    "two-party": of_script("docs/measured.py", "two_party", "two_party.json"),
    "faster": of_script("benchmarks/parties/faster.py", results="faster.json"),
    "schedules": of_script("docs/measured.py", "schedules", "schedule.json"),
    "board": of_script("docs/measured.py", "board", "accelerator.json"),
    "budget": of_script("docs/measured.py", "budget", "accelerator.json"),
    "service": of_script("docs/measured.py", "service", "service.json"),
    "imagenet": of_script("benchmarks/parties/imagenet.py", results="imagenet.json"),
}


def page_with_tables(text: str, where: str) -> str:
    """The page with every table made anew.

    Raises:
        Refusal: it names a table that there is none of.
    """

    def made(block: re.Match[str]) -> str:
        if block[2] not in TABLES:
            raise Refusal(f"{where}: there is no table {block[2]!r}; there are {', '.join(TABLES)}")
        return f"{block[1]}\n{TABLES[block[2]]()}\n{block[3]}"

    return _BLOCK.sub(made, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, say which pages differ")
    options = parser.parse_args()
    stale = []
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        made = page_with_tables(text, str(path))
        if made != text:
            stale.append(path)
            if not options.check:
                write_whole(path, made.encode())
    for path in stale:
        print(f"{path}: {'another table is due' if options.check else 'written'}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
