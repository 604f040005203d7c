"""The page of a run: one self-contained HTML file, drawn as SVG, without scripts and without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.files import write_whole, write_whole_json

from .report import ExecutedBatch, Report
from .results import Result, results_on_front

REPORT_JSON, REPORT_PAGE = "report.json", "report.html"

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: right; padding: .3rem .6rem; }
th { border-bottom: 2px solid #1c2430; font-weight: 600; } td { border-bottom: 1px solid #dde2e8; }
th:first-child, td:first-child { text-align: left; } tr.chosen { background: #e8f3ec; font-weight: 600; }
svg { max-width: 100%; height: auto; } .note { color: #5a6675; } code { background: #f1f3f5; padding: 0 .25rem; }
.relu { color: #b4472e; } .x2act { color: #256d85; } .maxpool { color: #b4472e; } .avgpool { color: #256d85; }
"""
RED, BLUE, GREY, GREEN = "#b4472e", "#256d85", "#8a94a0", "#2e7d4f"


def save_report(report: Report, directory: Path) -> Path:
    """Write report.json and report.html; returns the page."""
    write_whole_json(directory / REPORT_JSON, report.to_dict())
    page = directory / REPORT_PAGE
    write_whole(page, render_page(report).encode())
    return page


def render_page(report: Report) -> str:
    """The report as one HTML document."""
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        _summary(report),
        "<h2>Accuracy and latency</h2>",
        pareto_figure(report.results, report.chosen),
        _table(report.results, report.chosen),
    ]
    if report.chosen is not None:
        parts += ["<h2>The chosen network</h2>", _gates(report)]
    if any(report.searches):
        parts += ["<h2>The searches</h2>", _search_figures(report)]
    if report.execution:
        parts += ["<h2>Executed by two parties</h2>", _execution(report.execution)]
    if report.links:
        items = "".join(f"<li>{escape(name)}: <code>{escape(path)}</code></li>" for name, path in report.links.items())
        parts += ["<h2>Files</h2>", f"<ul>{items}</ul>"]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(report.title)}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def pareto_figure(results: Sequence[Result], chosen: int | None = None) -> str:
    """SVG: test accuracy over modelled latency, one dot a trial, the front as steps."""
    width, height, left, bottom = 640, 300, 60, 45
    x = _Axis([result.latency_ms for result in results], left, width - 20)
    y = _Axis([100 * result.accuracy for result in results], height - bottom, 20)
    drawn = [_axes(x, y, width, height, "modelled 2PC latency of one image [ms]", "test accuracy [%]")]
    front = results_on_front(results)
    corners = []
    for i, result in enumerate(front):
        if i:
            corners.append(f"{x(result.latency_ms):.1f},{y(100 * front[i - 1].accuracy):.1f}")
        corners.append(f"{x(result.latency_ms):.1f},{y(100 * result.accuracy):.1f}")
    drawn.append(f'<polyline points="{" ".join(corners)}" fill="none" stroke="{GREY}" stroke-dasharray="4 3"/>')
    for i, result in enumerate(results):
        color, radius = (GREEN, 7) if i == chosen else (BLUE, 5)
        title = f"λ = {format_weight(result.latency_weight)}/ms, {result.comparisons:,} comparisons"
        drawn.append(
            f'<circle cx="{x(result.latency_ms):.1f}" cy="{y(100 * result.accuracy):.1f}" r="{radius}" fill="{color}">'
            f"<title>{escape(title)}</title></circle>"
        )
    return _svg(width, height, drawn)


def _summary(report: Report) -> str:
    if report.chosen is None:
        return f"<p>{len(report.results)} searched networks.</p>"
    chosen = report.results[report.chosen]
    kept = chosen.comparisons / max(1, chosen.all_relu_comparisons)
    return (
        f"<p>Of {len(report.results)} searched networks the chosen one keeps {kept:.0%} of the comparisons of the "
        f"all-ReLU network, classifies {100 * chosen.accuracy:.1f} % of the test images correctly and takes "
        f"{chosen.latency_ms:.2f} ms for one image by the performance model of the two boards.</p>"
    )


def _table(results: Sequence[Result], chosen: int | None) -> str:
    heads = ["λ [1/ms]", "test accuracy", "fixed point", "latency [ms]", "schedule [ms]", "ReLUs", "comparisons"]
    rows = []
    for i, result in enumerate(results):
        cells = [
            format_weight(result.latency_weight),
            f"{100 * result.accuracy:.1f} %",
            "–" if result.fixed_point_accuracy is None else f"{100 * result.fixed_point_accuracy:.1f} %",
            f"{result.latency_ms:.3f}",
            "–" if result.makespan_ms is None else f"{result.makespan_ms:.3f}",
            f"{result.relus:,}",
            f"{result.comparisons:,}",
        ]
        mark = ' class="chosen"' if i == chosen else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return (
        f"<table><tr>{head}</tr>{''.join(rows)}</table><p class=note>Latencies are modelled for the device pair, not "
        "measured: the sum of the latency table, and the compiled schedule in which operators overlap.</p>"
    )


def _gates(report: Report) -> str:
    assert report.chosen is not None
    architecture = report.architectures[report.chosen]
    rows = []
    for label, candidate in architecture.choices.items():
        theta = architecture.theta.get(label, {}).get(candidate)
        probability = "–" if theta is None else f"{theta:.3f}"
        rows.append(
            f"<tr><td>{escape(label)}</td><td class={escape(candidate)}>{escape(candidate)}</td>"
            f"<td>{probability}</td></tr>"
        )
    return f"<table><tr><th>gate</th><th>candidate</th><th>θ</th></tr>{''.join(rows)}</table>"


