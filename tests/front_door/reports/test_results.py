"""Results on disk, the front, and the choice that never looks at the test set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.example_result import RESULT
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.reports.results import Result, choose, results_on_front

results = st.lists(
    st.builds(
        lambda accuracy, validation, latency: replace(
            RESULT, accuracy=accuracy, validation_accuracy=validation, latency_ms=latency
        ),
        st.floats(0, 1),
        st.floats(0, 1),
        st.floats(0.1, 100),
    ),
    min_size=1,
    max_size=12,
)


def test_a_result_is_read_back_as_it_was_written_with_its_paths_where_it_is_now(tmp_path: Path) -> None:
    made = replace(RESULT, model="/elsewhere/model.onnx", build="/elsewhere/build", machine="gpu7", device="cpu")
    made.save(tmp_path)
    paths = {name: str(tmp_path / getattr(RESULT, name)) for name in ("architecture", "checkpoint", "model", "build")}
    assert Result.load(tmp_path) == Result.load(tmp_path / "result.json") == replace(made, **paths)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"accuracy": 1}'])
def test_a_damaged_result_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(Refusal, match=r"result\.json"):
        Result.load(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("latency_ms", "fast"), ("accuracy", None), ("relus", 1.5), ("seed", True)])
def test_a_value_of_another_kind_is_refused_by_its_key(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / "result.json").write_text(json.dumps({**RESULT.to_dict(), key: value}))
    with pytest.raises(Refusal, match=key):
        Result.load(tmp_path)


@given(results)
def test_the_front_holds_exactly_what_nothing_else_dominates(found: list[Result]) -> None:
    front = results_on_front(found)
    for result in found:
        beaten = any(
            other.accuracy >= result.accuracy
            and other.latency_ms <= result.latency_ms
            and (other.accuracy, other.latency_ms) != (result.accuracy, result.latency_ms)
            for other in found
        )
        on_front = (result.accuracy, result.latency_ms) in [(one.accuracy, one.latency_ms) for one in front]
        assert on_front != beaten


@given(results)
def test_the_choice_is_the_fastest_within_tolerance_on_validation(found: list[Result]) -> None:
    chosen = choose(found, tolerance=0.02)
    best = max(result.validation_accuracy for result in found)
    assert chosen.validation_accuracy >= best - 0.02
    assert all(result.latency_ms >= chosen.latency_ms for result in found if result.validation_accuracy >= best - 0.02)


@given(results, st.floats(0, 1))
def test_the_choice_does_not_depend_on_test_accuracy(found: list[Result], accuracy: float) -> None:
    chosen = choose(found)
    changed = [replace(result, accuracy=accuracy) for result in found]
    assert choose(changed) == changed[found.index(chosen)]
