"""The page of a run and the comparison of logits."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.example_result import RESULT, example_report
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from rrnet_nni.architecture import Architecture
from rrnet_nni.base.errors import Refusal
from rrnet_nni.experiments.finishing import pareto_table
from rrnet_nni.reports.agreement import compare_logits
from rrnet_nni.reports.charts import difference_figure, front_figure, percent_limits
from rrnet_nni.reports.report import collect, read_search_record
from rrnet_nni.reports.report_page import save_report
from rrnet_nni.reports.results import format_weight


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


def test_the_page_is_well_formed_self_contained_and_shows_the_differences(tmp_path: Path) -> None:
    page = save_report(example_report(tmp_path), tmp_path).read_text()
    trial = (tmp_path / "trial-0.html").read_text()
    for written in (page, trial):
        parser = WellFormed()
        parser.feed(written)
        assert parser.open == []
        assert "<script" not in written
        assert "http" not in written
        assert "A &lt;run&gt;" in written
    assert "0.3000" in page
    assert "66.7 %" in page
    assert ">layer1.0.act1</text>" in trial  # the gate's name is a word of the figure


def test_every_network_has_its_row_by_latency_and_every_figure_its_own_word(tmp_path: Path) -> None:
    results = [replace(RESULT, latency_ms=latency, accuracy=0.5) for latency in (3.0, 1.0, 2.0)]
    report = example_report(tmp_path, *results)
    page = save_report(report, tmp_path).read_text()
    rows = re.findall(r'data-head="modelled latency \[ms\]">([\d.]+)<', page)
    assert rows == ["1.000", "2.000", "3.000"]
    for head, value in (
        ("validation accuracy", "98.0 %"),
        ("test accuracy", "50.0 %"),
        ("fixed-point test accuracy", "97.0 %"),
        ("comparisons", "150"),
        ("exploded test images", "0"),
    ):
        assert page.count(f'<td data-head="{head}">{value}</td>') == 3
    assert 'data-head="accuracy"' not in page


def test_the_data_behind_the_page_keep_every_image(tmp_path: Path) -> None:
    save_report(example_report(tmp_path), tmp_path)
    document = json.loads((tmp_path / "report.json").read_text())
    assert np.allclose(document["execution"]["difference_per_image"], [0.1, 0.3, 0.2])
    assert document["chosen"] == 0
    assert document["front"] == [0, 1]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_on_a_terminal_has_its_units_and_whole_words(tmp_path: Path, width: int) -> None:
    printed = io.StringIO()
    Console(file=printed, width=width).print(pareto_table(example_report(tmp_path)))
    assert {"λ", "[1/ms]", "latency", "[ms]", "comparisons"} <= set(printed.getvalue().replace("┃", " ").split())
    assert "…" not in printed.getvalue()


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


@settings(max_examples=15)
@given(st.lists(st.floats(0, 1e6), max_size=40))
def test_any_differences_can_be_drawn(differences: list[float]) -> None:
    assert "nan" not in difference_figure(differences)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1e5)), min_size=1, max_size=9))
def test_any_results_are_drawn_with_their_latency_weights(
    points: list[tuple[float, float]],
) -> None:
    results = [
        replace(RESULT, accuracy=accuracy, latency_ms=latency, latency_weight=(number + 1) / 8)
        for number, (accuracy, latency) in enumerate(points)
    ]
    figure = front_figure(results, chosen=0)
    assert "nan" not in figure
    labels = [label for text in re.findall(r">λ ([^<]*)</text>", figure) for label in text.split(", ")]
    assert sorted(labels) == sorted(format_weight(result.latency_weight) for result in results)


@given(st.lists(st.floats(0, 100), min_size=1))
def test_an_axis_of_percentages_has_room_below_and_ends_at_100(percentages: list[float]) -> None:
    low, high = percent_limits(percentages)
    assert 0 <= low <= min(percentages)
    assert max(percentages) <= high <= 100
    assert low < high


@pytest.mark.parametrize("accuracy", [0.0, 5e-324, 1.0])
@pytest.mark.parametrize("latency", [1e-9, 3.0, 3.0 + 1e-13, 1e5])
def test_results_that_are_equal_but_for_rounding_share_a_label(accuracy: float, latency: float) -> None:
    results = [
        replace(RESULT, accuracy=accuracy, latency_ms=latency * factor, latency_weight=weight)
        for factor, weight in ((1, 0.25), (1 + 1e-15, 0.5))
    ]
    assert ">λ 0.25, 0.5</text>" in front_figure(results)


def test_logits_of_another_shape_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shape"):
        compare_logits(np.zeros((2, 3)), np.zeros((2, 4)))
