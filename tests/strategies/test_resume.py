"""A search killed with -9 and started again ends with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from rrnet_nni.strategies.record import RecordFile

SEARCH = """
import sys, torch
sys.path.insert(0, {tests!r})
from pathlib import Path
torch.set_num_threads(1)
from conftest import _evaluator, _search, tiny_latency
from rrnet_nni.strategies.darts import RRNetDARTS
from rrnet_nni.strategies.options import SearchOptions
run = Path(sys.argv[1])
options = SearchOptions(epochs=6, warmup_epochs=1, latency_weight=0.05, freeze_threshold=0.6, alpha_learning_rate=0.05)
evaluator = _evaluator(6)
if (run / "search.ckpt").exists():
    evaluator.fit_kwargs["ckpt_path"] = str(run / "search.ckpt")
strategy = RRNetDARTS(latency=tiny_latency(), options=options, run_dir=run)
_search(strategy, evaluator=evaluator)
state = {{gate.label: gate.alpha.detach() for gate in strategy.gates}}
state.update(strategy.supernet.state_dict())
torch.save(state, run / "end.pt")
"""


def _start(script: Path, run: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(script), str(run)], env=environment, stderr=subprocess.DEVNULL)


def test_a_search_killed_in_the_middle_ends_with_the_same_bits(tmp_path: Path) -> None:
    script = tmp_path / "search.py"
    script.write_text(SEARCH.format(tests=str(Path(__file__).parent)))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for run in (whole, killed):
        run.mkdir()
    assert _start(script, whole).wait(timeout=120) == 0

    process = _start(script, killed)
    records = RecordFile(killed / "search.jsonl")
    deadline = time.monotonic() + 120
    while len(records.read()) < 2 or not (killed / "search.ckpt").exists():
        assert process.poll() is None, "the search ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "end.pt").exists()
    with (killed / "search.jsonl").open("a") as lines:
        lines.write('{"epoch": 99, "half a li')

    assert _start(script, killed).wait(timeout=120) == 0
    expected: dict[str, Any] = torch.load(whole / "end.pt", weights_only=True)
    found: dict[str, Any] = torch.load(killed / "end.pt", weights_only=True)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    without_time = [
        [{key: value for key, value in record.items() if key != "seconds"} for record in RecordFile(path).read()]
        for path in (whole / "search.jsonl", killed / "search.jsonl")
    ]
    assert without_time[0] == without_time[1]


def test_a_half_written_record_is_dropped_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    path.write_text('{"epoch": 0}\n{"epoch": 1}\n{"epoch": 2}\n{"epo')
    RecordFile(path).forget_from(2)
    assert RecordFile(path).read() == [{"epoch": 0}, {"epoch": 1}]
