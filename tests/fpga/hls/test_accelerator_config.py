"""The accelerator's constants as a header, and the vendor's Makefile that asks for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rrnet_nni.fpga.hls import config
from rrnet_nni.fpga.hls.simulator import SOURCES


def test_the_command_prints_the_header_of_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert config.main(["zcu104-rrnet"]) == 0
    assert "#define RRNET_ARRAY_TILES 10\n" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_synthesis_never_goes_on_with_the_header_of_another_device(tmp_path: Path) -> None:
    def make(device: str) -> str:
        arguments = [f"DEVICE={device}", f"OUT={tmp_path}", f"PYTHON={sys.executable}", "VITIS_HLS=no-such-tool"]
        command = ["make", "-C", str(SOURCES / "vitis"), "csynth", *arguments]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        assert finished.returncode == 2
        return finished.stdout + finished.stderr

    header = tmp_path / "rrnet_config.h"
    assert "no-such-tool is not on the path" in make("zcu104")
    assert "The accelerator on zcu104." in header.read_text()
    assert "no-such-tool is not on the path" in make("zcu104-rrnet")
    assert "The accelerator on zcu104-rrnet." in header.read_text()
    refusal = make("zcu105")
    assert "device 'zcu105' is unknown" in refusal
    assert "Traceback" not in refusal
    assert not header.exists()
