"""RRNetDARTS runs wherever NNI's DARTS runs, and leaves a record that says what it did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from rrnet_nni.base.errors import Refusal
from rrnet_nni.strategies.darts.strategy import RRNetDARTS
from rrnet_nni.strategies.options import SearchOptions
from rrnet_nni.strategies.record import scalars_of


def test_it_runs_in_the_place_of_nnis_darts(tiny: Any, tmp_path: Any) -> None:
    seen = []
    options = SearchOptions(epochs=4, warmup_epochs=1, latency_weight=0.1)
    strategy = RRNetDARTS(latency=tiny.latency(), options=options, run_dir=tmp_path, on_epoch=seen.append)
    tiny.search(strategy, epochs=4)

    assert [record.phase for record in seen] == ["warm-up", "search", "search", "search"]
    assert all(record.validation_accuracy is not None for record in seen)
    lines = [json.loads(line) for line in (tmp_path / "search.jsonl").read_text().splitlines()]
    assert lines == [record.to_dict() for record in seen]
    assert (tmp_path / "search.ckpt").exists()
    assert set(strategy.derived()) == {"act1", "act2", "pool"}
    exported = next(iter(strategy.list_models()))
    assert exported.sample == strategy.derived()


def test_the_example_of_the_docs_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Lightning's logs go there
    text = (Path(__file__).parents[2] / "docs" / "reference" / "search.md").read_text()
    example = text.split("```python\n", 1)[1].split("```", 1)[0]
    images, labels = torch.randn(64, 1, 8, 8), torch.arange(64) % 10
    names: dict[str, Any] = {"my_halves": [TensorDataset(images, labels), TensorDataset(images, labels)]}
    exec(example, names)
    derived = names["strategy"].derived()
    assert set(derived) == set(names["operators"].choices)
    names["latency"].profile(derived)


def test_a_warm_up_as_long_as_the_search_is_refused(tiny: Any) -> None:
    with pytest.raises(Refusal, match=r"warmup_epochs \(3\) must be less than the trainer's max_epochs \(3\)"):
        tiny.search(RRNetDARTS(latency=tiny.latency()), epochs=3)


def test_nnis_own_arguments_keep_their_meaning() -> None:
    strategy = RRNetDARTS(arc_learning_rate=0.5, warmup_epochs=2, gradient_clip_val=3.0)
    assert (strategy.options.alpha_learning_rate, strategy.options.warmup_epochs) == (0.5, 2)
    assert strategy.options.gradient_clip == 3.0
    with pytest.raises(Refusal, match="no gradient"):
        RRNetDARTS(penalty={"profiler": None, "baseline": 1.0})


@pytest.mark.parametrize(("order", "hvp"), [(1, "finite_difference"), (2, "exact")])
def test_a_very_large_weight_gives_all_polynomial_with_avgpool(tiny: Any, order: int, hvp: str) -> None:
    options = SearchOptions(epochs=4, warmup_epochs=1, latency_weight=1e4, order=order, hvp=hvp)
    strategy = tiny.search(RRNetDARTS(latency=tiny.latency(), options=options), epochs=4)
    assert strategy.derived() == {"act1": "x2act", "act2": "x2act", "pool": "avgpool"}


def test_tensorboard_shows_every_number_of_the_record(tiny: Any, tmp_path: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = []
    options = SearchOptions(epochs=2, warmup_epochs=1, tensorboard=True)
    tiny.search(RRNetDARTS(latency=tiny.latency(), options=options, run_dir=tmp_path, on_epoch=seen.append), epochs=2)
    curves = EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    for name, value in scalars_of(seen[-1]).items():
        event = curves.Scalars(name)[-1]
        assert event.step == 1
        assert event.value == pytest.approx(value, rel=1e-5), name
    assert "theta/act1/relu" in curves.Tags()["scalars"]
