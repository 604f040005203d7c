"""Every network, mixture, ring, batch, protocol and preprocessing: are the two parties the reference, bit for bit?

Each case prepares material with `rrnet-2pc-prepare`, runs both parties with `rrnet-2pc-run` and compares the opened
logits with the fixed-point reference under the masks that the two seeds fix. Narrow rings round by low bits of a share
that nobody else sees: there the comparison is of parties in this process, on the same batches. Measured beside: the
bytes against the prediction, and the most memory that a party held, online and, where the parties prepare by
themselves, while they did. Sixteen images are evaluated in as few batches as 2 GB of memory allow (`evaluated_in`).
Rows are merged into the file, so that the table may be made in pieces.

    python benchmarks/parties/exactness.py --preprocessing dealer --protocol beaver-ot --protocol masked --rings whole
    python benchmarks/parties/exactness.py --missing --minutes 4     four minutes of what the table does not have yet
    python benchmarks/parties/exactness.py --show                    the table as it stands
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from exactness_networks import ACTIVATIONS, NETWORKS, RINGS, ensure_build

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.fpga.program.build import Build, load_build
from rrnet_nni.fpga.program.reference import decode, run_reference
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds
from rrnet_nni.fpga.runtime.material.party_set import (
    DEALER,
    PREPROCESSINGS,
    TWO_PARTY,
    party_directory,
    read_description,
    read_keys,
)
from rrnet_nni.fpga.runtime.session.conformance import run_shared
from rrnet_nni.fpga.runtime.session.two_party_prepare import preparations

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "exactness.json"
BATCHES = (1, 16)
KEYS = ("network", "activations", "rings", "batch", "protocol", "preprocessing")


def command(module: str, *arguments: object) -> dict[str, Any]:
    """The answer of a command of the package."""
    line = [sys.executable, "-m", f"rrnet_nni.fpga.runtime.commands.{module}", *map(str, arguments), "--json"]
    completed = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if completed.returncode:
        raise SystemExit(f"{' '.join(line)} failed: {completed.stderr.strip()}")
    answer: dict[str, Any] = json.loads(completed.stdout)
    return answer


def run_case(build: Path, rings: str, batch: int, protocol: str, preprocessing: str) -> dict[str, Any]:
    """One row of the table."""
    images = np.load(build.parent / f"{build.name}.npy")[:batch]
    with tempfile.TemporaryDirectory() as folder:
        material, pictures = Path(folder) / "material", Path(folder) / "images.npy"
        np.save(pictures, images)
        common = "--protocol", protocol, "--preprocessing", preprocessing
        prepared = command("prepare", build, "--count", batch, "-o", material, *common)
        mine, theirs = (party_directory(material, party) for party in (0, 1))
        set_id = bytes.fromhex(read_description(mine).set_id)
        seeds = DealerSeeds((read_keys(mine), read_keys(theirs)), set_id)
        answer = command("run", build, "--input", pictures, "--material", material, *common)
    if rings == "whole":
        exact = agrees(load_build(build), images, protocol, seeds, answer["logits"])
    else:
        parts = np.split(images, np.cumsum(answer["batches"])[:-1])
        exact = all(agrees_in_process(load_build(build), part, protocol, preprocessing) for part in parts)
    memory = {"online_memory_mb": round(max(answer["memory_mb"].values()))}
    if preprocessing == TWO_PARTY:
        memory["offline_memory_mb"] = round(max(prepared["memory_mb"].values()))
    return {
        "exact": exact,
        "bytes_as_predicted": answer["bytes_sent"] == answer["predicted_bytes"],
        "evaluated_in": answer["batches"],
        "bytes_sent": answer["bytes_sent"],
        "rounds": answer["rounds"],
        **memory,
    }


def agrees(build: Build, images: np.ndarray, protocol: str, seeds: DealerSeeds, logits: list[list[float]]) -> bool:
    """Whether the parties' logits are the reference's with the masks that their seeds fix."""
    masks = executions()[protocol].truncation_masks(
        build.program, lambda index: seeds.images(range(len(images)), index)
    )
    return np.array_equal(np.array(logits), run_reference(build.program, build.weights, images, masks))


def agrees_in_process(build: Build, images: np.ndarray, protocol: str, preprocessing: str) -> bool:
    """The same of parties in this process, where the low bits of a share, which narrow rings round by, can be seen."""
    seeds, execution = DealerSeeds.fresh(), executions()[protocol]
    executed = run_shared(build.program, build.weights, images, execution, seeds, preprocessing, record=True)
    masks = execution.truncation_masks(
        build.program, lambda index: seeds.images(range(len(images)), index), executed.reduced
    )
    logits = decode(executed.output, build.program.tensor(build.program.output).fraction_bits)
    return np.array_equal(logits, run_reference(build.program, build.weights, images, masks))


def cases(options: argparse.Namespace) -> list[tuple[str, str, str, int, str, str]]:
    """What was asked for, network by network, without what no two parties can prepare or no protocol can open."""
    wanted = itertools.product(
        options.network or NETWORKS,
        options.activations or ACTIVATIONS,
        options.rings or RINGS,
        options.batch or BATCHES,
        options.protocol or executions(),
        options.preprocessing or PREPROCESSINGS,
    )
    return [
        case
        for case in wanted
        if (case[5] == DEALER or case[4] in preparations()) and (case[2] == "whole" or case[4].startswith("masked"))
    ]


def merge(rows: list[dict[str, Any]], row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows with this one in place of an earlier one of the same case."""
    others = [other for other in rows if any(other[key] != row[key] for key in KEYS)]
    return sorted([*others, row], key=lambda each: [str(each[key]).zfill(4) for key in KEYS])


