"""What ParetoTuner is told, checked without NNI, which takes seconds to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.settings import Count, Mistake, Positive, WrongSetting, check_settings, checked

PARAMETER = "latency_weight"


@dataclass(frozen=True)
class TunerArguments:
    """`low` and `high` bound λ in 1/ms, None where the search space says it; `spread` λ are tried before gaps."""

    low: Positive | None = None
    high: Positive | None = None
    spread: Count = 5

    def __post_init__(self) -> None:
        check_settings(self)
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise WrongSetting(f"low ({self.low:g}) must be less than high ({self.high:g})")

    @classmethod
    def of(cls, class_args: Any) -> TunerArguments:
        """`classArgs` of an experiment file, None where it has none.

        Raises:
            Refusal: naming the argument that is unknown, of the wrong type or impossible.
        """
        try:
            return checked({} if class_args is None else class_args, cls)
        except Mistake as mistake:
            raise Refusal(f"ParetoTuner: classArgs: {mistake}") from None

    def within(self, search_space: Any) -> TunerArguments:
        """With the bounds of `{latency_weight: {_type: loguniform, _value: [low, high]}}` where there are none.

        Raises:
            Refusal: it is no such space, or leaves no range.
        """
        low, high = _range_of(search_space)
        low, high = (low if self.low is None else self.low), (high if self.high is None else self.high)
        try:
            return replace(self, low=low, high=high)
        except WrongSetting as wrong:
            raise Refusal(f"ParetoTuner: {wrong}") from None


def _range_of(search_space: Any) -> tuple[float | None, float | None]:
    if not isinstance(search_space, Mapping) or set(search_space) != {PARAMETER}:
        found = sorted(map(str, search_space)) if isinstance(search_space, Mapping) else repr(search_space)
        raise Refusal(f"ParetoTuner searches {PARAMETER} alone, but the search space has {found}")
    entry = search_space[PARAMETER]
    ends = entry.get("_value") if isinstance(entry, Mapping) else None
    if ends is None or entry.get("_type") not in ("loguniform", "uniform") or not _is_pair(ends):
        raise Refusal(f"ParetoTuner: {PARAMETER} must be loguniform with _value [low, high], not {entry!r}")
    bounds = TunerArguments.of({"low": ends[0], "high": ends[1]})
    return bounds.low, bounds.high


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2
