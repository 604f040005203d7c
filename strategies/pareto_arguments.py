"""What ParetoTuner is told, checked without NNI, which takes seconds to import."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from rrnet_nni.base.errors import Refusal

PARAMETER = "latency_weight"


@dataclass(frozen=True)
class TunerArguments:
    """`low` and `high` bound λ in 1/ms, None where the search space says it; `spread` λ are tried before gaps."""

    low: float | None = None
    high: float | None = None
    spread: int = 5

    @classmethod
    def of(cls, class_args: Any) -> TunerArguments:
        """`classArgs` of an experiment file, None where it has none.

        Raises:
            Refusal: naming the argument that is unknown, of the wrong type or impossible.
        """
        if class_args is not None and not isinstance(class_args, Mapping):
            raise Refusal(f"ParetoTuner: classArgs must be a mapping, not {class_args!r}")
        given = dict(class_args or {})
        known = [item.name for item in fields(cls)]
        for name in given:
            if name not in known:
                raise Refusal(f"ParetoTuner has no argument {name!r}; it takes {', '.join(known)}")
        for name in ("low", "high"):
            value = given.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
                raise Refusal(f"ParetoTuner: {name} must be a positive number (λ in 1/ms), not {value!r}")
            given[name] = float(value)
        spread = given.get("spread", cls.spread)
        if isinstance(spread, bool) or not isinstance(spread, int) or spread < 1:
            raise Refusal(f"ParetoTuner: spread must be a whole number of at least 1, not {spread!r}")
        return cls(**given).ordered()

    def within(self, search_space: Any) -> TunerArguments:
        """With the bounds of `{latency_weight: {_type: loguniform, _value: [low, high]}}` where there are none.

        Raises:
            Refusal: it is no such space, or leaves no range.
        """
        low, high = _range_of(search_space)
        low, high = (low if self.low is None else self.low), (high if self.high is None else self.high)
        return replace(self, low=low, high=high).ordered()

    def ordered(self) -> TunerArguments:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise Refusal(f"ParetoTuner: low ({self.low:g}) must be less than high ({self.high:g})")
        return self


def _range_of(search_space: Any) -> tuple[float | None, float | None]:
    if not isinstance(search_space, Mapping) or set(search_space) != {PARAMETER}:
        found = sorted(map(str, search_space)) if isinstance(search_space, Mapping) else repr(search_space)
        raise Refusal(f"ParetoTuner searches {PARAMETER} alone, but the search space has {found}")
    entry = search_space[PARAMETER]
    ends = entry.get("_value") if isinstance(entry, Mapping) else None
    if ends is None or entry.get("_type") not in ("loguniform", "uniform") or not _is_pair(ends):
        raise Refusal(f"ParetoTuner: {PARAMETER} must be loguniform with _value [low, high], not {entry!r}")
    checked = TunerArguments.of({"low": ends[0], "high": ends[1]})
    return checked.low, checked.high


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2
