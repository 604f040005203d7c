"""ParetoTuner: an NNI tuner that chooses λ so that the trials draw the accuracy-latency front.

It spreads the first λ evenly on a log scale. After that each new λ goes between two that made the ends of a wide gap
of the front, where the λ tried so far leave the most room (see `front_gaps`). NNI hands the results of an earlier run
to `import_data` when it resumes an experiment.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nni import ClassArgsValidator
from nni.tuner import Tuner

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole_json

from .front_gaps import most_promising, widest
from .pareto_arguments import PARAMETER, TunerArguments
from .pareto_front import Point, pareto_front

_logger = logging.getLogger(__name__)

CHECKPOINT_NAME = "pareto_tuner.json"
#: Two λ closer than this factor count as the same: the search would hardly answer differently.
_CLOSEST_RATIO = 1.01


class ParetoTuner(Tuner):
    """Args:
        low, high: range of λ in 1/ms; where absent, the range that the experiment's search space gives.
        spread: how many λ are tried on a log scale before gaps are filled.

    Raises:
        Refusal: an argument is unknown, of the wrong type or impossible; the sentence names it.
    """

    def __init__(self, **class_args: Any) -> None:
        self._given = TunerArguments.of(class_args)
        self._low, self._high = self._given.low, self._given.high
        self._issued: dict[int, float] = {}
        self._tested: list[float] = []
        self._points: list[Point] = []
        self._resumed = False
        self._again: list[float] = []
        self._accept_customized_trials()

    @property
    def front(self) -> list[Point]:
        """The front of all results so far."""
        return pareto_front(self._points)

    def update_search_space(self, search_space: Mapping[str, Any]) -> None:
        """Take the range of λ from `{latency_weight: {_type: loguniform, _value: [low, high]}}`."""
        found = self._given.within(search_space)
        self._low, self._high = found.low, found.high

    def generate_parameters(self, parameter_id: int, **kwargs: Any) -> dict[str, float]:
        weight = self._again.pop(0) if self._again else self._next_weight()
        self._issued[parameter_id] = weight
        if self._is_new(weight):
            self._tested.append(weight)
        self.save_checkpoint()
        return {PARAMETER: weight}

    def receive_trial_result(self, parameter_id: int, parameters: Any, value: Any, **kwargs: Any) -> None:
        self._issued.pop(parameter_id, None)
        self._learn(parameters, value)

    def trial_end(self, parameter_id: int, success: bool, **kwargs: Any) -> None:
        """A failed trial's λ stays among those tried, so that it is not tried again."""
        if not success:
            weight = self._issued.pop(parameter_id, None)
            _logger.warning("the trial with latency_weight %s failed and adds no point to the front", weight)

    def import_data(self, data: list[Any]) -> None:
        """Results of earlier trials: `[{parameter, value}]`; NNI calls this when an experiment is resumed.

        Where entries without a value tell of the trials that have none (`manager_trials.js`), every trial stands there:
        λ that were given out before `load_checkpoint` and are missing became no trial, for the manager was killed
        first, and are given out again.
        """
        for entry in data:
            self._learn(entry["parameter"], entry["value"])
        if self._resumed and any(entry["value"] is None for entry in data):
            known = [_weight_of(entry["parameter"]) for entry in data]
            self._again = [one for one in self._tested if not any(_same(one, other) for other in known)]
        self._resumed = False

    def save_checkpoint(self) -> None:
        """Keep the λ that were issued: trials under way when an experiment stops are run again by NNI on its own."""
        directory = self.get_checkpoint_path()
        if directory is not None:
            write_whole_json(Path(directory) / CHECKPOINT_NAME, {"tested": self._tested})

    def load_checkpoint(self) -> None:
        """Read what `save_checkpoint` kept; NNI calls this before it resumes an experiment."""
        directory = self.get_checkpoint_path()
        if directory is not None and (Path(directory) / CHECKPOINT_NAME).exists():
            kept = json.loads((Path(directory) / CHECKPOINT_NAME).read_text(encoding="utf-8"))
            self.remember(kept["tested"])
            self._resumed = True

    def remember(self, weights: Iterable[float]) -> None:
        """Take these λ as given out before: they are not tried again."""
        self._tested += map(float, weights)

    def _learn(self, parameters: Any, value: Any) -> None:
        value = json.loads(value) if isinstance(value, str) else value
        # What the trial says that it ran is surer than what the manager believes that it was given.
        reported = value.get(PARAMETER) if isinstance(value, Mapping) else None
        weight = _weight_of(parameters) if reported is None else float(reported)
        if self._is_new(weight):
            self._tested.append(weight)
        if value is None:
            return
        if not isinstance(value, Mapping) or not {"default", "latency_ms"} <= set(value):
            _logger.warning("a final result needs the keys default (accuracy) and latency_ms, got %r", value)
            return
        point = Point(float(value["default"]), float(value["latency_ms"]), weight)
        if math.isfinite(point.accuracy) and math.isfinite(point.latency_ms) and point not in self._points:
            self._points.append(point)

    def _next_weight(self) -> float:
        for weight in self._log_scale():
            if self._is_new(weight):
                return weight
        low, high = self._range()
        return (most_promising(self._points, self._tested, low, high) or widest(low, high, self._tested)).middle

    def _log_scale(self) -> list[float]:
        """`spread` values from low to high: the ends first, then from coarse to fine."""
        low, high = self._range()
        if self._given.spread == 1:
            return [math.sqrt(low * high)]
        ratio = (high / low) ** (1 / (self._given.spread - 1))
        return [low * ratio**position for position in _coarse_to_fine(self._given.spread)]

    def _range(self) -> tuple[float, float]:
        if self._low is None or self._high is None:
            raise Refusal("ParetoTuner has no range for latency_weight: give it in the search space or as low and high")
        return self._low, self._high

    def _is_new(self, weight: float) -> bool:
        return not any(_same(weight, tested) for tested in self._tested)


class ParetoClassArgsValidator(ClassArgsValidator):
    """Checks the tuner's `classArgs` before an experiment starts."""

    def validate_class_args(self, **kwargs: Any) -> None:
        TunerArguments.of(kwargs)


def _coarse_to_fine(count: int) -> list[int]:
    """0..count−1 with the ends first, then always the middle of the widest stretch left."""
    order = [0, count - 1]
    while len(order) < count:
        marks = sorted(order)
        start, end = max(itertools.pairwise(marks), key=lambda stretch: stretch[1] - stretch[0])
        order.append((start + end) // 2)
    return order


def _weight_of(parameters: Any) -> float:
    parameters = json.loads(parameters) if isinstance(parameters, str) else parameters
    return float(parameters[PARAMETER])


def _same(first: float, second: float) -> bool:
    if first <= 0 or second <= 0:
        return first == second
    return max(first, second) / min(first, second) < _CLOSEST_RATIO
