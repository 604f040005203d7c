"""C sources become libraries of this machine once, and again when anything that they are made of changes."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from rrnet_nni.fpga.native.library import CompilationUnavailable, address, build_library, load_library


def answer_of(source: Path) -> int:
    library = load_library(build_library(source), {"answer": (ctypes.c_int, [])})
    return int(library.answer())


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RRNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "answer.c"


def test_a_broken_compiler_is_reported_as_unavailable(source: Path, tmp_path: Path) -> None:
    source.write_text("this is not C")
    with pytest.raises(CompilationUnavailable, match=r"cannot compile answer\.c"):
        build_library(source)
    assert not list(tmp_path.rglob("*.so"))


def test_a_kernel_is_compiled_again_when_a_header_beside_it_changes(source: Path, tmp_path: Path) -> None:
    header = tmp_path / "shared" / "answer.h"
    header.parent.mkdir()
    source.write_text('#include "shared/answer.h"\nint answer(void) { return ANSWER; }\n')
    answers = []
    for number in (41, 42):
        header.write_text(f"#define ANSWER {number}\n")
        answers.append(answer_of(source))
    assert answers == [41, 42]


def test_a_header_of_a_header_counts_too(source: Path, tmp_path: Path) -> None:
    source.write_text('#include "outer.h"\nint answer(void) { return ANSWER; }\n')
    (tmp_path / "outer.h").write_text('#include "inner.h"\n')
    answers = []
    for number in (1, 2):
        (tmp_path / "inner.h").write_text(f"#define ANSWER {number}\n")
        answers.append(answer_of(source))
    assert answers == [1, 2]


def test_the_cache_keeps_the_libraries_that_were_used_last(source: Path, tmp_path: Path) -> None:
    built = []
    for number in range(6):
        source.write_text(f"int answer(void) {{ return {number}; }}\n")
        built.append(build_library(source))
        os.utime(built[-1], (number, number))
    assert [path.exists() for path in built] == [False, False, True, True, True, True]


def test_an_address_is_that_of_contiguous_words_alone() -> None:
    import numpy as np

    words = np.zeros((4, 4), np.uint32)
    assert address(words) == words.ctypes.data
    assert address(words[:0]) == words.ctypes.data
    assert address(words[2]) == words.ctypes.data + 32
    read_only = np.frombuffer(bytes(16), np.uint32)
    assert address(read_only) == read_only.ctypes.data
    with pytest.raises(ValueError, match="contiguous"):
        address(words[:, 1:])
