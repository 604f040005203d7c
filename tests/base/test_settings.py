"""YAML into dataclasses: what is accepted, and that every refusal names file, line and key."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from annotated_types import Le
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.settings import (
    Count,
    OpenShare,
    WrongSetting,
    check_settings,
    checked,
    read_json,
    read_yaml,
)


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
        ("count: 2\nnmae: x\n", 2, "did you mean 'name'?"),
        ("name: x\ncount: two\n", 2, "'count' must be a whole number"),
        ("name: x\ncount: true\n", 2, "'count' must be a whole number"),
        ("name: x\n\ninner:\n  rate: .nan\n", 4, "'inner.rate' must be a finite number"),
        ("name: x\ninner:\n  rate: -1\n", 3, "inner.rate must not be negative"),
        ("name: x\ninner:\n  kind: c\n", 3, "'inner.kind' must be one of a, b"),
        ("name: x\ninner: 3\n", 2, "'inner' must be a mapping"),
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
    said = refusal(tmp_path, "name: x\nwhat: a: b\n")
    assert said.endswith("file.yml:2: not valid YAML (mapping values are not allowed here)"), said


def test_a_derived_key_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\ninner: {rate: 1}\n")
    with pytest.raises(Refusal, match=r"inner\.rate.*cannot be set: because"):
        read_yaml(path, Outer, {"inner.rate": "because"})


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


@dataclass(frozen=True)
class Bounded:
    count: Count = 1
    share: OpenShare = 0.5
    seed: Annotated[int, Le(2**32 - 1)] = 0

    def __post_init__(self) -> None:
        check_settings(self)
        if self.count > 5 and self.share > 0.5:
            raise WrongSetting(f"count must be at most 5 where share is above 0.5, not {self.count}")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "count must be at least 1, not 0"),
        ({"count": True}, "count must be a whole number, not true"),
        ({"count": 2.0}, "count must be a whole number, not 2.0"),
        ({"share": float("nan")}, "share must be a finite number, not nan"),
        ({"share": 1}, "share must be below 1, not 1"),
        ({"seed": 2**32}, "seed must be at most 4294967295, not 4294967296"),
        ({"count": 6, "share": 0.6}, "count must be at most 5 where share is above 0.5, not 6"),
    ],
)
def test_a_program_is_refused_with_the_words_that_a_file_is(
    tmp_path: Path, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Refusal) as made:
        Bounded(**values)
    assert str(made.value) == sentence
    path = write(tmp_path, yaml.safe_dump(values))
    with pytest.raises(Refusal) as read:
        read_yaml(path, Bounded)
    assert str(read.value).replace("'", "") == f"{path}:1: {sentence}"


def test_a_number_may_be_written_as_programs_print_it(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path, "share: 1e-3\n"), Bounded).share == 0.001
    assert read_yaml(write(tmp_path, "share: 5e-324\n"), Bounded).share == 5e-324


_BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{next_one}: &{next_one} [{', '.join([f'*{one}'] * 8)}]\n" for one, next_one in itertools.pairwise("abcdefgh")
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("&a [*a]", "a value holds itself"),
        ("? [1]\n: 2\n", "a key must be text"),
        ("\x00", "not valid YAML"),
        ("count: 2020-13-45\n", "not valid YAML"),
        ("[" * 5000, "nested too deep"),
        (_BOMB, "more than 1000000 values"),
    ],
)
def test_yaml_that_no_settings_need_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        read_yaml(write(tmp_path, text), Bounded)


@given(st.builds(Bounded, st.integers(1, 5), st.floats(0.001, 0.999), st.integers(0, 2**32 - 1)))
def test_a_record_read_back_is_the_same(record: Bounded) -> None:
    assert checked(json.loads(json.dumps(asdict(record))), Bounded) == record


def test_a_json_file_is_refused_by_name_key_and_schema(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"schema": 2, "count": 3}')
    assert read_json(path, Bounded, "a record", 2) == Bounded(3)
    with pytest.raises(Refusal, match=r"record\.json: not a record of schema 3"):
        read_json(path, Bounded, "a record", 3)
    path.write_text('{"count": 3, "shape": 1}')
    with pytest.raises(Refusal, match=r"record\.json: not a record: unknown key 'shape'; did you mean 'share'"):
        read_json(path, Bounded, "a record")
