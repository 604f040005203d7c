"""Constraint programming as the oracle of list schedules and of their bounds, and as `--optimal`."""

import builtins
import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from helpers.job_graphs import layered_jobs
from helpers.networks.small_onnx_models import mixed_model
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler import compile_command as cli
from rrnet_nni.fpga.compiler.check.check import check_build
from rrnet_nni.fpga.compiler.compile import compile_model, compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.schedule import bounds, optimal
from rrnet_nni.fpga.compiler.schedule.instruction_stream import schedule_instructions
from rrnet_nni.fpga.compiler.schedule.job_table import JobGraph
from rrnet_nni.fpga.compiler.schedule.jobs import Job
from rrnet_nni.fpga.compiler.schedule.optimal import optimize
from rrnet_nni.fpga.compiler.schedule.schedule import Schedule, list_schedule
from rrnet_nni.fpga.compiler.schedule.simulate import simulate
from rrnet_nni.fpga.compiler.schedule.tiling import build_jobs
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.protocols import get_costs

DEVICE = load_device("zcu104")
needs_ortools = pytest.mark.skipif(importlib.util.find_spec("ortools") is None, reason="needs the extra `optimal`")


@needs_ortools
@settings(max_examples=40, deadline=None)
@given(jobs=layered_jobs(), free=st.integers(0, 1500), width=st.integers(1, 3))
def test_no_bound_exceeds_the_optimum_and_no_schedule_undercuts_it(jobs: list[Job], free: int, width: int) -> None:
    largest = max(job.allocates for job in jobs if job.weights)
    device = dataclasses.replace(DEVICE, buffer_bytes=2 * 64 + largest + free)
    listed = list_schedule(JobGraph(128, jobs), device, 0, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "JOIN_WIDTHS", (width,))
        own = max(bounds.lower_bounds(JobGraph(128, jobs), device).values())
        patch.setattr(Schedule, "lower_bound", 0)  # the solver is not told our bound
        best = optimize(listed, seconds=5.0)
    assert own <= best.makespan <= listed.makespan
    assert best.proven <= best.makespan


@needs_ortools
@pytest.mark.parametrize("tiles", [1, 2, 8])
def test_a_list_schedule_comes_close_to_what_is_proven(tiles: int) -> None:
    program = compile_program(import_model(mixed_model(image_size=8), "model")).program
    listed = list_schedule(build_jobs(program, DEVICE, get_costs("beaver-ot"), tiles), DEVICE, tiles, 3)
    best = optimize(listed, seconds=2.0)
    assert listed.lower_bound <= best.proven <= best.makespan <= listed.makespan <= 1.01 * best.proven
    assert simulate(schedule_instructions(best), DEVICE).makespan == best.makespan


@needs_ortools
def test_an_optimal_build_is_valid_and_reports_the_proven_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimal, "DETERMINISTIC_SECONDS", 2.0)
    onnx.save(mixed_model(image_size=8), tmp_path / "model.onnx")
    report = compile_model(tmp_path / "model.onnx", tmp_path / "build", optimal=True).report
    assert check_build(tmp_path / "build").instructions == report["instructions"]
    assert report["schedule"]["bounds_ms"]["constraint programming"] <= report["lower_bound_ms"]
    assert report["lower_bound_ms"] <= report["makespan_ms"]


def test_without_ortools_optimal_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "ortools"]:
        monkeypatch.delitem(sys.modules, name)
    imported = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.startswith("ortools"):
            raise ModuleNotFoundError(name, name=name)
        return imported(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    onnx.save(mixed_model(image_size=8), tmp_path / "model.onnx")
    assert cli.main([str(tmp_path / "model.onnx"), "-o", str(tmp_path / "build"), "--optimal"]) == 2
    assert "rrnet-nni[optimal]" in capsys.readouterr().err
    assert not (tmp_path / "build").exists()


@needs_ortools
def test_a_program_too_large_for_constraint_programming_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimal, "JOBS_LIMIT", 10)
    program = compile_program(import_model(mixed_model(image_size=8), "model")).program
    listed = list_schedule(build_jobs(program, DEVICE, get_costs("beaver-ot"), 1), DEVICE)
    with pytest.raises(Refusal, match="at most 10 jobs"):
        optimize(listed)
