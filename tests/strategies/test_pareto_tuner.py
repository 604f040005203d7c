"""ParetoTuner spreads λ on a log scale, then fills the widest gap of the front."""

from __future__ import annotations

import json
import math
import random
from bisect import bisect
from collections.abc import Callable
from importlib import resources
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.strategies.front_gaps import EXHAUSTED_RATIO, widest
from rrnet_nni.strategies.pareto_front import Point, gaps, hypervolume, pareto_front
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
    for i in range(13):
        parameters = made.generate_parameters(i)
        made.receive_trial_result(i, parameters, result(parameters["latency_weight"]))
    weights = sorted(point.latency_weight for point in made.front)
    ratios = {pair: pair[1] / pair[0] for pair in pairwise(weights)}
    around = [pair for pair in ratios if pair[0] <= 0.2 < pair[1]]
    assert ratios[around[0]] < EXHAUSTED_RATIO, "halving closes in on the jump at 0.2"
    assert min(ratios, key=ratios.__getitem__) == around[0], "and stops there: the other gaps have their turn"
    assert len(made.front) == 13


def step_response(edges: list[float], networks: list[tuple[float, float]]) -> Callable[[float], dict[str, float]]:
    """Searches that find the network `networks[i]` (accuracy, latency) for every λ between two neighbouring edges."""

    def answer(weight: float) -> dict[str, float]:
        accuracy, latency_ms = networks[bisect(edges, weight)]
        return {"default": accuracy, "latency_ms": latency_ms}

    return answer


def trials_until_whole(made: ParetoTuner, answer: Callable[[float], dict[str, float]], networks: int) -> int:
    """Trials until the front has all networks; 61 stands for more than 60."""
    for number in range(60):
        parameters = made.generate_parameters(number)
        made.receive_trial_result(number, parameters, answer(parameters["latency_weight"]))
        if len(made.front) == networks:
            return number + 1
    return 61


@st.composite
def step_functions(draw: st.DrawFn) -> tuple[list[float], list[tuple[float, float]]]:
    """Edges of λ within [0.01, 1], at least 12 % apart, and one network per step, all of them on the front."""
    count = draw(st.integers(2, 7))
    free = math.log(100) - count * math.log(1.12)
    places = sorted(draw(st.lists(st.floats(0.001, 0.999), min_size=count - 1, max_size=count - 1)))
    edges = [0.01 * math.exp(place * free + (i + 1) * math.log(1.12)) for i, place in enumerate(places)]
    latencies = draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count, unique=True))
    accuracies = draw(st.lists(st.integers(0, 1000), min_size=count, max_size=count, unique=True))
    falling = zip(sorted(accuracies, reverse=True), sorted(latencies, reverse=True))
    return edges, [(accuracy / 1000, float(latency_ms)) for accuracy, latency_ms in falling]


@given(step_functions())
def test_every_step_is_found_and_none_is_halved_for_ever(steps: tuple[list[float], list[tuple[float, float]]]) -> None:
    """A step in one decade is bracketed to 10 % by five halvings; what two λ share is not searched again."""
    edges, networks = steps
    most = 3 + 5 * len(edges)
    assert trials_until_whole(tuner(spread=3), step_response(edges, networks), len(networks)) <= most


class PlainHalving(ParetoTuner):
    """Always halves the widest stretch within the widest gap of the front, whatever its ends found."""

    def _next_weight(self) -> float:
        unused = [weight for weight in self._log_scale() if self._is_new(weight)]
        if unused:
            return unused[0]
        for _, left, right in gaps(self.front):
            stretch = widest(*sorted((left.latency_weight, right.latency_weight)), self._tested)
            if self._is_new(stretch.middle):
                return stretch.middle
        return widest(self._low, self._high, self._tested).middle


def test_stepped_fronts_are_whole_in_a_third_of_the_trials_that_plain_halving_takes() -> None:
    generator = random.Random(0)
    ours, plain = [], []
    for _ in range(40):
        edges = sorted(0.01 * math.exp(math.log(100) * generator.random()) for _ in range(5))
        while min(b / a for a, b in pairwise([0.01, *edges, 1.0])) < 1.12:
            edges = sorted(0.01 * math.exp(math.log(100) * generator.random()) for _ in range(5))
        axes = [sorted((generator.random() for _ in range(6)), reverse=True) for _ in range(2)]
        answer = step_response(edges, list(zip(*axes)))
        ours.append(trials_until_whole(tuner(spread=5), answer, 6))
        halving = PlainHalving(spread=5, low=0.01, high=1.0)
        plain.append(trials_until_whole(halving, answer, 6))
    assert max(ours) <= 60
    assert 3 * median(ours) <= median(plain), (sorted(ours), sorted(plain))


def test_a_failed_weight_is_stepped_around() -> None:
    answer = step_response([0.05, 0.06], [(0.9, 3.0), (0.8, 2.0), (0.5, 1.0)])
    made, failed = tuner(spread=3), 0
    for number in range(20):
        parameters = made.generate_parameters(number)
        if number % 3 == 2:
            made.trial_end(number, success=False)
            failed += 1
        else:
            made.receive_trial_result(number, parameters, answer(parameters["latency_weight"]))
    assert failed == 6
    assert len(made.front) == 3


def test_weights_stay_within_the_range_whatever_was_tried_by_hand() -> None:
    made = tuner(spread=3)
    made.receive_trial_result(70, {"latency_weight": 0}, {"default": 1.0, "latency_ms": 90})
    made.receive_trial_result(71, {"latency_weight": 50.0}, {"default": 0.1, "latency_ms": 1})
    for number in range(20):
        parameters = made.generate_parameters(number)
        made.receive_trial_result(number, parameters, result(parameters["latency_weight"]))
        assert 0.01 <= parameters["latency_weight"] <= 1.0 + 1e-12


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


def test_what_never_became_a_trial_is_given_out_again_where_the_manager_tells_of_all_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ParetoTuner, "get_checkpoint_path", lambda self: str(tmp_path / "checkpoint"))
    made = tuner(spread=8)
    given = [made.generate_parameters(i) for i in range(5)]
    ended = {"parameter": json.dumps(given[0]), "value": result(given[0]["latency_weight"])}
    under_way = [{"parameter": parameters, "value": None} for parameters in (given[0], given[2])]
    for entries, again in (([ended, *under_way], [given[1], given[3], given[4]]), ([ended], [])):
        resumed = tuner(spread=8)
        resumed.load_checkpoint()
        resumed.import_data(entries)
        resumed.import_data(under_way)  # what somebody imports later is no list of all trials
        weights = [resumed.generate_parameters(i) for i in range(5, 5 + len(again) + 1)]
        assert weights[:-1] == again
        assert weights[-1] not in given
        assert len(resumed.front) == 1


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
