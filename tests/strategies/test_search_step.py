"""What one step of the search costs and what it leaves untouched, counted on the real module inside a real trainer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback

from rrnet_nni.strategies.darts.module import RRNetDartsModule
from rrnet_nni.strategies.darts.strategy import RRNetDARTS
from rrnet_nni.strategies.options import SearchOptions


class StepWatch(RRNetDartsModule):
    """Counts passes through the supernet and compares its state around every α update."""

    forwards: Counter[str]
    backwards: Counter[str]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.phase, self.forwards, self.backwards = "other", Counter(), Counter()
        self.updates: Counter[str] = Counter()
        self.model.register_forward_hook(self._count_forward)

    def _count_forward(self, module: Any, inputs: Any, output: torch.Tensor) -> None:
        self.forwards[self.phase] += 1
        phase = self.phase
        if output.requires_grad:
            output.register_hook(lambda gradient: self.backwards.update([phase]))

    def architecture_step(self, train: Any, validation: Any) -> None:
        before = {name: tensor.clone() for name, tensor in self.model.state_dict().items() if "alpha" not in name}
        random_state = torch.get_rng_state()
        self.phase = "alpha"
        super().architecture_step(train, validation)
        self.phase = "other"
        self.updates["alpha"] += 1
        assert torch.equal(torch.get_rng_state(), random_state), "the random stream of the training data moved"
        after = self.model.state_dict()
        for name, tensor in before.items():
            assert torch.equal(tensor, after[name]), f"{name} changed in an α update"
        assert all(p.grad is None for name, p in self.model.named_parameters() if "alpha" in name)

    def weight_step(self, train: Any, batch_idx: int) -> Any:
        self.phase = "omega"
        outputs = super().weight_step(train, batch_idx)
        self.phase = "other"
        self.updates["omega"] += 1
        assert all(p.grad is None for name, p in self.model.named_parameters() if "alpha" in name)
        return outputs


class WatchedDARTS(RRNetDARTS):
    module_class = StepWatch


@pytest.mark.parametrize(
    ("order", "hvp", "forwards", "backwards"),
    [(2, "finite_difference", 4, 4), (2, "exact", 2, 3), (1, "finite_difference", 1, 1)],
)
def test_passes_of_each_update(tiny: Any, order: int, hvp: str, forwards: int, backwards: int) -> None:
    """Algorithm 1 grants four forward and five backward passes to α, and one of each to ω."""
    options = SearchOptions(epochs=2, warmup_epochs=1, order=order, hvp=hvp, freeze_threshold=None)
    strategy = tiny.search(WatchedDARTS(latency=tiny.latency(), options=options), epochs=2)
    module = strategy.oneshot_module
    assert module.updates["alpha"] == 7
    assert module.updates["omega"] == 14
    assert module.forwards["alpha"] == forwards * module.updates["alpha"]
    assert module.backwards["alpha"] == backwards * module.updates["alpha"]
    assert module.forwards["omega"] == module.backwards["omega"] == module.updates["omega"]


class PoisonedValidation(Callback):
    """Makes the validation images of one batch infinite."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 3:
            batch["val"][0].fill_(float("inf"))


def test_an_overflowing_gradient_skips_the_alpha_update_and_is_counted(tiny: Any) -> None:
    records: list[Any] = []
    options = SearchOptions(epochs=2, warmup_epochs=1)
    evaluator = tiny.evaluator(2)
    evaluator.trainer.callbacks.append(PoisonedValidation())
    strategy = RRNetDARTS(latency=tiny.latency(), options=options, on_epoch=records.append)
    tiny.search(strategy, epochs=2, evaluator=evaluator)
    assert records[-1].skipped_updates == 1
    for gate in strategy.gates:
        assert bool(torch.isfinite(gate.alpha).all())
    assert records[-1].validation_loss is not None


def test_alpha_is_ordered_by_label(tiny: Any) -> None:
    strategy = tiny.search(RRNetDARTS(options=SearchOptions(epochs=2, warmup_epochs=1)), epochs=2)
    module = strategy.oneshot_module
    by_label = [gate.alpha for gate in strategy.gates]
    assert [gate.label for gate in strategy.gates] == ["act1", "act2", "pool"]
    assert all(a is b for a, b in zip(module.arch_parameters(), by_label, strict=True))
