"""Device files: what comes with the package is whole, and nothing malformed gets in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rrnet_nni.fpga.devices as devices
from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.devices import ProvenanceKind, device_file, device_names, load_device, parse_device

ZCU104 = Path(devices.__file__).parent / "zcu104.yaml"
CONSTANTS = sorted(load_device("zcu104").constants())


def document() -> dict:
    return yaml.safe_load(ZCU104.read_text())


def refusal_of(tmp_path: Path, content: object) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(Refusal) as caught:
        load_device(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", device_names())
def test_a_device_is_read_back_from_the_file_that_describes_it(name: str) -> None:
    device = load_device(name)
    again = parse_device(device_file(device), "device.yaml")
    assert (again, again.provenance) == (device, device.provenance)


@pytest.mark.parametrize("name", device_names())
def test_every_packaged_device_loads_and_says_where_each_constant_comes_from(name: str) -> None:
    device = load_device(name)
    assert device.name == name
    assert set(device.provenance) == set(device.constants())
    assert all(entry.kind in get_args(ProvenanceKind) and entry.source for entry in device.provenance.values())


def test_zcu104_is_the_experiment_of_section_iv() -> None:
    device = load_device("zcu104")
    assert (device.clock_hz, device.bus_bytes_per_cycle, device.bandwidth_bytes_per_s) == (200e6, 16, 1e9)
    assert device.provenance["board_power_w"].kind == "assumed"


def test_a_file_of_ones_own_loads_by_its_path(tmp_path: Path) -> None:
    content = document() | {"name": "mine"}
    content["constants"]["bandwidth_bytes_per_s"]["value"] = 125_000_000
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    assert load_device(str(path)).bandwidth_bytes_per_s == 125e6


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Refusal, match="zcu104"):
        load_device("zcu9000")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"nowhere\.yaml"):
        load_device(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("key", CONSTANTS)
def test_a_missing_constant_is_refused_by_name(tmp_path: Path, key: str) -> None:
    content = document()
    del content["constants"][key]
    assert f"the key 'constants.{key}' is missing" in refusal_of(tmp_path, content)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "fast", True, None, [1], 10**19, 1e-300, 1e300])
@pytest.mark.parametrize("key", CONSTANTS)
def test_a_constant_that_is_no_possible_quantity_is_refused(tmp_path: Path, key: str, value: object) -> None:
    content = document()
    content["constants"][key]["value"] = value
    message = refusal_of(tmp_path, content)
    assert f"constants.{key}" in message
    assert "expected" in message


def test_zero_is_a_latency_but_no_rate(tmp_path: Path) -> None:
    content = document()
    content["constants"]["clock_hz"]["value"] = 0
    assert "constants.clock_hz" in refusal_of(tmp_path, content)
    content = document()
    content["constants"]["message_latency_s"]["value"] = 0
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert load_device(tmp_path / "mine.yaml").message_latency_s == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.update(colour="red"), "unknown key 'colour'"),
        (lambda d: d.update(schema=2), "schema"),
        (lambda d: d.update(name=""), "name"),
        (lambda d: d["constants"].update(luck=1), "unknown key 'constants.luck'"),
        (lambda d: d["constants"]["clock_hz"].update(unit="Hz"), "unknown key 'constants.clock_hz.unit'"),
        (lambda d: d["constants"]["clock_hz"].update(provenance="guessed"), "provenance"),
        (lambda d: d["constants"]["clock_hz"].update(source=" "), "source"),
        (lambda d: d["constants"].update(clock_hz=200), "constants.clock_hz"),
        (lambda d: d["constants"]["ddr_efficiency"].update(value=1.5), "at most 1"),
        (lambda d: d["constants"]["buffer_bytes"].update(value=1.5), "whole"),
    ],
)
def test_a_slip_of_the_pen_is_refused_by_key(tmp_path: Path, change, expected: str) -> None:
    content = document()
    change(content)
    assert expected in refusal_of(tmp_path, content)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the file is empty"),
        ("[]", "it must be a mapping of keys to values"),
        ("zcu104", "it must be a mapping of keys to values, not 'zcu104'"),
        ("a: [", "not valid YAML"),
        ("schema: 1\nschema: 1\n", "the key 'schema' stands here a second time"),
        ("&a [*a]", "a value holds itself"),
        ("a: &x 1\nb: *x\n", "unknown key 'a'"),
        ("\x00", "not valid YAML"),
        ("? [1]\n: 2\n", "a key must be text"),
    ],
)
def test_what_is_no_device_file_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in refusal_of(tmp_path, text)


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    text = ZCU104.read_text()
    line = text.count("\n") + 1
    assert f":{line}: the key 'name' stands here a second time" in refusal_of(tmp_path, text + "name: again\n")


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzzed_device_files_load_sound_or_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    content = document()
    for _ in range(data.draw(st.integers(1, 3))):
        target = content
        while True:
            key = data.draw(st.sampled_from(sorted(target)))
            if not isinstance(target[key], dict) or not target[key] or data.draw(st.integers(0, 4)) == 0:
                break
            target = target[key]
        action = data.draw(st.sampled_from(["replace", "delete", "rename"]))
        value = target.pop(key)
        if action == "replace":
            target[key] = data.draw(_scalars)
        elif action == "rename":
            target[data.draw(st.text(min_size=1, max_size=8))] = value
        if not content:
            break
    path = tmp_path / "fuzzed.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    assert loads_sound_or_is_refused(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=12), position=st.integers(0, 4000), cut=st.integers(0, 40))
def test_fuzzed_bytes_load_sound_or_are_refused(tmp_path: Path, junk: bytes, position: int, cut: int) -> None:
    raw = ZCU104.read_bytes()
    path = tmp_path / "fuzzed.yaml"
    path.write_bytes(raw[:position] + junk + raw[position + cut :])
    assert loads_sound_or_is_refused(path)


def loads_sound_or_is_refused(path: Path) -> bool:
    """Whether a device of possible quantities is loaded, or the file refused by its name."""
    try:
        device = load_device(path)
    except Refusal as refused:
        return str(path) in str(refused)
    possible = all(math.isfinite(value) and value >= 0 for value in device.constants().values())
    return possible and device.clock_hz > 0 and device.bandwidth_bytes_per_s > 0
