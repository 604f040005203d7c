"""The pages of a run: self-contained HTML files that link to each other, without scripts and without the network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from rrnet_nni.base.files import write_whole, write_whole_json
from rrnet_nni.base.page import html_facts, html_figure, html_page, html_table

from .charts import difference_figure, front_figure, theta_figure
from .placement import MACHINE_TABLE, machine_rows
from .report import ExecutedBatch, Report
from .results import Result, format_weight, results_on_front

REPORT_JSON, REPORT_PAGE = "report.json", "report.html"
BUILD_PAGE = Path("build") / "report.html"
TABLE = (
    *("λ [1/ms]", "validation accuracy", "test accuracy", "fixed-point test accuracy", "exploded test images"),
    *("modelled latency [ms]", "schedule [ms]", "ReLUs", "comparisons", "pages"),
)
_LATENCIES = (
    "Latencies are modelled for the device pair, not measured: the sum of the latency table, and the compiled schedule "
    "in which operators overlap. The choice is made on validation images; the test images decide nothing."
)
_THETA = (
    "θ of the comparing candidate (ReLU, MaxPool) of every gate, epoch by epoch: red keeps the comparison, blue "
    "replaces it by X2act or AvgPool."
)


def trial_bodies(report: Report) -> list[str]:
    """What the page of every trial shows of its gates; draws one figure each."""
    return [_trial_body(report, number) for number in range(len(report.results))]


def save_report(report: Report, directory: Path, bodies: Sequence[str] | None = None) -> Path:
    """Write report.json, report.html and a page for every trial; returns report.html.

    Args:
        bodies: the `trial_bodies` where they are drawn already.
    """
    write_whole_json(directory / REPORT_JSON, report.to_dict())
    bodies = trial_bodies(report) if bodies is None else bodies
    for number, body in enumerate(bodies):
        write_whole(directory / trial_page_name(number), render_trial(report, number, body, directory).encode())
    page = directory / REPORT_PAGE
    chosen = None if report.chosen is None else bodies[report.chosen]
    write_whole(page, render_page(report, chosen, directory).encode())
    return page


def trial_page_name(number: int) -> str:
    return f"trial-{number}.html"


def render_page(report: Report, chosen: str | None, directory: Path) -> str:
    """The report of the whole run, with the body of the chosen network, as one HTML document in `directory`."""
    parts = [f"<h1>{escape(report.title)}</h1>", _summary(report), "<h2>Accuracy and latency</h2>"]
    caption = "A point is a searched network, the ring the chosen one; no other network beats those on the line."
    parts += [html_figure(front_figure(report.results, report.chosen), caption), _results_table(report, directory)]
    if chosen is not None:
        parts += ["<h2>The chosen network</h2>", chosen]
    if report.execution:
        parts += ["<h2>Executed by two parties</h2>", *_execution(report.execution)]
    if rows := machine_rows(report.placements):
        parts += ["<h2>Machines</h2>", html_table(MACHINE_TABLE, [tuple(map(escape, row)) for row in rows])]
    if report.links:
        parts += ["<h2>Files</h2>", _files(report.links, directory)]
    return html_page(report.title, parts)


def render_trial(report: Report, number: int, body: str, directory: Path) -> str:
    """One searched network with its body as one HTML document in `directory`."""
    result = report.results[number]
    title = f"{result.backbone}, {_weight_words(result)}"
    links = [f'<a href="{REPORT_PAGE}">← {escape(report.title)}</a>']
    links += [f'<a href="{escape(href)}">{words}</a>' for words, href in _build_link(report, number, directory)]
    facts = dict(zip(TABLE, _cells(result)))
    if result.expected_latency_ms is not None:
        facts["expected latency at the end of the search [ms]"] = f"{result.expected_latency_ms:.3f}"
    facts["seed"], facts["duration"] = str(result.seed), f"{result.duration_s:.0f} s"
    facts |= _whereabouts(report, number)
    parts = [f"<nav>{''.join(links)}</nav>", f"<h1>{escape(title)}</h1>", html_facts(facts)]
    if result.uncompiled:
        parts.append(f"<p>It could not be compiled: {escape(result.uncompiled)}.</p>")
    parts.append(f"<p class=note>{_LATENCIES}</p>")
    return html_page(title, [*parts, body])


def _whereabouts(report: Report, number: int) -> dict[str, str]:
    """Where a trial ran and on what, and how long it waited, as far as that is known."""
    result = report.results[number]
    placement = report.placements[number] if report.placements else None
    facts = {"machine": placement.machine if placement else result.machine, "trained on": result.device}
    if placement:
        facts["waited"] = f"{placement.waited_s:.0f} s"
        facts["started"] = "once" if placement.starts == 1 else f"{placement.starts} times"
    return {name: fact for name, fact in facts.items() if fact is not None}


def _trial_body(report: Report, number: int) -> str:
    """Every gate with its choice and, where a search was made, its way there."""
    architecture, search = report.architectures[number], report.searches[number]
    rows = []
    for label, candidate in architecture.choices.items():
        theta = architecture.theta.get(label, {}).get(candidate)
        chosen = f'<span class="{escape(candidate)}">{escape(candidate)}</span>'
        rows.append((escape(label), chosen, "–" if theta is None else f"{theta:.3f}"))
    table = html_table(("gate", "chosen", "θ"), rows)
    return table + (html_figure(theta_figure(search), _THETA) if search else "")


def _summary(report: Report) -> str:
    if report.chosen is None:
        return f"<p>{len(report.results)} searched networks.</p>"
    chosen = report.results[report.chosen]
    kept = chosen.comparisons / max(1, chosen.all_relu_comparisons)
    return (
        f"<p>Of {len(report.results)} searched networks the chosen one keeps {_percent(kept)} of the comparisons of "
        f"the all-ReLU network, classifies {_percent(chosen.accuracy)} of the test images correctly and takes "
        f"{chosen.latency_ms:.2f} ms for one image by the performance model of the two boards.</p>"
    )


def _results_table(report: Report, directory: Path) -> str:
    """All networks by latency; the front is marked, and the chosen one."""
    results = report.results
    front = results_on_front(results)
    order = sorted(range(len(results)), key=lambda number: results[number].latency_ms)
    rows = []
    for number in order:
        marks = (" ◆" if results[number] in front else "") + (" chosen" if number == report.chosen else "")
        pages = [("trial", trial_page_name(number)), *_build_link(report, number, directory)]
        links = "".join(f'<a href="{escape(href)}">{words}</a>' for words, href in pages)
        weight, *others = _cells(results[number])
        rows.append((f"{weight}{marks}", *others, f"<span>{links}</span>"))
    classes = ["chosen" if number == report.chosen else "" for number in order]
    return html_table(TABLE, rows, classes) + f"<p class=note>◆ on the Pareto front. {_LATENCIES}</p>"


def _cells(result: Result) -> tuple[str, ...]:
    """What `TABLE` names, without the pages."""
    return (
        format_weight(result.latency_weight),
        _percent(result.validation_accuracy),
        _percent(result.accuracy),
        _percent(result.fixed_point_accuracy),
        f"{result.exploded_images:,}",
        f"{result.latency_ms:.3f}",
        "–" if result.makespan_ms is None else f"{result.makespan_ms:.3f}",
        f"{result.relus:,}",
        f"{result.comparisons:,}",
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _weight_words(result: Result) -> str:
    return "not searched" if result.latency_weight is None else f"λ = {format_weight(result.latency_weight)}/ms"


def _build_link(report: Report, number: int, directory: Path) -> list[tuple[str, str]]:
    """The page of a trial's build where there is one; it is told where it was opened from."""
    page = report.folders[number] / BUILD_PAGE
    if not page.is_file():
        return []
    back = os.path.relpath(directory / trial_page_name(number), page.parent)
    return [("build", f"{os.path.relpath(page, directory)}#from={back}")]


