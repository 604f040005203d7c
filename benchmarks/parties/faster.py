"""Two parties' online time beside that of another commit, and how far it is from what the machine allows.

    git worktree add ../before COMMIT                                  and its own environment in ../before/.venv
    python benchmarks/parties/faster.py --before ../before             the plain-stem ResNet-18 (4 minutes)
    python benchmarks/parties/faster.py --before ../before --resnet50 DIR     ResNet-50 at 224 px too (3 minutes more;
                                                                       builds are kept in the folder)

Random weights, 32x32 images, two processes on loopback, a dealer's material that is made anew for every run; both
commits take turns, so that load falls on both alike. Medians; only ratios of one run mean something. The limit of one
party is what cannot be left out, measured in the same run: its bare ring convolutions, its bytes at the rate of a
socket pair, its rounds at that pair's latency. Threads are measured on the kernels alone, which is what a party does
while the other one's messages are there already; they need as many free cores.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from trees import BUILD, Tree, parser_of, two_trees
from two_party_network import ResNet18

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.base.tables import markdown_table
from rrnet_nni.fpga.native.memory import keep_freed_memory
from rrnet_nni.fpga.native.threads import use_threads
from rrnet_nni.fpga.program import ConvOp, LinearOp, Program
from rrnet_nni.fpga.protocols.masked.costs import onehot_planes
from rrnet_nni.fpga.protocols.masked.kernels import kernels
from rrnet_nni.fpga.protocols.masked.masks import Lifting
from rrnet_nni.fpga.protocols.shared.linear_geometry import linear_geometry
from rrnet_nni.fpga.ring import pack_weights
from rrnet_nni.fpga.runtime.link.link import Link

#: Activation, protocol, images at once.
CASES = (("relu", "masked", 16), ("x2act", "masked", 16), ("relu", "beaver-ot", 16), ("relu", "masked", 1))


def median_time(work: Callable[[], object], repetitions: int = 5) -> float:
    """Seconds, after one call that is not counted."""
    work()
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def bare_convolutions(program: Program, images: int) -> float:
    """Seconds of one party's ring products for a batch, one layer after the other, with packed weights."""
    generator, products = np.random.default_rng(0), []
    for operation in program.operations:
        if isinstance(operation, ConvOp | LinearOp):
            geometry = linear_geometry(operation, program)
            shape = images, *program.tensor(operation.inputs[0]).shape
            x = generator.integers(0, 2**32, shape, dtype=np.uint32)
            weights = generator.integers(0, 2**32, geometry.weights, dtype=np.uint32)
            products.append(partial(geometry.product, x, pack_weights(weights, geometry.groups)))
    return median_time(lambda: [product() for product in products])


def elementwise(images: int) -> float:
    """Seconds of the elementwise steps of a ReLU of `masked` on the largest layer: what is not convolved or sent."""
    generator = np.random.default_rng(0)

    def words() -> np.ndarray:
        return generator.integers(0, 2**32, (images, 64, 32, 32), dtype=np.uint32)

    steps, lifting, width = kernels(), Lifting(width=16), 16
    share, mask, forms = words(), words(), (words(), words())
    bit, products = words().reshape(images, -1), (words().reshape(images, -1), words().reshape(images, -1))
    planes = bit.shape[1] // 8
    onehot = generator.integers(0, 256, (images, onehot_planes(width), planes), dtype=np.uint8)
    sign = onehot[:, 0].copy()

    def work() -> None:
        masked, packed = steps.mask(0, share, 0, mask, width)
        opened = steps.add_packed(masked, packed, width)
        own, flat = steps.lift(0, opened, lifting, forms), opened.reshape(images, -1)
        steps.word_leaves(onehot, flat)
        steps.select(0, sign, flat, lifting, own.reshape(images, -1), bit, products)

    return median_time(work)


def link_limits() -> tuple[float, float]:
    """Bytes per second each way, and seconds of a small round, between two processes with our frames."""
    ends = socket.socketpair()
    payload, small, rounds = np.zeros(1 << 24, np.uint8), np.zeros(16, np.uint8), 200
    seconds: dict[str, float] = {}

    def side(number: int) -> None:
        with Link(ends[number], "the other", 60) as link:
            for name, message, count in (("large", payload, 4), ("small", small, rounds)):
                link.exchange(small, small.nbytes)
                started = time.perf_counter()
                for _ in range(count):
                    link.exchange(message, message.nbytes)
                seconds[name] = (time.perf_counter() - started) / count

    other = multiprocessing.get_context("fork").Process(target=side, args=(1,))
    other.start()
    side(0)
    other.join()
    return len(payload) / seconds["large"], seconds["small"]


