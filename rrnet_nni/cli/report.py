"""`rrnet report`: the table and the page of searched networks, from their folders."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rrnet_nni.base.console import add_common_options, print_json

EPILOG = """examples:
  rrnet report runs/latest                       the newest run of the main job
  rrnet report runs/first runs/second -o page/   any folders with a result.json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("report", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="DIR", help="folders with a result.json, or of experiments"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write report.html and report.json there")
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from rrnet_nni.base.files import output_folder
    from rrnet_nni.base.tables import watched_table

    from ..experiments.finishing import pareto_table
    from ..reports.placement import MACHINE_TABLE, machine_rows
    from ..reports.report import collect
    from ..reports.report_page import save_report
    from ..reports.results import choose, results_on_front

    report = collect("RRNet", [folder for run in options.runs for folder in result_folders(run)])
    report = replace(report, chosen=report.results.index(choose(report.results)))
    page = save_report(report, output_folder(options.output)) if options.output else None
    if options.json:
        front = [report.results.index(result) for result in results_on_front(report.results)]
        results = [result.to_dict() for result in report.results]
        print_json({"results": results, "front": front, "chosen": report.chosen, "page": page and str(page)})
        return 0
    console = Console()
    console.print(pareto_table(report))
    if rows := machine_rows(report.placements):
        console.print(watched_table("Where they ran", MACHINE_TABLE, rows, left=1))
    if page:
        print(f"report: {page}")
    return 0


def result_folders(run: Path) -> list[Path]:
    """The folder itself, or the trials of the experiment that it belongs to."""
    from rrnet_nni.base.errors import Refusal

    from ..reports.results import RESULT_FILE

    if (run / RESULT_FILE).exists():
        return [run]
    experiment = run.resolve().parent if run.resolve().name == "result" else run.resolve()
    places = ("environments/*/trials", "trials")  # of NNI, and of a sweep
    found = sorted(path.parent for place in places for path in experiment.glob(f"{place}/*/{RESULT_FILE}"))
    if not found:
        raise Refusal(f"{run}: no {RESULT_FILE} there, and it is not the folder of an experiment with finished trials")
    return found
