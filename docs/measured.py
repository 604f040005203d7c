"""Tables of the documentation that show what docs/results holds, where no benchmark prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rrnet_nni.base.tables import markdown_table

Row = Mapping[str, Any]


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
