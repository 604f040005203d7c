"""The page of a run and the comparison of logits."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.example_result import RESULT
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rrnet_nni.architecture import Architecture
from rrnet_nni.base.errors import Refusal
from rrnet_nni.experiments.main_job import pareto_table
from rrnet_nni.reports.agreement import compare_logits
from rrnet_nni.reports.report import ExecutedBatch, Report, collect, read_search_record
from rrnet_nni.reports.report_page import difference_figure, pareto_figure, save_report

ANSWER = {
    "online_s": 1.5,
    "offline_s": 0.5,
    "bytes_sent": [1000, 2000],
    "predicted_bytes": [1000, 2000],
    "rounds": 12,
    "preprocessing": "dealer",
}


class WellFormed(HTMLParser):
    """Checks that every element that opens also closes."""

    VOID = frozenset({"meta", "br", "rect", "path", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def report(tmp_path: Path) -> Report:
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.2, 0.1]])
    agreement = compare_logits(logits, logits + np.array([[0.0, 0.1], [0.0, -0.3], [-0.2, 0.0]]))
    slower = replace(RESULT, latency_ms=3.0, accuracy=0.99, latency_weight=0.0)
    searched = (
        {"epoch": 0, "theta": {"act1": {"relu": 0.5, "x2act": 0.5}, "pool": {"maxpool": 0.5, "avgpool": 0.5}}},
        {"epoch": 1, "theta": {"act1": {"relu": 0.1, "x2act": 0.9}, "pool": {"maxpool": 0.8, "avgpool": 0.2}}},
    )
    architecture = Architecture("resnet8", {}, {"act1": "x2act"}, {"act1": {"relu": 0.1, "x2act": 0.9}})
    return Report(
        "A <run>",
        (RESULT, slower),
        (searched, ()),
        (architecture, architecture),
        chosen=0,
        execution=ExecutedBatch.of(agreement, ANSWER, "beaver-ot"),
        links={"model": "model.onnx"},
    )


def test_the_page_is_well_formed_self_contained_and_shows_the_differences(tmp_path: Path) -> None:
    page = save_report(report(tmp_path), tmp_path).read_text()
    parser = WellFormed()
    parser.feed(page)
    assert parser.open == []
    assert "<script" not in page
    assert "http" not in page
    assert "A &lt;run&gt;" in page
    assert "0.3000" in page
    assert "66.7%" in page


def test_the_data_behind_the_page_keep_every_image(tmp_path: Path) -> None:
    save_report(report(tmp_path), tmp_path)
    document = json.loads((tmp_path / "report.json").read_text())
    assert np.allclose(document["execution"]["difference_per_image"], [0.1, 0.3, 0.2])
    assert document["chosen"] == 0
    assert document["front"] == [0, 1]


def test_the_table_on_a_terminal_has_its_units(tmp_path: Path) -> None:
    printed = io.StringIO()
    Console(file=printed, width=120).print(pareto_table(report(tmp_path)))
    assert "λ [1/ms]" in printed.getvalue()
    assert "latency [ms]" in printed.getvalue()


def test_a_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"result\.json"):
        collect("x", [tmp_path])


def test_a_folder_can_be_reported_from_anywhere_and_after_it_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = Architecture("resnet8", {}, {"act1": "relu"})
    architecture.save(tmp_path / "run" / "architecture.json")
    replace(RESULT, architecture="run/architecture.json").save(tmp_path / "run")
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    assert collect("x", [moved]).architectures == (architecture,)


@pytest.mark.parametrize("line", ["3", '{"epoch": 0}', '{"theta": {}}'])
def test_a_record_without_epoch_or_theta_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "search.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(Refusal, match=r"search\.jsonl"):
        read_search_record(path)


def test_a_damaged_search_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    path.write_text('{"epoch": 0}\n{"epo')
    with pytest.raises(Refusal, match=r"search\.jsonl"):
        read_search_record(path)


@given(st.lists(st.floats(0, 1e6), max_size=40))
def test_any_differences_can_be_drawn(differences: list[float]) -> None:
    figure = difference_figure(differences)
    assert figure.count("<rect") == len(differences)
    assert "nan" not in figure


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1e5)), min_size=1, max_size=9))
def test_any_results_can_be_drawn(points: list[tuple[float, float]]) -> None:
    results = [replace(RESULT, accuracy=accuracy, latency_ms=latency) for accuracy, latency in points]
    figure = pareto_figure(results, chosen=0)
    assert figure.count("<circle") == len(results)
    assert "nan" not in figure


@pytest.mark.parametrize("accuracy", [0.0, 5e-324, 1e-310, 1.0])
@pytest.mark.parametrize("latency", [1e-9, 3.0, 3.0 + 1e-13, 1e5])
def test_results_that_are_equal_but_for_rounding_can_be_drawn(accuracy: float, latency: float) -> None:
    results = [replace(RESULT, accuracy=accuracy, latency_ms=value) for value in (latency, latency * (1 + 1e-15))]
    assert pareto_figure(results).count("<circle") == 2


def test_logits_of_another_shape_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shape"):
        compare_logits(np.zeros((2, 3)), np.zeros((2, 4)))
