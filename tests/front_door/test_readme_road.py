"""README's commands, one after the other, in a folder that looks like a clone after `make`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.documented_commands import ROOT, documented_commands

#: So small that the road takes minutes: what is tried is that no step trips another one.
TASK = """
backbone: resnet8
space: {width: 0.5}
data: {name: digits, train_images: 300, test_images: 40}
search: {epochs: 2, warmup_epochs: 1}
training: {epochs: 4}
calibration_images: 64
"""
#: What has tests of its own, or needs another terminal, a browser, another folder or the installation itself.
ELSEWHERE = ("make", ".", "nnictl", "rrnet init", "rrnet stop")
PLACEHOLDERS = re.compile(r"my_images|photo\.jpg|\bID\b|\bFILE\b|--party|--serve|--listen|--connect|<")


def commands() -> list[str]:
    found = documented_commands(ROOT / "README.md")
    found = [re.split(r"\s{2,}", command)[0] for command in found if not PLACEHOLDERS.search(command)]
    return [command for command in found if command.startswith("rrnet") and not command.startswith(ELSEWHERE)]


def test_the_road_has_its_steps() -> None:
    verbs = [command.split()[1] for command in commands() if command.startswith("rrnet ")]
    assert {"run", "show", "search", "train", "export", "latency", "paper-table", "report"} <= set(verbs)
    assert sum(command.startswith("rrnet-2pc-") for command in commands()) >= 6


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.experiment
def test_the_readmes_commands_run_in_order(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "examples" / "digits.yml").write_text(TASK)
    experiment = (ROOT / "rrnet.yml").read_text()
    assert "maxTrialNumber: 6" in experiment
    (tmp_path / "rrnet.yml").write_text(experiment.replace("maxTrialNumber: 6", "maxTrialNumber: 2"))
    (tmp_path / ".lint").mkdir()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in commands():
        ran = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout[-1000:]}\n{ran.stderr[-2000:]}"
    assert (tmp_path / "page" / "report.html").is_file()