def print_table(rows: list[dict[str, Any]]) -> None:
    head = f"{'network':14} {'activations':11} {'rings':6} {'batch':>5} {'protocol':11} {'preprocessing':13}"
    print(f"{head} exact bytes  MB online")
    for row in rows:
        said = ["yes" if row[key] else "NO" for key in ("exact", "bytes_as_predicted")]
        offline = f", {row['offline_memory_mb']:,} offline" if "offline_memory_mb" in row else ""
        print(
            f"{row['network']:14} {row['activations']:11} {row['rings']:6} {row['batch']:5} {row['protocol']:11} "
            f"{row['preprocessing']:13} {said[0]:5} {said[1]:5} {row['online_memory_mb']:9,}{offline}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=tuple(NETWORKS), action="append")
    parser.add_argument("--activations", choices=ACTIVATIONS, action="append")
    parser.add_argument("--rings", choices=RINGS, action="append")
    parser.add_argument("--batch", type=int, choices=BATCHES, action="append")
    parser.add_argument("--protocol", choices=tuple(executions()), action="append")
    parser.add_argument("--preprocessing", choices=PREPROCESSINGS, action="append")
    parser.add_argument("--builds", type=Path, help="keep the compiled networks here (default: a temporary directory)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file into which the rows go")
    parser.add_argument("--missing", action="store_true", help="only the cases that the table does not have yet")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no case after so long")
    parser.add_argument("--show", action="store_true", help="run nothing, print the table")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(options.results.read_text()) if options.results.exists() else []
    done = {tuple(row[key] for key in KEYS) for row in rows}
    refused: list[str] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        for case in [] if options.show else cases(options):
            if (options.missing and case in done) or time.monotonic() - started > 60 * options.minutes:
                continue
            try:
                build = ensure_build(options.builds or Path(scratch), *case[:3])
            except Refusal as refusal:
                refused.append(f"{' '.join(map(str, case))} could not be compiled: {refusal}")
                continue
            begun = time.monotonic()
            row = dict(zip(KEYS, case)) | run_case(build, *case[2:])
            print(f"{' '.join(map(str, case))}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
            rows = merge(rows, row)
            write_whole_json(options.results, rows)
    print_table(rows)
    if not all(row["exact"] and row["bytes_as_predicted"] for row in rows):
        refused.append("not all cases agree")
    if refused:
        raise SystemExit("\n".join(refused))


if __name__ == "__main__":
    main()
