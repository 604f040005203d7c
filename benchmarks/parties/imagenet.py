"""ResNet-18, ResNet-50 and MobileNetV2 at 224 pixels, executed by two parties under every protocol and preprocessing.

    python benchmarks/parties/imagenet.py -o docs/results/imagenet.json --folder DIR           every missing row
    python benchmarks/parties/imagenet.py -o docs/results/imagenet.json --folder DIR --again   and disturbed ones
    python benchmarks/parties/imagenet.py --table docs/results/imagenet.json

Torchvision's networks with untrained weights, as `model_zoo.py` exports them, one image, two processes on loopback.
Offline bytes are what the parties send, or what the dealer hands to each; `as_predicted` is of all that the parties
send. Bytes, rounds and memory do not depend on the machine or its load. Times do: a row says how many cores others took
just before it began (`load`), and from QUIET_LOAD on the table leaves its times out; --again makes such rows once more,
and those that failed. A run that was ended goes on where it was. What others published is printed beside, and marked:
other machines, links and security assumptions. Builds are kept in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from model_zoo_networks import export, last_words, relative_error

from rrnet_nni.base.compatibility import prepare_libraries
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.compiler.fixed_point.rings import NARROW, WHOLE
from rrnet_nni.fpga.protocols import executions, preparations
from rrnet_nni.fpga.runtime.material.party_set import DEALER, TWO_PARTY

NETWORKS = ("resnet50", "mobilenet_v2", "resnet18")
#: Only these protocols open words on fewer bits where a build has narrow rings.
NARROW_PROTOCOLS = ("masked", "masked-dcf")
KEYS = ("network", "protocol", "rings", "preprocessing")
SILENCE_S = 3600
#: Of the two cores, this much may be taken by others where times mean something.
QUIET_LOAD = 0.5
LOAD_SECONDS = 3.0
#: What others say of themselves: network, system, its time, its bytes, and on what.
PUBLISHED = (
    ("ResNet-50", "Cheetah (USENIX Security 2022)", "2.5 min in all", "2.3 GB", "two-party, WAN"),
    ("not compared", "OptiPrime", "14.6 s", "", "as published"),
    ("SqueezeNet", "SecONNds (arXiv 2506.11586)", "3.6 s in all", "420 MiB", "two-party, CPU"),
)


def command(module: str, *arguments: object) -> dict[str, Any]:
    """The answer of a command of the package.

    Raises:
        RuntimeError: what it said when it failed.
    """
    line = [sys.executable, "-m", f"rrnet_nni.fpga.runtime.commands.{module}", *map(str, arguments), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(last_words(done.stderr))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def cases() -> Iterator[dict[str, str]]:
    """Every row of the table, the quick ones first."""
    for preprocessing in (DEALER, TWO_PARTY):
        for network in reversed(NETWORKS):
            for protocol in executions() if preprocessing == DEALER else preparations():
                for rings in (WHOLE, NARROW) if protocol in NARROW_PROTOCOLS else (WHOLE,):
                    yield dict(zip(KEYS, (network, protocol, rings, preprocessing), strict=True))


def ensure_build(folder: Path, network: str, rings: str) -> Path:
    """The build, and beside it the ONNX file and an image."""
    build, model = folder / f"{network}-{rings}", folder / f"{network}.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    if not model.exists():
        size = export(network, model)
        np.save(folder / f"{network}.npy", np.random.default_rng(1).normal(size=(1, 3, size, size)).astype(np.float32))
    if not build.exists():
        compile_model(model, build, ring=rings)
    return build


def busy_cores(seconds: float) -> float:
    """How many cores of the machine work now, which is what others take as long as this process only waits.

    The load average would not do: for a minute it still counts the row before.
    """

    def ticks() -> tuple[int, int]:
        every = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(every), every[3] + every[4]  # all of them, and idle or waiting for a disk

    first = ticks()
    time.sleep(seconds)
    total, idle = (after - before for after, before in zip(ticks(), first, strict=True))
    return (os.cpu_count() or 1) * (1 - idle / max(1, total))


def is_disturbed(found: dict[str, Any]) -> bool:
    """Whether a row has no times that mean something."""
    return "failure" in found or found["load"] >= QUIET_LOAD


def row(folder: Path, case: dict[str, str]) -> dict[str, Any]:
    """Prepare material and run two parties on one image."""
    import onnxruntime

    build = ensure_build(folder, case["network"], case["rings"])
    load = round(busy_cores(LOAD_SECONDS), 1)
    image, model = folder / f"{case['network']}.npy", folder / f"{case['network']}.onnx"
    common = "--protocol", case["protocol"], "--preprocessing", case["preprocessing"], "--timeout", SILENCE_S
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        material = Path(scratch) / "material"
        prepared = command("prepare", build, "--count", 1, "-o", material, *common)
        answer = command("run", build, "--input", image, "--material", material, *common)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"image": np.load(image)})[0]
    found = np.asarray(answer["logits"]).reshape(wanted.shape)
    exchanged = (answer, prepared) if case["preprocessing"] == TWO_PARTY else (answer,)
    return {
        **case,
        "load": load,
        "online_s": round(answer["online_s"], 2),
        "offline_s": round(prepared["offline_s"], 2),
        "bytes_sent": answer["bytes_sent"],
        "as_predicted": all(sent["bytes_sent"] == sent["predicted_bytes"] for sent in exchanged),
        "rounds": answer["rounds"],
        "offline_bytes": prepared["bytes_sent" if case["preprocessing"] == TWO_PARTY else "stored_bytes"],
        "memory_mb": [round(size) for size in answer["memory_mb"].values()],
        "offline_memory_mb": [round(size) for size in prepared.get("memory_mb", {}).values()],
        "error": relative_error(found, wanted),
        "same_class": bool(found.argmax() == wanted.argmax()),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown for docs."""
    header = ["network", "protocol", "rings", "material of", "online s", "offline s"]
    header += ["MB online by 0 / by 1", "rounds", "MB offline by 0 / by 1", "memory MB online", "offline", "error"]
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    for found in sorted(rows, key=lambda row: (row["network"], row["preprocessing"], row["protocol"], row["rings"])):
        first = [found["network"], f"`{found['protocol']}`", found["rings"], _who(found["preprocessing"])]
        if "failure" in found:
            lines.append(f"| {' | '.join(first)} | {found['failure']} |{' |' * (len(header) - 5)}")
            continue
        parts = [
            *(f"{found[name]:.2f}" if not is_disturbed(found) else "" for name in ("online_s", "offline_s")),
            _megabytes(found["bytes_sent"]),
            f"{found['rounds']:,}",
            _megabytes(found["offline_bytes"]),
            " / ".join(f"{size:,}" for size in found["memory_mb"]),
            " / ".join(f"{size:,}" for size in found["offline_memory_mb"]),
            f"{found['error']:.2%}",
        ]
        lines.append(f"| {' | '.join([*first, *parts])} |")
    lines += ["", "| published by others | system | time | bytes | on |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(each)} |" for each in PUBLISHED]
    return "\n".join(lines)


