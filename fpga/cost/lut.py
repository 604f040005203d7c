"""The latency lookup table: Lat(OP) of every candidate of every choice, plus the fixed part (Sec. III-C)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rrnet_nni.base.errors import Refusal

from ..devices import Device
from ..program.operators import NamedOperator, OperatorShape
from .latency import OperatorCost, operator_cost, together, total_cost
from .lut_cache import CostGroups, content_hash, read_cached, write_cached
from .protocol import ProtocolCosts

Choices = Mapping[str, Mapping[str, OperatorShape]]


@dataclass(frozen=True)
class LatencyTable:
    """Costs of a search space on one device under one protocol.

    `entries[label][candidate]` are the choices, `fixed[name]` the operators that are there in any case. `slices` names
    the activation of each label that is a slice of one: slices of one activation are opened in the same rounds, so that
    of what their entries say of rounds the largest counts.
    """

    device: str
    protocol: str
    entries: Mapping[str, Mapping[str, OperatorCost]]
    fixed: Mapping[str, OperatorCost]
    slices: Mapping[str, str] = field(default_factory=dict)

    @property
    def fixed_cost(self) -> OperatorCost:
        return total_cost(self.fixed.values())

    @property
    def fixed_ms(self) -> float:
        return sum(cost.latency_ms for cost in self.fixed.values())

    def cost(self, choices: Mapping[str, str]) -> OperatorCost:
        """Cost of one architecture: the fixed part and one candidate of every choice."""
        return total_cost([self.fixed_cost, *self._activations(choices)])

    def latency_ms(self, choices: Mapping[str, str]) -> float:
        """Latency of one architecture: exactly the sum of its entries, rounds that slices share counted once."""
        return self.fixed_ms + sum(cost.latency_ms for cost in self._activations(choices))

    def _activations(self, choices: Mapping[str, str]) -> list[OperatorCost]:
        """What every gate costs at these choices, the slices of one activation together."""
        entries: dict[str, list[OperatorCost]] = {}
        for label in self._labels(choices):
            entries.setdefault(self.slices.get(label, label), []).append(self._entry(label, choices))
        return [costs[0] if len(costs) == 1 else together(costs) for costs in entries.values()]

    def _labels(self, given: Mapping[str, object]) -> list[str]:
        if missing := [label for label in self.entries if label not in given]:
            raise Refusal(f"the choice {missing[0]!r} of the latency table has no candidate chosen")
        if unknown := [label for label in given if label not in self.entries]:
            raise Refusal(f"the choice {unknown[0]!r} is not in the latency table")
        return list(self.entries)

    def _entry(self, label: str, choices: Mapping[str, str]) -> OperatorCost:
        candidates = self.entries[label]
        if choices[label] not in candidates:
            raise Refusal(f"choice {label!r}: {choices[label]!r} is not one of {', '.join(candidates)}")
        return candidates[choices[label]]


def build_lut(
    choices: Choices,
    fixed: Sequence[NamedOperator],
    device: Device,
    protocol: ProtocolCosts,
    cache_dir: str | Path | None = None,
    slices: Mapping[str, str] | None = None,
) -> LatencyTable:
    """Price every candidate and every fixed operator for one image.

    `slices`: label -> activation, see `LatencyTable`. With `cache_dir` the table is read from there if a whole and
    fresh one lies under its content hash, and kept there otherwise.

    Raises:
        Refusal: two fixed operators have the same name.
    """
    names = [operator.name for operator in fixed]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise Refusal(f"the fixed operator {min(repeated)!r} stands twice in the search space")
    directory = Path(cache_dir) if cache_dir is not None else None
    key = content_hash(choices, fixed, device, protocol.name) if directory else ""
    groups = read_cached(directory, key) if directory else None
    if groups is None:
        groups = _priced(choices, fixed, device, protocol)
        if directory:
            write_cached(directory, key, groups)
    entries, fixed_costs = groups
    return LatencyTable(device.name, protocol.name, entries, fixed_costs, slices or {})


def _priced(choices: Choices, fixed: Sequence[NamedOperator], device: Device, protocol: ProtocolCosts) -> CostGroups:
    entries = {
        label: {candidate: operator_cost(shape, device, protocol) for candidate, shape in candidates.items()}
        for label, candidates in choices.items()
    }
    return entries, {operator.name: operator_cost(operator.shape, device, protocol) for operator in fixed}
