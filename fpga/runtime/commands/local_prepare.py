"""Both parties' preprocessing on one machine, each party a process of its own, and a set that appears whole or not."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from rrnet_nni.base.progress import Line

from ..material.dealer import check_root, put_in_place
from ..material.party_set import TWO_PARTY, party_directory
from ..material.scratch import scratch_directory
from .children import start_child, supervise


def prepare_locally(
    build: Path, count: int, protocol: str, root: Path, replace: bool, timeout_s: float
) -> dict[str, Any]:
    """Run both parties until `root` holds their material; returns what they answered.

    Raises:
        Refusal: `root` holds unused material and `replace` is not set, or is something else.
        ExecutionFault: a party failed; nothing is left behind.
    """
    check_root(root, replace)
    started = time.perf_counter()
    with scratch_directory(root) as scratch:
        made = scratch / "material"  # so that what a killed party leaves beside it goes with the scratch directory
        answers = _run_parties(build, count, protocol, made, timeout_s)
        put_in_place(made, root, replace)
    memory = answers[0]["memory_mb"] | answers[1]["memory_mb"]
    return answers[0] | {"offline_s": time.perf_counter() - started, "memory_mb": memory, "material": str(root)}


def _run_parties(build: Path, count: int, protocol: str, root: Path, timeout_s: float) -> list[dict[str, Any]]:
    display = Line()
    ends = socket.socketpair()
    children = []
    for number, end in enumerate(ends):
        arguments = [
            *(str(build), "--count", str(count), "--preprocessing", TWO_PARTY, "--protocol", protocol, "-o", str(root)),
            *("--party", str(number), "--link-fd", str(end.fileno()), "--timeout", str(timeout_s)),
            *("--progress-lines", "--json"),
        ]
        children.append(start_child(f"party {number}", "prepare", arguments, display, (end.fileno(),)))
    for end in ends:
        end.close()
    supervise(children, display)
    return [json.loads(bytes(child.output)) for child in children]


def stored_bytes(root: Path) -> list[int]:
    """Bytes that each party's part of a set takes on disk."""
    parts = [party_directory(root, party) for party in (0, 1)]
    return [sum(file.stat().st_size for file in part.glob("*") if file.is_file()) for part in parts]


def prepared_table(answer: dict[str, Any]) -> str:
    """The answer for people."""
    sent, predicted, sizes = answer["bytes_sent"], answer["predicted_bytes"], answer["stored_bytes"]
    agrees = "as predicted" if sent == predicted else f"predicted {predicted[0]:,} and {predicted[1]:,}"
    memory = ", ".join(f"{size:.0f} MB in party {party}" for party, size in sorted(answer["memory_mb"].items()))
    return (
        f"material for {answer['count']} images in {answer['material']} ({answer['offline_s']:.2f} s; "
        f"{sizes[0]:,} bytes for party 0, {sizes[1]:,} for party 1), made by the two parties alone\n"
        f"bytes sent {sent[0]:,} by party 0 and {sent[1]:,} by party 1, {agrees}; {memory}\n"
        "semi-honest parties; computational security of 128 bits, "
        f"statistical of {answer['statistical_bits']} per image, {answer['set_statistical_bits']} for the whole set\n"
    )