def _who(preprocessing: str) -> str:
    return "a dealer" if preprocessing == DEALER else "the parties"


def _megabytes(sizes: Sequence[int]) -> str:
    return " / ".join(f"{size / 1e6:,.1f}" for size in sizes)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="JSON file of rows, which is resumed")
    parser.add_argument("--folder", type=Path, help="where models and builds are kept (default: a temporary one)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--preprocessing", nargs="+", choices=(DEALER, TWO_PARTY), default=(DEALER, TWO_PARTY))
    parser.add_argument("--protocols", nargs="+", choices=tuple(executions()), default=tuple(executions()))
    parser.add_argument("--rings", nargs="+", choices=(WHOLE, NARROW), default=(WHOLE, NARROW))
    parser.add_argument("--again", action="store_true", help="make rows again that others disturbed")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print a file's rows as a table")
    options = parser.parse_args(arguments)
    if options.table is not None:
        print(table(json.loads(options.table.read_text())))
        return 0
    prepare_libraries()
    known: dict[tuple[str, ...], dict[str, Any]] = {}
    if options.output is not None and options.output.exists():
        known = {tuple(each[key] for key in KEYS): each for each in json.loads(options.output.read_text())}
    with tempfile.TemporaryDirectory() as temporary:
        for case in cases():
            key = tuple(case[name] for name in KEYS)
            asked = options.networks, options.protocols, options.rings, options.preprocessing
            wanted = all(value in allowed for value, allowed in zip(key, asked, strict=True))
            if not wanted or (key in known and not (options.again and is_disturbed(known[key]))):
                continue
            try:
                known[key] = row(options.folder or Path(temporary), case)
            except RuntimeError as failure:
                known[key] = {**case, "failure": str(failure)}
            print(json.dumps(known[key]), flush=True)
            if options.output is not None:
                write_whole_json(options.output, list(known.values()))
    print(table(list(known.values())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
