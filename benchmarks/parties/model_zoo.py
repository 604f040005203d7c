"""Torchvision's classifiers through the compiler: what each costs, and how far fixed point is off floating point.

    python benchmarks/parties/model_zoo.py                                  every family, smallest first
    python benchmarks/parties/model_zoo.py --networks squeezenet1_1 resnet18 --seconds 600
    python benchmarks/parties/model_zoo.py -o docs/results/model_zoo.json   rows of the file are kept and not run again
    python benchmarks/parties/model_zoo.py --table docs/results/model_zoo.json

Every network has its own image size and untrained weights, whose BatchNorm statistics are adapted to random images (as
they come, activations of deep networks vanish or explode). It is exported by torch, compiled with defaults for two
zcu104, and its logits of four other random images are compared with onnxruntime's through the reference interpreter.
A network that is refused is a row with the refusal. Rows are written as they are made, each by a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_zoo_networks import (
    TEST_IMAGES,
    export,
    float16_losses,
    last_words,
    network_names,
    relative_error,
    test_images,
)

from rrnet_nni.base.files import write_whole_json

ROW_SECONDS = 3600
#: Networks that lose more amplify noise themselves: what float16 loses is measured beside.
LOST = 0.01


def with_pending(known: Mapping[str, dict[str, Any]], every: Sequence[str]) -> list[dict[str, Any]]:
    """All rows in one order, those that were not made yet too."""
    return [known.get(name, {"network": name, "pending": True}) for name in every]


def row(name: str, ring: str | None, protocols: Sequence[str] = ()) -> dict[str, Any]:
    """Export, compile and compare one network, and let two processes execute it on one image."""
    import numpy as np
    import onnxruntime

    from rrnet_nni.base.errors import Refusal
    from rrnet_nni.fpga.compiler.compile import compile_model
    from rrnet_nni.fpga.program.reference import run_reference

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        size = export(name, path)
        found: dict[str, Any] = {"network": name, "image_size": size}
        started = time.perf_counter()
        try:
            compilation = compile_model(path, Path(scratch) / "build", ring=ring)
        except Refusal as refusal:
            return {**found, "refusal": str(refusal).removeprefix("model.onnx: ")}
        found["compile_s"] = round(time.perf_counter() - started, 1)
        images = test_images(size)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        wanted = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
        np.save(Path(scratch) / "image.npy", images[:1])
        executed = {name: _executed(Path(scratch), name, wanted[0]) for name in protocols}
    report = compilation.report
    parts = [run_reference(compilation.program, compilation.weights, image[None]) for image in images]
    logits = np.concatenate(parts).reshape(wanted.shape)
    error = relative_error(logits, wanted)
    made = {
        **found,
        "makespan_ms": round(report["makespan_ms"], 2),
        "bytes_sent": report["bytes_sent"],
        "comparisons": report["comparisons"],
        "error": error,
        "stated_error": float(f"{report['logits_error']:.3g}"),
        "same_class": int((logits.argmax(axis=1) == wanted.argmax(axis=1)).sum()),
        "gaps_lost": gaps_lost(logits, wanted),
        "images": TEST_IMAGES,
        **({"executed": executed} if executed else {}),
    }
    return made | ({"float16": float16_losses(name)} if wants_float16(made) else {})


def wants_float16(found: Mapping[str, Any]) -> bool:
    """Whether the row loses so much that it is to say what the network itself loses in float16."""
    return "error" in found and (found["error"] > LOST or found["same_class"] < found["images"])


def gaps_lost(found: Any, wanted: Any) -> list[float]:
    """Of images that fall into another class: how far apart their two largest logits are, by the root mean square."""
    import numpy as np

    largest = np.sort(wanted, axis=1)[:, -2:]
    gaps = (largest[:, 1] - largest[:, 0]) / np.sqrt(np.mean(wanted**2, axis=1))
    return [float(f"{gap:.2g}") for gap in gaps[found.argmax(axis=1) != wanted.argmax(axis=1)]]


def _executed(folder: Path, protocol: str, wanted: Any) -> dict[str, Any]:
    """What `rrnet-2pc-run` says of one image, with material of a dealer."""
    import numpy as np

    command = [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.run", str(folder / "build"), "--json"]
    arguments = ["--input", str(folder / "image.npy"), "--protocol", protocol, "--timeout", str(ROW_SECONDS)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failure": last_words(done.stderr)}
    answer = json.loads(done.stdout)
    logits = np.asarray(answer["logits"][0]).reshape(wanted.shape)
    return {
        "online_s": round(answer["online_s"], 2),
        "offline_s": round(answer["offline_s"], 2),
        "bytes_sent": answer["bytes_sent"],
        "as_predicted": answer["bytes_sent"] == answer["predicted_bytes"],
        "memory_mb": answer["memory_mb"],
        "error": relative_error(logits, wanted),
    }


def row_apart(name: str, ring: str | None, protocols: Sequence[str] = ()) -> dict[str, Any]:
    """A row made by a process of its own; one that dies or takes too long says so."""
    command = [sys.executable, __file__, "--row", name, *(["--ring", ring] if ring else [])]
    command += ["--execute", *protocols] if protocols else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ROW_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"network": name, "failure": f"took longer than {ROW_SECONDS} s"}
    if done.returncode:
        return {"network": name, "failure": last_words(done.stderr)}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown for docs."""
    lines = [
        "| network | pixels | compile s | makespan ms | MB sent by 0 / 1 | comparisons | error | stated | same class "
        "| float16 loses |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for found in rows:
        if found.get("pending"):
            continue
        if "compile_s" not in found:
            reason = found.get("refusal", found.get("failure", ""))
            lines.append(f"| {found['network']} | {found.get('image_size', '')} | {reason[:160]} | | | | | | | |")
            continue
        sent = " / ".join(f"{size / 1e6:.1f}" for size in found["bytes_sent"])
        ties = "".join(f"; two logits {gap:.2%} apart" for gap in found.get("gaps_lost", ()))
        same = f"{found['same_class']} of {found['images']}{ties}"
        half = found.get("float16", {})
        lost = f"{half['error']:.2%}, {half['same_class']} of {found['images']}" if half else ""
        error = f"{found['error']:.2%} | {found['stated_error']:.2%}"
        lines.append(
            f"| {found['network']} | {found['image_size']} | {found['compile_s']:.0f} | {found['makespan_ms']:,.1f} | "
            f"{sent} | {found['comparisons']:,} | {error} | {same} | {lost} |"
        )
    pending = [found["network"] for found in rows if found.get("pending")]
    left = ["", f"Not run: {', '.join(pending)}."] if pending else []
    return "\n".join([*lines, *left])


def executed_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown for docs: what two parties executed."""
    lines = [
        "| network | protocol | MB sent by 0 / by 1 | as predicted | memory MB | error |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for found in rows:
        for protocol, answer in found.get("executed", {}).items():
            if "failure" in answer:
                lines.append(f"| {found['network']} | {protocol} | {answer['failure'][:160]} | | | |")
                continue
            sent = " / ".join(f"{size / 1e6:.1f}" for size in answer["bytes_sent"])
            memory = " / ".join(f"{size:.0f}" for size in answer["memory_mb"].values())
            lines.append(
                f"| {found['network']} | {protocol} | {sent} | "
                f"{'yes' if answer['as_predicted'] else 'no'} | {memory} | {answer['error']:.2%} |"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", help="default: all, smallest first")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further network after this time")
    parser.add_argument("-o", "--output", type=Path, help="JSON file of rows, which is resumed")
    parser.add_argument("--again", action="store_true", help="make rows again that are in the file")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print a file's rows as a table")
    parser.add_argument("--ring", choices=("narrow", "32"), help="as of rrnet-2pc-compile (default: the compiler's)")
    parser.add_argument("--execute", nargs="+", default=[], metavar="PROTOCOL", help="also run two parties on an image")
    parser.add_argument(
        "--float16", action="store_true", help="only measure float16 beside the rows of the file that want it"
    )
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.table is not None:
        rows = json.loads(options.table.read_text())
        print(f"{table(rows)}\n\n{executed_table(rows)}")
        return 0
    from rrnet_nni.base.compatibility import prepare_libraries

    prepare_libraries()
    if options.row is not None:
        print(json.dumps(row(options.row, options.ring, options.execute)))
        return 0
    known = {}
    if options.output is not None and options.output.exists():
        rows = json.loads(options.output.read_text())
        known = {found["network"]: found for found in rows if not found.get("pending")}
    if options.float16:
        for name, found in known.items():
            if wants_float16(found) and "float16" not in found:
                found["float16"] = float16_losses(name)
                write_whole_json(options.output, with_pending(known, network_names()))
        return 0
    started, every = time.perf_counter(), network_names()
    for name in options.networks or every:
        if name in known and not options.again:
            continue
        if time.perf_counter() - started > options.seconds:
            break
        known[name] = row_apart(name, options.ring, options.execute)
        print(json.dumps(known[name]), flush=True)
        if options.output is not None:
            write_whole_json(options.output, with_pending(known, every))
    print(table(with_pending(known, every)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
