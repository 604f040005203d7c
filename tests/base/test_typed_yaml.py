"""YAML into dataclasses: what is accepted, and that every refusal names file, line and key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.typed_yaml import read_yaml


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate must not be negative, not {self.rate}")


@dataclass(frozen=True)
class Outer:
    name: str
    count: int = 1
    limit: int | None = None
    flag: bool = False
    sizes: tuple[int, ...] = ()
    inner: Inner = field(default_factory=Inner)


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(Refusal) as caught:
        read_yaml(write(folder, text), Outer)
    message = str(caught.value)
    assert "file.yml" in message
    assert "\n" not in message
    return message


def test_values_and_defaults_are_read(tmp_path: Path) -> None:
    text = "name: x\nlimit: null\nsizes: [1, 2]\ninner: {rate: 1e-3, kind: b}\n"
    assert read_yaml(write(tmp_path, text), Outer) == Outer("x", 1, None, False, (1, 2), Inner(0.001, "b"))


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("name: x\ncuont: 2\n", 2, "did you mean 'count'?"),
        ("name: x\ncount: two\n", 2, "'count' must be a whole number"),
        ("name: x\ncount: true\n", 2, "'count' must be a whole number"),
        ("name: x\n\ninner:\n  rate: .nan\n", 4, "'inner.rate' must be a finite number"),
        ("name: x\ninner:\n  rate: -1\n", 3, "inner.rate must not be negative"),
        ("name: x\ninner:\n  kind: c\n", 3, "'inner.kind' must be one of a, b"),
        ("name: x\ninner: 3\n", 2, "inner must be a mapping"),
        ("name: x\nflag: 1\n", 2, "'flag' must be true or false"),
        ("name: 5\n", 1, "'name' must be text"),
        ("name: x\nname: y\n", 2, "a second time"),
        ("name: x\nsizes: 3\n", 2, "'sizes' must be a list"),
        ("count: 2\n", 1, "the key 'name' is missing"),
        ("[1, 2]\n", 1, "must be a mapping"),
    ],
)
def test_a_mistake_is_refused_with_its_line_and_key(tmp_path: Path, text: str, line: int, word: str) -> None:
    message = refusal(tmp_path, text)
    assert f"file.yml:{line}:" in message
    assert word in message


def test_a_missing_an_empty_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no such file"):
        read_yaml(tmp_path / "absent.yml", Outer)
    assert "empty" in refusal(tmp_path, "")
    assert "not valid YAML" in refusal(tmp_path, "name: [\n")


def test_a_derived_key_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\ninner: {rate: 1}\n")
    with pytest.raises(Refusal, match=r"inner\.rate.*cannot be set: because"):
        read_yaml(path, Outer, {Inner: {"rate": "because"}})


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["name", "count", "inner", "rate", "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
def test_any_yaml_is_read_or_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, document: object
) -> None:
    path = write(tmp_path_factory.mktemp("yaml"), yaml.safe_dump(document))
    try:
        answer: object = read_yaml(path, Outer)
    except Refusal as caught:
        answer = caught
    assert isinstance(answer, Outer) or "\n" not in str(answer)
