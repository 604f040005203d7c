"""`fpga` works where neither torch nor NNI is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers.light_environment import light_environment

SCRIPT = """
import importlib
import pkgutil

import rrnet_nni.fpga as fpga

for module in pkgutil.walk_packages(fpga.__path__, "rrnet_nni.fpga."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

from rrnet_nni.fpga.cost import build_lut
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import Relu, X2act
from rrnet_nni.fpga.protocols import get_costs, protocol_names

choices = {"act": {"relu": Relu(64), "x2act": X2act(64)}}
for name in protocol_names():
    table = build_lut(choices, [], load_device("zcu104"), get_costs(name))
    assert table.latency_ms({"act": "relu"}) > table.latency_ms({"act": "x2act"}) > 0
print("stands alone")
"""


def test_every_module_of_fpga_imports_and_prices_without_torch_and_nni(tmp_path: Path) -> None:
    environment = light_environment(tmp_path)
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "stands alone\n"
