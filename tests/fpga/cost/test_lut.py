"""The latency table: additive, cached by content, never believed when damaged or stale."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.cost import LatencyTable, build_lut, lut, lut_cache, operator_cost
from rrnet_nni.fpga.cost.latency import total_cost
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import AvgPool, Conv, Linear, MaxPool, NamedOperator, Relu, X2act
from rrnet_nni.fpga.protocols import get_costs, protocol_names

DEVICE = load_device("zcu104")
PAPER = get_costs("paper")
CHOICES = {
    "stem.act": {"relu": Relu(4096), "x2act": X2act(4096)},
    "stem.pool": {"maxpool": MaxPool(16, 16, 16, (2, 2), (2, 2)), "avgpool": AvgPool(16, 16, 16, (2, 2), (2, 2))},
}
FIXED = [
    NamedOperator("stem.conv", Conv(3, 16, 16, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=16)),
    NamedOperator("head", Linear(1024, 10)),
]


def table(**changes: object) -> LatencyTable:
    return build_lut(**({"choices": CHOICES, "fixed": FIXED, "device": DEVICE, "protocol": PAPER} | changes))


@pytest.mark.parametrize("name", protocol_names())
def test_entries_are_the_costs_of_the_operators(name: str) -> None:
    protocol = get_costs(name)
    built = table(protocol=protocol)
    for label, candidates in CHOICES.items():
        for candidate, shape in candidates.items():
            assert built.entries[label][candidate] == operator_cost(shape, DEVICE, protocol)
    assert [built.fixed[operator.name] for operator in FIXED] == [
        operator_cost(operator.shape, DEVICE, protocol) for operator in FIXED
    ]


def test_the_latency_of_an_architecture_is_the_sum_of_its_entries() -> None:
    built = table()
    choices = {"stem.act": "x2act", "stem.pool": "maxpool"}
    parts = [built.entries["stem.act"]["x2act"].latency_ms, built.entries["stem.pool"]["maxpool"].latency_ms]
    assert built.latency_ms(choices) == built.fixed_ms + sum(parts)
    assert built.cost(choices).latency_ms == pytest.approx(built.latency_ms(choices), rel=1e-12)
    assert built.cost(choices).comparisons == 3 * 1024


def test_slices_of_one_activation_take_their_rounds_once() -> None:
    protocol = get_costs("beaver-ot")
    parts = {f"act.g{i}": {"relu": Relu(256), "x2act": X2act(256)} for i in range(4)}
    built = build_lut(parts, FIXED, DEVICE, protocol, slices=dict.fromkeys(parts, "act"))
    whole = {"relu": operator_cost(Relu(1024), DEVICE, protocol), "x2act": operator_cost(X2act(1024), DEVICE, protocol)}
    for name, alone in whole.items():
        cost = built.cost(dict.fromkeys(parts, name))
        expected = total_cost([built.fixed_cost, alone])
        assert (cost.rounds, cost.bytes_sent, cost.comparisons) == (
            expected.rounds, expected.bytes_sent, expected.comparisons
        )  # fmt: skip
        assert cost.message_ms == pytest.approx(expected.message_ms, rel=1e-12)
    mixed = dict.fromkeys(parts, "x2act") | {"act.g2": "relu"}
    assert built.cost(mixed).rounds == built.fixed_cost.rounds + max(cost.rounds for cost in whole.values())
    assert built.latency_ms(mixed) == pytest.approx(built.cost(mixed).latency_ms, rel=1e-12)


def test_choices_that_do_not_fit_the_table_are_refused() -> None:
    built = table()
    with pytest.raises(Refusal, match=r"stem\.pool"):
        built.latency_ms({"stem.act": "relu"})
    with pytest.raises(Refusal, match="'gelu' is not one of relu, x2act"):
        built.latency_ms({"stem.act": "gelu", "stem.pool": "avgpool"})
    with pytest.raises(Refusal, match="'head'"):
        built.latency_ms({"stem.act": "relu", "stem.pool": "avgpool", "head": "relu"})


def test_two_fixed_operators_of_one_name_are_refused() -> None:
    with pytest.raises(Refusal, match="'head'"):
        table(fixed=[*FIXED, FIXED[1]])


def _cached_file(directory: Path) -> Path:
    (file,) = directory.glob("*")
    return file


def test_a_cached_table_is_read_and_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = table(cache_dir=tmp_path / "deep" / "cache")
    monkeypatch.setattr(lut, "operator_cost", None)  # pricing again would fail
    assert table(cache_dir=tmp_path / "deep" / "cache") == built


@pytest.mark.parametrize(
    "changes",
    [
        {"device": replace(DEVICE, clock_hz=1e8)},
        {"device": replace(DEVICE, message_latency_s=0.0)},
        {"protocol": get_costs("beaver-ot")},
        {"choices": {"stem.act": {"relu": Relu(4097), "x2act": X2act(4096)}}},
        {"fixed": FIXED[:1]},
        {"fixed": FIXED[::-1]},
    ],
)
def test_whatever_a_table_depends_on_changes_its_hash(tmp_path: Path, changes: dict) -> None:
    table(cache_dir=tmp_path)
    assert table(cache_dir=tmp_path, **changes) == table(**changes)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_changed_formula_makes_every_older_table_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(cache_dir=tmp_path)
    monkeypatch.setattr(lut_cache, "source_digest", lambda: "other formulas")
    table(cache_dir=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize("part", ["cost/array.py", "protocols/masked/costs.py", "program/operators.py"])
def test_every_module_that_costs_come_from_is_in_the_hash_whatever_its_folder(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fpga = tmp_path / "fpga"
    shutil.copytree(lut_cache._FPGA, fpga)
    monkeypatch.setattr(lut_cache, "_FPGA", fpga)
    before = lut_cache.source_digest.__wrapped__()
    (fpga / part).write_text((fpga / part).read_text() + "\n")
    assert lut_cache.source_digest.__wrapped__() != before


def _flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.6, 0.85])
@pytest.mark.parametrize("damage", ["truncated", "bit flipped"])
def test_a_damaged_table_is_built_again(tmp_path: Path, damage: str, share: float) -> None:
    built = table(cache_dir=tmp_path)
    file = _cached_file(tmp_path)
    whole = file.read_bytes()
    position = int(share * len(whole))
    file.write_bytes(whole[:position] if damage == "truncated" else _flip(whole, position))
    assert table(cache_dir=tmp_path) == built
    assert json.loads(file.read_bytes()) == json.loads(whole)


def test_an_altered_figure_is_not_believed(tmp_path: Path) -> None:
    built = table(cache_dir=tmp_path)
    file = _cached_file(tmp_path)
    document = json.loads(file.read_bytes())
    document["table"]["entries"]["stem.act"]["relu"]["compute_ms"] = 0.0
    file.write_text(json.dumps(document))
    assert table(cache_dir=tmp_path) == built


def test_a_table_under_the_wrong_name_is_not_believed(tmp_path: Path) -> None:
    table(cache_dir=tmp_path)
    other = table(device=replace(DEVICE, clock_hz=1e8))
    key = lut_cache.content_hash(CHOICES, FIXED, replace(DEVICE, clock_hz=1e8), "paper")
    _cached_file(tmp_path).rename(tmp_path / f"{key}.json")
    assert table(cache_dir=tmp_path, device=replace(DEVICE, clock_hz=1e8)) == other


def test_a_cache_that_cannot_be_written_costs_a_warning_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert table(cache_dir=tmp_path / "file" / "cache") == table()
    assert "not kept" in caplog.text


def test_nothing_but_the_table_is_left_in_the_cache(tmp_path: Path) -> None:
    table(cache_dir=tmp_path)
    assert _cached_file(tmp_path).suffix == ".json"
