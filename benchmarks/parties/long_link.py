"""One image over a long link beside another commit: 100 Mbit/s and 10 ms each way, where rounds cost more than bytes.

    git worktree add ../before COMMIT                                  and its own environment in ../before/.venv
    python benchmarks/parties/long_link.py --before ../before          the plain-stem ResNet-18 (root, 3 minutes)

Random weights, one 32x32 image, two processes in network namespaces, TLS between them, a dealer's material that is made
before. Both commits take turns; medians, and only ratios of one run mean something. Beside them stands what the link
alone takes: rounds times latency and the larger direction's bytes over the rate, added up as if neither overlapped.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np
from shaped_link import SHAPES, Ends, shaped
from trees import BUILD, Tree, parser_of, two_trees

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.base.tables import markdown_table

#: Activation and protocol.
CASES = (("relu", "masked"), ("relu", "masked-dcf"), ("x2act", "masked"))
SHAPE = SHAPES["wan"]
CERTIFICATES = "import sys; from rrnet_nni.fpga.runtime.link.tls import main; sys.exit(main(sys.argv[1:]))"
PORT = 17800


def over(tree: Tree, ends: Ends, activation: str, protocol: str, options: Sequence[str]) -> dict[str, Any]:
    """One execution between two namespaces."""
    address, tls, module = f"{ends.hosts[1]}:{PORT}", tree.builds / "tls", "rrnet_nni.fpga.runtime.commands.run"
    material = tree.builds / f"{activation}.{protocol}"
    common = ["--material", material, "--protocol", protocol, "--json", *options]
    sides = (["--connect", address, "--input", tree.builds / "1.npy"], ["--listen", address])
    run = tree.python, "-P", "-m", module, tree.builds / activation
    lines = [
        [*ends.prefixes[party], *run, "--party", party, *sides[party], "--tls", tls / f"party-{party}", *common]
        for party in (0, 1)
    ]
    client, server = ([str(word) for word in line] for line in lines)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    other = subprocess.Popen(server, stdout=subprocess.DEVNULL, env=environment, cwd=tree.builds)
    answer = subprocess.run(client, check=True, stdout=subprocess.PIPE, env=environment, cwd=tree.builds)
    other.wait(timeout=60)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def make_ready(tree: Tree, repetitions: int) -> None:
    """Builds, certificates, an image and material for all runs."""
    tree.call("-c", BUILD, tree.root / "benchmarks" / "parties", tree.builds)
    tree.call("-c", CERTIFICATES, tree.builds / "tls")
    np.save(tree.builds / "1.npy", np.random.default_rng(0).normal(size=(1, 3, 32, 32)))
    for activation, protocol in CASES:
        material = tree.builds / f"{activation}.{protocol}"
        made = "--count", repetitions, "-o", material, "--protocol", protocol
        tree.command("prepare", tree.builds / activation, *made)


def online(answer: dict[str, Any]) -> tuple[int, int]:
    """Rounds, and bytes of the party that sends more."""
    rows = [row for row in answer["operations"] if row["phase"] == "online"]
    sent = max(sum(row["bytes_sent"][party] for row in rows) for party in (0, 1))
    return sum(row["rounds"] for row in rows), sent


def compare(before: Tree, after: Tree, repetitions: int) -> list[dict[str, Any]]:
    """Both commits in turns."""
    trees = {"before": before, "after": after}
    for tree in trees.values():
        make_ready(tree, repetitions)
    rows = []
    with shaped(SHAPE) as ends:
        for activation, protocol in CASES:
            answers: dict[str, list[dict[str, Any]]] = {name: [] for name in trees}
            for _ in range(repetitions):
                for name, tree in trees.items():
                    options = ("--link", "wan") if name == "after" else ()  # which an earlier commit may not know
                    answers[name].append(over(tree, ends, activation, protocol, options))
            row: dict[str, Any] = {"activation": activation, "protocol": protocol}
            for name, every in answers.items():
                row[f"{name}_s"] = statistics.median(answer["online_s"] for answer in every)
                row[f"{name}_runs_s"] = [answer["online_s"] for answer in every]
                row[f"{name}_rounds"], sent = online(every[0])
                row[f"{name}_link_s"] = row[f"{name}_rounds"] * SHAPE.delay_s + sent / SHAPE.bytes_per_s
            rows.append(row | {"of_before": row["after_s"] / row["before_s"]})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """What was measured, as Markdown."""
    header = "execution", "rounds before", "now", "before s", "now s", "of before", "rounds and bytes added up, s"
    return markdown_table(
        header,
        [
            (
                f"`{row['protocol']}`, {row['activation']}",
                *(str(row[f"{name}_rounds"]) for name in ("before", "after")),
                *(f"{row[key]:.3f}" for key in ("before_s", "after_s")),
                f"{row['of_before']:.2f}",
                ", ".join(f"{row[f'{name}_link_s']:.3f}" for name in ("before", "after")),
            )
            for row in rows
        ],
    )


def main() -> None:
    options = parser_of(__doc__).parse_args()
    with two_trees(options.before) as (before, after):
        rows = compare(before, after, options.repetitions)
    if options.output is not None:
        write_whole_json(options.output, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
