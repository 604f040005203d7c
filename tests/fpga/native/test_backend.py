"""A compiled kernel is used where it is wanted, builds and computes rightly; a switch that names nothing is refused."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.native.backend import SWITCH, choose, require
from rrnet_nni.fpga.native.library import CompilationUnavailable


def unavailable() -> str:
    raise CompilationUnavailable("no compiler")


def test_a_kernel_that_computes_wrongly_is_not_used_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    assert choose(lambda: "C", lambda: "NumPy", lambda kernels: kernels == "C") == "C"
    assert not caplog.messages
    assert choose(lambda: "C", lambda: "NumPy", lambda kernels: False) == "NumPy"
    assert "computes wrongly as it was compiled here" in caplog.text
    assert choose(unavailable, lambda: "NumPy", lambda kernels: True) == "NumPy"


def test_the_switch_takes_the_portable_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "limbs")
    assert choose(lambda: "C", lambda: "NumPy", lambda kernels: True) == "NumPy"


@pytest.mark.parametrize(
    ("compiled", "problem"), [(unavailable, "no compiler"), (lambda: "C", "computes wrongly as it was compiled here")]
)
def test_whoever_asks_for_the_compiled_form_alone_is_told_that_there_is_none(
    compiled: Callable[[], str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "compiled")
    with pytest.raises(Refusal, match=f"{SWITCH}=compiled: .*{problem}"):
        choose(compiled, lambda: "NumPy", lambda kernels: False)


def test_a_switch_that_names_no_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "complied")
    with pytest.raises(Refusal, match="RRNET_RING_BACKEND=complied names no backend: expected one of compiled, limbs"):
        choose(lambda: "C", lambda: "NumPy", lambda kernels: True)


def test_kernels_without_a_portable_form_are_refused_when_they_compute_wrongly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RRNET_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "answer.c"
    source.write_text("int answer(void) { return 41; }\n")
    signatures = {"answer": (ctypes.c_int, [])}
    assert require(source, ("-O1", "-fPIC", "-shared"), signatures, lambda library: True, "a test").answer() == 41
    with pytest.raises(Refusal, match=r"a test: answer\.c computes wrongly as it was compiled here"):
        require(source, ("-O1", "-fPIC", "-shared"), signatures, lambda library: library.answer() == 42, "a test")
