"""A search killed with -9 and started again ends with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_task import tiny_evaluator, tiny_latency, tiny_search

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.evaluators.training import TrainingOptions
from rrnet_nni.fpga.cost.lut import build_lut
from rrnet_nni.fpga.devices.load import load_device
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import SpaceOptions
from rrnet_nni.strategies import RRNetDARTS, SearchOptions, search
from rrnet_nni.strategies.checkpoint import CHECKPOINT_NAME
from rrnet_nni.strategies.record import RECORD_NAME, RecordFile

RUN = """
import sys
from pathlib import Path
import test_resume
getattr(test_resume, sys.argv[1])(Path(sys.argv[2]))
"""


def foreign_loaders(run: Path) -> None:
    """NNI's own evaluator with shuffling torch DataLoaders, dropout, and gates that are decided on the way."""
    options = SearchOptions(
        epochs=6, warmup_epochs=1, latency_weight=0.05, freeze_threshold=0.6, alpha_learning_rate=0.05
    )
    evaluator = tiny_evaluator(6)
    if (run / CHECKPOINT_NAME).exists():
        evaluator.fit_kwargs["ckpt_path"] = str(run / CHECKPOINT_NAME)
    tiny_search(RRNetDARTS(latency=tiny_latency(), options=options, run_dir=run), evaluator=evaluator)


def digits(run: Path) -> None:
    """The search as `rrnet search` runs it: augmented digits, a ResNet, a latency target that moves λ."""
    dataset = load_dataset(DataOptions(image_size=8, train_images=300))
    space = SpaceOptions(image_size=8, channels=1, width=0.25)
    operators = describe_space("resnet8", space)
    table = build_lut(operators.choices, operators.fixed, load_device("zcu104"), get_costs("beaver-ot"))
    latency = ExpectedLatency.of_space(operators, table)
    target_ms = sum(latency.bounds_ms()) / 2
    options = SearchOptions(strategy="rrnet", epochs=5, warmup_epochs=1, target_latency_ms=target_ms, seed=3)
    search("resnet8", space, dataset, latency, options, TrainingOptions(batch_size=32), run)


@pytest.mark.parametrize("task", [foreign_loaders, digits])
def test_a_search_killed_in_the_middle_ends_with_the_same_bits(task: Callable[[Path], None], tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _kill_after_two_epochs(task, killed)
    with (killed / RECORD_NAME).open("a") as lines:
        lines.write('{"epoch": 99, "half a li')
    task(killed)
    task(whole)
    expected, found = _end(whole), _end(killed)
    assert any("alpha" in name for name in expected["state_dict"])
    assert expected["state_dict"].keys() == found["state_dict"].keys()
    for name, tensor in expected["state_dict"].items():
        assert torch.equal(tensor, found["state_dict"][name]), name
    assert expected["rrnet_search"]["latency_weight"] == found["rrnet_search"]["latency_weight"]
    without_time = [
        [{key: value for key, value in record.items() if key != "seconds"} for record in RecordFile(path).read()]
        for path in (whole / RECORD_NAME, killed / RECORD_NAME)
    ]
    assert without_time[0] == without_time[1]


def _kill_after_two_epochs(task: Callable[[Path], None], run: Path) -> None:
    run.mkdir()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1]))),
    }
    command = [sys.executable, "-c", RUN, task.__name__, str(run)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    records = RecordFile(run / RECORD_NAME)
    deadline = time.monotonic() + 300
    while _whole_lines(records.path) < 2 or not (run / CHECKPOINT_NAME).exists():
        assert process.poll() is None, "the search ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def _whole_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _end(run: Path) -> Any:
    checkpoint = torch.load(run / CHECKPOINT_NAME, weights_only=True)
    assert checkpoint["epoch"] == len(RecordFile(run / RECORD_NAME).read()) - 1
    return checkpoint


def test_a_strategy_of_its_own_refuses_a_checkpoint_of_other_options(tmp_path: Path) -> None:
    """Without the folder's settings too, as a script that uses NNI's evaluator resumes it."""
    options = SearchOptions(epochs=2, warmup_epochs=1)
    tiny_search(RRNetDARTS(latency=tiny_latency(), options=options, run_dir=tmp_path), evaluator=tiny_evaluator(2))
    evaluator = tiny_evaluator(2)
    evaluator.fit_kwargs["ckpt_path"] = str(tmp_path / CHECKPOINT_NAME)
    changed = RRNetDARTS(latency=tiny_latency(), options=replace(options, latency_weight=0.7), run_dir=tmp_path)
    with pytest.raises(Refusal, match=r"the checkpoint was written with latency_weight 0\.1, not 0\.7"):
        tiny_search(changed, evaluator=evaluator)


def test_a_half_written_record_is_dropped_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    path.write_text('{"epoch": 0}\n{"epoch": 1}\n{"epoch": 2}\n{"epo')
    RecordFile(path).forget_from(2)
    assert RecordFile(path).read() == [{"epoch": 0}, {"epoch": 1}]
