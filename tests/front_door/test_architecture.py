"""architecture.json: written, read back, refused where it is not one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rrnet_nni.architecture import Architecture, installed_versions, read_architecture
from rrnet_nni.base.errors import Refusal


def test_an_architecture_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    architecture = Architecture(
        backbone="resnet8",
        options={"classes": 10},
        choices={"act1": "x2act"},
        theta={"act1": {"relu": 0.25, "x2act": 0.75}},
        latency_weight=0.0,
        seed=3,
        expected_latency_ms=1.25,
        versions=installed_versions(),
    )
    path = tmp_path / "deep" / "architecture.json"
    architecture.save(path)
    assert Architecture.load(path) == architecture
    assert "torch" in architecture.versions


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "JSON"),
        ("[]", "schema"),
        ('{"schema": 99}', "schema"),
        ('{"schema": 1, "backbone": "x", "options": {}}', "'choices' is missing"),
        ('{"schema": 1, "backbone": "x", "options": {}, "choices": [1]}', "'choices' must"),
        ('{"schema": 1, "backbone": "x", "options": {}, "choices": {}, "colour": 1}', "unknown key 'colour'"),
        ('{"schema": 1, "backbone": 3, "options": {}, "choices": {}}', "'backbone' must be text, not 3"),
        ('{"schema": 1, "backbone": "x", "options": [], "choices": {}}', "'options' must be a mapping"),
        ('{"schema": 1, "backbone": "x", "options": {}, "choices": {}, "theta": null}', "'theta' must be a mapping"),
        (
            '{"schema": 1, "backbone": "x", "options": {}, "choices": {}, "theta": {"a": 1}}',
            "'theta.a' must be a mapping",
        ),
        ('{"schema": 1, "backbone": "x", "options": {}, "choices": {}, "latency_ms": "2"}', "'latency_ms' must be"),
    ],
)
def test_what_is_not_an_architecture_is_refused(tmp_path: Path, content: str, word: str) -> None:
    path = tmp_path / "architecture.json"
    path.write_text(content)
    with pytest.raises(Refusal, match="architecture") as caught:
        Architecture.load(path)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": 1}, "options: unknown key 'colour'"),
        ({"width": "wide"}, "options: 'width' must be a number, not 'wide'"),
    ],
)
def test_options_that_no_backbone_has_are_refused_by_file_and_name(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    path = tmp_path / "architecture.json"
    Architecture("resnet8", options, {}).save(path)
    with pytest.raises(Refusal) as caught:
        read_architecture(path)
    assert str(caught.value).startswith(f"{path}: {words}")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="absent"):
        Architecture.load(tmp_path / "absent.json")


def test_the_file_is_plain_json_for_people(tmp_path: Path) -> None:
    path = tmp_path / "architecture.json"
    Architecture("resnet8", {}, {"act1": "relu"}).save(path)
    assert json.loads(path.read_text())["choices"] == {"act1": "relu"}


def test_a_file_from_before_normalized_bases_is_of_plain_polynomials() -> None:
    options = {"classes": 10, "coefficients": "channel"}
    assert Architecture("resnet8", options, {}).space().x2act == "plain"
    assert Architecture("resnet8", {"x2act": "normalized"}, {}).space().x2act == "normalized"