def compare(before: Tree, after: Tree, repetitions: int) -> list[dict[str, Any]]:
    """Both commits in turns."""
    for tree in (before, after):
        tree.call("-c", BUILD, tree.root / "benchmarks" / "parties", tree.builds)
    rate, latency = link_limits()
    rows = []
    for activation, protocol, count in CASES:
        times: dict[str, list[float]] = {"before": [], "after": []}
        images = after.builds / f"{count}.npy"
        np.save(images, np.random.default_rng(0).normal(size=(count, 3, 32, 32)))
        for _ in range(repetitions):
            for name, tree in (("before", before), ("after", after)):
                answer = tree.online(tree.builds / activation, images, count, protocol)
                times[name].append(answer["online_s"])
        program, _ = ResNet18(activation).build()
        convolutions = bare_convolutions(program, count)
        setup = [row for row in answer["operations"] if row["phase"] == "setup"]
        sent = max(answer["bytes_sent"]) - max(sum(row["bytes_sent"][party] for row in setup) for party in (0, 1))
        limit = convolutions + sent / rate + answer["rounds"] * latency
        medians = {name: statistics.median(every) for name, every in times.items()}
        rows.append(
            {
                **{"activation": activation, "protocol": protocol, "images": count},
                "before_s": medians["before"],
                "after_s": medians["after"],
                "times_as_fast": medians["before"] / medians["after"],
                "runs_s": times,
                "bare_convolutions_s": convolutions,
                "of_bare_convolutions": medians["after"] / convolutions,
                "limit_s": limit,
                "of_limit": medians["after"] / limit,
                "memory_mb": max(answer["memory_mb"].values()),
            }
        )
    return rows


def two_threads(images: int) -> dict[str, float]:
    """How many times as fast two threads are as one."""
    program, _ = ResNet18("relu").build()
    work = {"convolutions": lambda: bare_convolutions(program, images), "elementwise": lambda: elementwise(images)}
    found = {}
    keep_freed_memory()  # as a party does
    for name, seconds in work.items():
        alone = seconds()
        use_threads(2)
        together = seconds()
        use_threads(1)
        found[name] = alone / together
    return found


def resnet50(after: Tree, folder: Path, repetitions: int) -> dict[str, float]:
    """One image at 224 pixels beside onnxruntime on one thread in plaintext."""
    import onnxruntime
    from imagenet import NARROW, ensure_build

    build = ensure_build(folder, "resnet50", NARROW).resolve()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "resnet50.onnx"), options, ["CPUExecutionProvider"])
    image = np.load(folder / "resnet50.npy")
    plain, answers = [], []
    for _ in range(repetitions):
        plain.append(median_time(lambda: session.run(None, {"image": image})))
        answers.append(after.online(build, (folder / "resnet50.npy").resolve(), 1, "masked"))
    online, alone = statistics.median(answer["online_s"] for answer in answers), statistics.median(plain)
    memory = max(max(answer["memory_mb"].values()) for answer in answers)
    return {"online_s": online, "onnxruntime_s": alone, "times_as_long": online / alone, "memory_mb": memory}


def table(found: Mapping[str, Any]) -> str:
    """What was measured, as Markdown."""
    rows = [
        (
            f"`{row['protocol']}`, {row['activation']}",
            str(row["images"]),
            f"{row['before_s']:.3f}",
            f"{row['after_s']:.3f}",
            f"{row['times_as_fast']:.2f}",
            f"{row['of_bare_convolutions']:.1f}",
            f"{row['of_limit']:.1f}",
            f"{row['memory_mb']:.0f}",
        )
        for row in found["rows"]
    ]
    header = ("execution", "images at once", "before s", "now s", "times as fast")
    header += ("times the bare convolutions", "times the limit", "MB memory per party")
    threads, large = found["two_threads"], found.get("resnet50")
    said = [
        f"Two threads against one: convolutions {threads['convolutions']:.2f}, elementwise kernels "
        f"{threads['elementwise']:.2f} times as fast."
    ]
    if large is not None:
        said.append(
            f"ResNet-50 at 224 px, `masked` in narrow rings: {large['online_s']:.2f} s online, "
            f"{large['times_as_long']:.1f} times onnxruntime on one thread, {large['memory_mb']:,.0f} MB."
        )
    return markdown_table(header, rows) + "\n" + "\n".join(said) + "\n"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--resnet50", type=Path, metavar="DIR", help="also ResNet-50 at 224 px, its build in this folder"
    )
    options = parser.parse_args()
    with two_trees(options.before) as (before, after):
        found: dict[str, Any] = {"rows": compare(before, after, options.repetitions), "two_threads": two_threads(16)}
        if options.resnet50 is not None:
            found["resnet50"] = resnet50(after, options.resnet50, options.repetitions)
    if options.output is not None:
        write_whole_json(options.output, found)
    print(table(found))


if __name__ == "__main__":
    main()
