"""ParetoTuner spreads λ on a log scale, then fills the widest gap of the front."""

from __future__ import annotations

import json
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.errors import Refusal
from rrnet_nni.strategies.pareto_front import Point, hypervolume, pareto_front
from rrnet_nni.strategies.pareto_tuner import ParetoClassArgsValidator, ParetoTuner

SPACE = {"latency_weight": {"_type": "loguniform", "_value": [0.01, 1]}}


def tuner(**arguments: Any) -> ParetoTuner:
    made = ParetoTuner(**arguments)
    made.update_search_space(SPACE)
    return made


def result(weight: float) -> dict[str, float]:
    """A made-up trial: a larger λ gives a faster and less accurate network, with a jump at λ = 0.2."""
    fast = 1.0 if weight > 0.2 else 0.0
    return {"default": 0.95 - 0.1 * fast - 0.01 * weight, "latency_ms": 10.0 - 6.0 * fast - weight}


def test_the_first_weights_are_spread_on_a_log_scale_ends_first() -> None:
    made = tuner(spread=5)
    first = [made.generate_parameters(i)["latency_weight"] for i in range(5)]
    assert first == pytest.approx([0.01, 1.0, 0.1, 0.0316227766, 0.316227766])


def test_the_next_weight_goes_into_the_widest_gap_of_the_front() -> None:
    made = tuner(spread=3)
    for i in range(9):
        parameters = made.generate_parameters(i)
        made.receive_trial_result(i, parameters, result(parameters["latency_weight"]))
    weights = sorted(point.latency_weight for point in made.front)
    around = [pair for pair in pairwise(weights) if pair[0] <= 0.2 < pair[1]]
    assert around[0][1] / around[0][0] < 1.05, "bisection closes in on the jump at 0.2"
    assert len(made.front) == 9


def test_a_resumed_tuner_goes_on_where_it_stood() -> None:
    made = tuner(spread=3)
    history = []
    for i in range(4):
        parameters = made.generate_parameters(i)
        made.receive_trial_result(i, parameters, result(parameters["latency_weight"]))
        history.append({"parameter": parameters, "value": result(parameters["latency_weight"])})
    resumed = tuner(spread=3)
    as_nni_sends_it = [{"parameter": json.dumps(e["parameter"]), "value": e["value"]} for e in history]
    resumed.import_data(as_nni_sends_it)
    resumed.import_data(history)
    assert resumed.front == made.front
    assert resumed.generate_parameters(4) == made.generate_parameters(4)


def test_what_was_under_way_when_an_experiment_stopped_is_not_issued_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NNI runs such trials again on its own and tells the tuner nothing of them."""
    monkeypatch.setattr(ParetoTuner, "get_checkpoint_path", lambda self: str(tmp_path / "checkpoint"))
    made = tuner(spread=3)
    weights = [made.generate_parameters(i)["latency_weight"] for i in range(4)]
    resumed = tuner(spread=3)
    resumed.load_checkpoint()
    weights += [resumed.generate_parameters(i)["latency_weight"] for i in range(4, 8)]
    assert len(set(weights)) == 8


def test_weights_under_way_and_failed_ones_are_not_issued_again() -> None:
    made = tuner(spread=3)
    weights = [made.generate_parameters(i)["latency_weight"] for i in range(6)]
    for i in range(6):
        made.trial_end(i, success=False)
    weights += [made.generate_parameters(i)["latency_weight"] for i in range(6, 10)]
    assert len(set(weights)) == 10


def test_an_integer_zero_and_customized_trials_are_taken() -> None:
    made = tuner()
    made.receive_trial_result(77, {"latency_weight": 0}, {"default": 1, "latency_ms": 9}, customized=True)
    assert made.front == [Point(1.0, 9.0, 0.0)]
    made.receive_trial_result(78, {"latency_weight": 1}, 0.5)
    assert len(made.front) == 1, "a bare accuracy has no place in the plane"
    for i in range(12):
        assert made.generate_parameters(i)["latency_weight"] > 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"lo": 1}, "'lo'"),
        ({"low": 0}, "low"),
        ({"low": "small"}, "low"),
        ({"high": float("nan")}, "high"),
        ({"low": 2.0, "high": 1.0}, r"low \(2\)"),
        ({"spread": 0}, "spread"),
        ({"spread": True}, "spread"),
        ({"optimize_mode": "maximize"}, "optimize_mode"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(Refusal, match=named):
        ParetoTuner(**arguments)
    with pytest.raises(Refusal, match=named):
        ParetoClassArgsValidator().validate_class_args(**arguments)


@pytest.mark.parametrize(
    "space",
    [
        {"learning_rate": {"_type": "loguniform", "_value": [0.1, 1]}},
        {"latency_weight": {"_type": "choice", "_value": [0.1, 1]}},
        {"latency_weight": {"_type": "loguniform", "_value": [0, 1]}},
    ],
)
def test_a_search_space_without_a_range_of_lambda_is_refused(space: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        ParetoTuner().update_search_space(space)


def test_the_packaged_meta_file_names_the_classes() -> None:
    text = resources.files("rrnet_nni.strategies").joinpath("pareto_tuner.yml").read_text()
    meta = yaml.safe_load(text)
    assert meta["builtinName"] == "ParetoTuner"
    assert meta["className"] == f"{ParetoTuner.__module__}.{ParetoTuner.__qualname__}"
    validator = ParetoClassArgsValidator
    assert meta["classArgsValidator"] == f"{validator.__module__}.{validator.__qualname__}"


points = st.lists(st.builds(Point, st.floats(0, 1), st.floats(1, 10)), max_size=12)


@given(points)
def test_nothing_beats_a_point_of_the_front(found: list[Point]) -> None:
    front = pareto_front(found)
    for point in front:
        assert not any(
            other.accuracy >= point.accuracy
            and other.latency_ms <= point.latency_ms
            and (other.accuracy, other.latency_ms) != (point.accuracy, point.latency_ms)
            for other in found
        )
    assert [p.latency_ms for p in front] == sorted({p.latency_ms for p in front})


@given(points, st.builds(Point, st.floats(0, 1), st.floats(1, 10)))
def test_another_point_never_shrinks_the_hypervolume(found: list[Point], more: Point) -> None:
    before, after = hypervolume(found, 10.0), hypervolume([*found, more], 10.0)
    assert after >= before - 1e-9
    assert after <= 9.0 + 1e-9


def test_the_weight_that_a_trial_reports_counts_more_than_the_one_it_was_given() -> None:
    tuner = ParetoTuner(low=0.01, high=1.0)
    tuner.receive_trial_result(0, {"latency_weight": 0.01}, {"default": 0.9, "latency_ms": 2.0, "latency_weight": 1.0})
    assert tuner.front[0].latency_weight == 1.0