def _search_figures(report: Report) -> str:
    figures = []
    for result, search in zip(report.results, report.searches):
        if search:
            figures.append(f"<h3>λ = {format_weight(result.latency_weight)} / ms</h3>{theta_figure(search)}")
    legend = (
        f'<p class=note>θ of the comparing candidate (ReLU, MaxPool) of every gate over the epochs; <span style="color:'
        f'{RED}">ReLU gates</span>, <span style="color:{BLUE}">pooling gates</span>.</p>'
    )
    return legend + "".join(figures)


def theta_figure(search: Sequence[Mapping[str, Any]]) -> str:
    """SVG: θ of ReLU and of MaxPool in every gate over the epochs of one search."""
    width, height, left, bottom = 640, 150, 60, 40
    epochs = [float(record["epoch"]) for record in search]
    x, y = _Axis(epochs, left, width - 20), _Axis([0.0, 1.0], height - bottom, 10)
    drawn = [_axes(x, y, width, height, "epoch", "θ")]
    for label in search[-1]["theta"]:
        candidate, color = ("relu", RED) if "relu" in search[-1]["theta"][label] else ("maxpool", BLUE)
        points = " ".join(
            f"{x(float(record['epoch'])):.1f},{y(record['theta'][label][candidate]):.1f}"
            for record in search
            if candidate in record["theta"].get(label, {})
        )
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-opacity="0.7">'
            f"<title>{escape(label)}</title></polyline>"
        )
    return _svg(width, height, drawn)


def _execution(execution: ExecutedBatch) -> str:
    sent, predicted = execution.bytes_sent, execution.predicted_bytes
    return (
        f"<p>{execution.images} test images ran in two processes under <code>{escape(execution.protocol)}</code> with "
        f"preprocessing by a {escape(execution.preprocessing)}. Against onnxruntime on the exported model "
        f"{execution.same_class:.1%} of the images get the same class; the largest absolute difference of a logit is "
        f"{execution.worst_difference:.4f}.</p>"
        "<table><tr><th></th><th>party 0 (client)</th><th>party 1 (server)</th></tr>"
        f"<tr><td>bytes sent online</td><td>{sent[0]:,}</td><td>{sent[1]:,}</td></tr>"
        f"<tr><td>bytes predicted by the program</td><td>{predicted[0]:,}</td><td>{predicted[1]:,}</td></tr></table>"
        f"<p>Online {execution.online_s:.2f} s in {execution.rounds} rounds, preprocessing {execution.offline_s:.2f} s "
        "(measured on this machine, both parties on its processors).</p>"
        "<p>Largest absolute difference of a logit, image by image:</p>"
        f"{difference_figure(execution.difference_per_image)}"
    )


def difference_figure(differences: Sequence[float]) -> str:
    """SVG: a bar per image, its height the largest absolute difference of a logit."""
    width, height, left, bottom = 640, 160, 70, 40
    x = _Axis([0.0, float(len(differences))], left, width - 20)
    y = _Axis([0.0, max([*differences, 1e-9])], height - bottom, 10)
    drawn = [_axes(x, y, width, height, "test image", "|difference|")]
    bar = max(1.0, (x.stop - x.start) / max(1, len(differences)) - 0.5)
    for i, value in enumerate(differences):
        drawn.append(
            f'<rect x="{x(float(i)):.1f}" y="{y(value):.1f}" width="{bar:.1f}" height="{y(0.0) - y(value):.1f}" '
            f'fill="{BLUE}"><title>image {i}: {value:.5f}</title></rect>'
        )
    return _svg(width, height, drawn)


def format_weight(weight: float | None) -> str:
    """λ as people write it: 0, 0.02, 1e-04; a dash where no search was made."""
    return "–" if weight is None else f"{weight:.3g}"


class _Axis:
    """A linear map from values to pixels, with a margin where all values are equal."""

    def __init__(self, values: Sequence[float], start: float, stop: float) -> None:
        self.low, self.high = float(min(values)), float(max(values))
        largest = max(abs(self.low), abs(self.high))
        if self.high - self.low <= 1e-9 * max(largest, 1e-6):
            # Equal but for rounding: show the value in the middle of a range that has room for ticks.
            margin = 0.05 * largest if largest > 1e-6 else 0.5
            self.low, self.high = self.low - margin, self.high + margin
        self.start, self.stop = start, stop

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        step = 10.0 ** np.floor(np.log10((self.high - self.low) / count))
        while (self.high - self.low) / step > count * 1.5:
            step *= 2 if (self.high - self.low) / (2 * step) <= count * 1.5 else 2.5
        first = np.ceil(self.low / step - 1e-9)
        return [float(i * step) for i in np.arange(first, np.floor(self.high / step + 1e-9) + 1)]


def _axes(x: _Axis, y: _Axis, width: int, height: int, x_name: str, y_name: str) -> str:
    parts = [
        f'<path d="M{x.start} {y.stop} V{y.start} H{x.stop}" fill="none" stroke="{GREY}"/>',
        f'<text x="{(x.start + x.stop) / 2}" y="{height - 6}" text-anchor="middle">{escape(x_name)}</text>',
        f'<text x="14" y="{(y.start + y.stop) / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {(y.start + y.stop) / 2})">{escape(y_name)}</text>',
    ]
    for tick in x.ticks():
        parts.append(f'<text x="{x(tick):.1f}" y="{y.start + 16}" text-anchor="middle" fill="{GREY}">{tick:g}</text>')
    for tick in y.ticks(4):
        parts.append(f'<text x="{x.start - 6}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="{GREY}">{tick:g}</text>')
    return "".join(parts)


def _svg(width: int, height: int, drawn: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" font-family="system-ui, sans-serif" font-size="11" '
        f'role="img">{"".join(drawn)}</svg>'
    )
