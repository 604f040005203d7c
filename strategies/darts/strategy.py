"""RRNetDARTS: Algorithm 1 as an NNI one-shot strategy, for any place that takes `nni.nas.strategy.DARTS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from nni.mutable import Categorical, Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.strategy import DARTS
from pytorch_lightning import LightningModule

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency

from ..checkpoint import CHECKPOINT_NAME
from ..options import SearchOptions
from ..problem import OnEpoch
from ..record import RECORD_NAME
from .gates import GatedLayer, SupernetGates, TemperedSoftmax
from .module import RRNetDartsModule


class RRNetDARTS(DARTS):
    """Second-order differentiable search with the additive penalty λ·Lat(α) (Sec. III-C, Algorithm 1).

    Args:
        latency: Lat(α) of the space; None searches for accuracy alone.
        latency_weight: λ in 1/ms.
        target_latency_ms: adapt λ so that the derived network meets this latency.
        order: 2 is Algorithm 1, 1 leaves the look-ahead out.
        hvp: `finite_difference` (Eq. 8) or `exact` (double backward).
        run_dir: where the record of the epochs and the checkpoint go; None keeps neither.
        on_epoch: called with the record of each epoch.
        theta: label -> candidate -> θ at the start; uniform where absent.
        options: every other setting; the named arguments above replace those of `options`.
        **kwargs: what NNI's `DARTS` takes: `arc_learning_rate`, `gradient_clip_val`, `warmup_epochs`, `mutation_hooks`.

    Example:
        >>> strategy = RRNetDARTS(latency=latency, latency_weight=0.1)                    # doctest: +SKIP
        >>> strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())  # doctest: +SKIP
        >>> strategy.gates.argmax()                                                       # doctest: +SKIP
    """

    #: The Lightning module that runs the steps.
    module_class: type[RRNetDartsModule] = RRNetDartsModule

    def __init__(
        self,
        *,
        latency: ExpectedLatency | None = None,
        latency_weight: float | None = None,
        target_latency_ms: float | None = None,
        order: int | None = None,
        hvp: str | None = None,
        run_dir: str | PathLike[str] | None = None,
        on_epoch: OnEpoch | None = None,
        theta: Mapping[str, Mapping[str, float]] | None = None,
        options: SearchOptions | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("penalty") is not None:
            raise Refusal(
                "penalty: the penalty of NNI's DARTS has no gradient with respect to α; give latency and latency_weight"
            )
        changes: dict[str, Any] = {
            "latency_weight": latency_weight,
            "target_latency_ms": target_latency_ms,
            "order": order,
            "hvp": hvp,
            "alpha_learning_rate": kwargs.pop("arc_learning_rate", None),
            "warmup_epochs": kwargs.pop("warmup_epochs", None),
            "gradient_clip": kwargs.pop("gradient_clip_val", None),
        }
        given = {name: value for name, value in changes.items() if value is not None}
        self.options = replace(options or SearchOptions(), **given)
        for name in ("target_latency_ms", "target_comparisons"):
            if getattr(self.options, name) is not None and latency is None:
                raise Refusal(f"{name} needs the latency of the space: give latency")
        super().__init__(
            arc_learning_rate=self.options.alpha_learning_rate,
            gradient_clip_val=self.options.gradient_clip,
            warmup_epochs=self.options.warmup_epochs,
            **kwargs,
        )
        self.latency = latency
        self.run_dir = Path(run_dir) if run_dir is not None else None
        self.on_epoch = on_epoch
        self.theta = theta
        self._softmax = TemperedSoftmax()
        self._candidates: dict[str, tuple[str, ...]] = {}
        self._supernet: ModelSpace | None = None

    @property
    def gates(self) -> SupernetGates:
        """The gates of the supernet, once the strategy has been initialized."""
        module = self.oneshot_module
        assert isinstance(module, RRNetDartsModule)
        return module.gates

    def default_mutation_hooks(self) -> list[Any]:
        return [GatedLayer.mutate, *super().default_mutation_hooks()]

    def configure_softmax(self) -> TemperedSoftmax:
        return self._softmax

    def mutate_model(self, model: ModelSpace) -> ModelSpace:
        self._candidates = {
            str(label): tuple(mutable.values)
            for label, mutable in model.simplify().items()
            if isinstance(mutable, Categorical)
        }
        if self.latency is not None:
            self.latency.check_covers(self._candidates)
        self._supernet = super().mutate_model(model)
        return self._supernet

    def configure_oneshot_module(self, training_module: LightningModule) -> RRNetDartsModule:
        assert self._supernet is not None
        gates = SupernetGates(self._candidates, self._arch_parameters, self._supernet, self._softmax)
        if self.theta is not None:
            gates.start_at(self.theta)
        return self.module_class(
            training_module,
            gates=gates,
            latency=self.latency,
            options=self.options,
            record_path=self.run_dir / RECORD_NAME if self.run_dir else None,
            checkpoint_path=self.run_dir / CHECKPOINT_NAME if self.run_dir else None,
            on_epoch=self.on_epoch,
        )

    @property
    def latency_weight(self) -> float:
        """λ in 1/ms as it stands."""
        module = self.oneshot_module
        assert isinstance(module, RRNetDartsModule)
        return module.latency_weight

    def state_dict(self) -> dict[str, Any]:
        """Where the last checkpoint lies, for `load_state_dict` of a strategy in another process."""
        if self.run_dir is not None and (self.run_dir / CHECKPOINT_NAME).exists():
            return {"ckpt_path": str(self.run_dir / CHECKPOINT_NAME)}
        return super().state_dict()

    def derived(self) -> Sample:
        """The network that the search ended with: argmax θ, or the most probable one within its budget."""
        module = self.oneshot_module
        assert isinstance(module, RRNetDartsModule)
        return module.derived()