def _files(links: Mapping[str, str], directory: Path) -> str:
    items = []
    for name, path in links.items():
        if name == "report":
            continue  # this page
        target = Path(path) / "report.html" if Path(path).is_dir() else Path(path)
        href = os.path.relpath(target, directory)
        back = f"#from={os.path.relpath(directory / REPORT_PAGE, target.parent)}" if target != Path(path) else ""
        items.append(f'<li>{escape(name)}: <a href="{escape(href + back)}">{escape(href)}</a></li>')
    return f"<ul>{''.join(items)}</ul>"


def _execution(execution: ExecutedBatch) -> list[str]:
    sent, predicted = execution.bytes_sent, execution.predicted_bytes
    return [
        f"<p>{execution.images} test images ran in two processes under <code>{escape(execution.protocol)}</code> with "
        f"preprocessing by a {escape(execution.preprocessing)}. Against onnxruntime on the exported model "
        f"{_percent(execution.same_class)} of the images get the same class; the largest absolute difference of a "
        f"logit is {execution.worst_difference:.4f}.</p>",
        html_table(
            ("", "party 0 (client)", "party 1 (server)"),
            [
                ("bytes sent online", f"{sent[0]:,}", f"{sent[1]:,}"),
                ("bytes predicted by the program", f"{predicted[0]:,}", f"{predicted[1]:,}"),
            ],
        ),
        f"<p>Online {execution.online_s:.2f} s in {execution.rounds} rounds, preprocessing {execution.offline_s:.2f} s "
        "(measured on this machine, both parties on its processors).</p>",
        html_figure(
            difference_figure(execution.difference_per_image), "Largest difference of a logit, image by image."
        ),
    ]
