"""Tables of the documentation that show what docs/results holds, where no benchmark prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rrnet_nni.base.tables import markdown_table

Row = Mapping[str, Any]
ACTIVATIONS = {"relu": "all-ReLU", "x2act": "all-polynomial"}
LINKS = ("loopback", "lan", "wan")
#: What the page with the comparisons that matter shows of all schedules.
SCHEDULES = ("resnet18@32 relu", "resnet18@32 poly", "mobilenet_v2@224 poly", "resnet50@224 relu", "resnet50@224 poly")


def fixed_point(rows: Sequence[Row]) -> str:
    """Networks in fixed point beside onnxruntime: images of the same class, errors of logits and of the worst layer."""
    return markdown_table(
        ("network", "activations", "images", "same class", "error of the logits", "of the worst layer"),
        (
            (
                f"{row['backbone']}, {row['dataset']}",
                row["choices"],
                f"{row['images']:,}",
                f"{row['same_class'] * row['images']:,.0f}",
                f"{row['logit_rms_error'] / row['logit_rms']:.2%}",
                f"{row['worst_layer_relative_rms']:.2%}",
            )
            for row in rows
        ),
    )


def service(results: Mapping[str, object]) -> str:
    """What two servers answered, over every link: requests a second, waiting, and how busy the machine was."""
    names = {
        "throughput": "digits, loopback, a machine that does nothing else",
        "networks": "digits",
        "networks_resnet18": "ResNet-18, all-polynomial",
    }
    rows = []
    for part, name in names.items():
        found = results[part]
        for row in found if isinstance(found, list) else [found]:
            link = f", {row['network']}" if "network" in row else ""
            share = f"{row['of_sustained']:.2f}" if "of_sustained" in row else ""
            waiting = [f"{row[key]:,.0f} ms" for key in ("p50_ms", "p99_ms")]
            rate = f"{row['service_per_s']:.3g}"
            others = str(len(row["other_class"]))
            count, load = f"{row['requests']:,}", f"{row['load_average']:.1f}"
            rows.append([name + link, count, rate, share, *waiting, others, load])
    return markdown_table(
        (
            "network, link",
            "requests",
            "a second",
            "of what `rrnet-2pc-run` sustains",
            "half within",
            "99 of 100 within",
            "other class than the reference",
            "load of the machine",
        ),
        rows,
    )


def two_party(rows: Sequence[Row]) -> str:
    """One image over three links, ours and CrypTen's: seconds, bytes, and their ratios within the run."""
    found = {(row["network"], row["system"], row["activation"]): row for row in rows if row["batch"] == 1}
    made = []
    for activation, name in ACTIVATIONS.items():
        for system in ("masked", "masked-dcf", "beaver-ot", "crypten"):
            mine = [found[link, system, activation] for link in LINKS]
            least, most = mine[0]["online_range_s"]
            ratios = [f"{row['time_ratio']:.3f}" for row in mine if "time_ratio" in row]
            made.append(
                [
                    "CrypTen 0.4.1" if system == "crypten" else f"`{system}`",
                    name,
                    f"{mine[0]['online_s']:.3g} ({least:.3g} to {most:.3g})",
                    *(f"{row['online_s']:.3g}" for row in mine[1:]),
                    f"{mine[0]['bytes_both_ways'] / 1e6:.2f}",
                    ", ".join(ratios),
                    f"{mine[0]['bytes_ratio']:.3f}" if ratios else "",
                    f"{mine[0]['memory_mb']:.0f}",
                ]
            )
    return markdown_table(
        (
            "protocol",
            "network",
            "loopback s (least to most)",
            "lan s",
            "wan s",
            "MB both ways",
            "of CrypTen's time: loopback, lan, wan",
            "of its bytes",
            "MB memory per party",
        ),
        made,
    )


def schedules(rows: Sequence[Row]) -> str:
    """Some schedules beside their bounds, and the worst of all."""
    worst = max(rows, key=lambda row: float(row["makespan_over_bound"]))
    shown = [row for name in SCHEDULES for row in rows if row["network"] == name]
    return markdown_table(
        ("network", "makespan ms", "bound ms", "ratio", "faster than operator by operator"),
        (
            (
                f"{row['network']}{f', the largest ratio of {len(rows)}' if row is worst else ''}",
                f"{row['makespan_ms']:.2f}",
                f"{row['lower_bound_ms']:.2f}",
                f"{row['makespan_over_bound']:.3f}",
                f"{row['operator_sum_over_makespan']:.2f}x",
            )
            for row in [*shown, worst]
        ),
    )


def board(results: Mapping[str, Any]) -> str:
    """Whole networks on the paper's array and on this project's accelerator."""
    tables = results["tables"]
    names = {f"{table['network']} {table['choice']}": table["rows"] for table in tables}
    wanted = [row["row"] for row in tables[0]["rows"] if "depthwise" not in row["row"]]
    rows = [
        [row, *(f"{found['makespan_ms']:.1f}" for rows in names.values() for found in rows if found["row"] == row)]
        for row in wanted
    ]
    return markdown_table(("boards", *(f"{name}, ms" for name in names)), rows)


def budget(results: Mapping[str, Any]) -> str:
    """What the accelerator needs of the chip."""
    return markdown_table(
        ("", "needs", "usable", "of the chip"),
        (
            (name.upper(), *(f"{found[key]:,}" for key in ("needs", "usable", "available")))
            for name, found in results["budget"].items()
        ),
    )
