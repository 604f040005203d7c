"""Each test named "still" holds for as long as a workaround in `rrnet_nni/compatibility.py` is needed: when it fails,
the workaround whose docstring names it can go."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import nni.trial
import pytest
import torch
from nni.runtime.config import get_config_file
from nni.runtime.trial_command_channel import (
    TrialCommandChannel,
    get_default_trial_command_channel,
    set_default_trial_command_channel,
)

from rrnet_nni.base.compatibility import (
    ManagerChannel,
    _nni_registry,
    channels_last_is_safe,
    interrupts_kept,
    nni_algorithms,
    subsampled,
)
from rrnet_nni.evaluators.arithmetic import processor_has_bfloat16
from rrnet_nni.experiments.tuners import register_tuner
from rrnet_nni.search_spaces import SpaceOptions, build_network, build_space, fixed_choices
from rrnet_nni.search_spaces.layers import Convolution, ConvPlan


def errors_of(statement: str) -> str:
    """What a new interpreter prints to standard error, nothing where the statement succeeds quietly."""
    command = [sys.executable, "-c", statement]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.skipif(torch.version.cuda is not None, reason="the extension of torchvision's wheel loads beside CUDA")
def test_torchvision_still_needs_its_schemas() -> None:
    assert "torchvision::nms does not exist" in errors_of("import torchvision")


def test_everything_imports_quietly_once_libraries_are_prepared() -> None:
    preparation = "from rrnet_nni.base.compatibility import prepare_libraries; prepare_libraries(); "
    assert errors_of(preparation + "import torchvision, torchmetrics, pytorch_lightning, nni.nas.nn.pytorch") == ""


def test_nni_still_warns_about_newer_names() -> None:
    from nni.nas.nn.pytorch import layers

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        layers.generate_stub_file()
    said = [str(one.message) for one in warned if issubclass(one.category, RuntimeWarning)]
    assert any("parameter.Buffer'> is found to be not a nn.Module" in one for one in said), said


def test_nni_still_imports_much() -> None:
    itself = "import sys; from nni.tools.package_utils.config_manager import get_all_algo_meta; print(len(sys.modules))"
    ours = "import sys; from rrnet_nni.experiments.tuners import known_tuners; known_tuners(); print(len(sys.modules))"
    heavy, light = (
        int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for code in (itself, ours)
    )
    assert heavy > 2 * light


def test_the_algorithms_are_those_that_nni_itself_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nni.tools.package_utils.config_manager import get_all_algo_meta

    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path))

    def listed() -> set[tuple[str, str | None]]:
        kinds = ("tuners", "advisors", "assessors")
        return {(meta["builtinName"], meta["className"]) for kind in kinds for meta in nni_algorithms(kind)}

    before = listed()
    assert before == {(meta.name, meta.class_name) for meta in get_all_algo_meta()}
    register_tuner()
    assert listed() - before == {("ParetoTuner", "rrnet_nni.strategies.pareto_tuner.ParetoTuner")}
    assert listed() == {(meta.name, meta.class_name) for meta in get_all_algo_meta()}
    monkeypatch.delenv("NNI_CONFIG_DIR")
    assert _nni_registry() == get_config_file("registered_algorithms.yml")


def test_nni_still_logs_to_standard_output() -> None:
    warned = "import logging, nni; logging.getLogger('nni.somewhere').warning('look')"
    kept = "from rrnet_nni.base.compatibility import keep_nni_off_stdout; keep_nni_off_stdout(); "
    for statement, stream in ((warned, "stdout"), (kept + warned, "stderr")):
        ended = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
        assert {name for name in ("stdout", "stderr") if "look" in getattr(ended, name)} == {stream}


def _interrupted_training() -> None:
    import pytorch_lightning as lightning

    class Interrupted(lightning.LightningModule):
        def training_step(self, batch: object, batch_idx: int) -> None:
            raise KeyboardInterrupt

        def configure_optimizers(self) -> None:
            return None

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
    trainer.fit(Interrupted(), torch.utils.data.DataLoader([torch.zeros(1)]))


def test_lightning_still_exits_when_it_is_interrupted() -> None:
    with pytest.raises(SystemExit):
        _interrupted_training()


def test_an_interrupted_training_is_interrupted_and_no_other_exit_is() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        _interrupted_training()
    with pytest.raises(SystemExit), interrupts_kept():
        sys.exit(3)


def test_freeze_still_shares_the_candidates() -> None:
    options = SpaceOptions(image_size=16)
    space = build_space("resnet8", options)
    choices = fixed_choices("resnet8", options, "x2act")
    first, second = space.freeze(choices), space.freeze(choices)
    assert {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}


def test_preparing_libraries_imports_none_of_them() -> None:
    statement = "from rrnet_nni.base.compatibility import prepare_libraries; prepare_libraries(); import sys; "
    assert errors_of(statement + "assert not {'torch', 'nni', 'pytorch_lightning'} & set(sys.modules)") == ""


def test_the_tuner_starts_without_torch() -> None:
    statement = "import sys, rrnet_nni.strategies.pareto_tuner; assert 'torch' not in sys.modules, 'torch'"
    assert "AssertionError" not in errors_of(statement)


def test_the_engine_still_replaces_the_channel() -> None:
    from nni.nas.evaluator import FunctionalEvaluator
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.space import RawFormatModelSpace
    from nni.runtime.trial_command_channel import get_default_trial_command_channel

    kept = ManagerChannel.keep()
    seen = []

    def evaluate(network: object) -> None:
        seen.append(get_default_trial_command_channel())
        nni.report_final_result(0.5)

    options = SpaceOptions(image_size=16)
    space = RawFormatModelSpace(build_space("resnet8", options), FunctionalEvaluator(evaluate))
    SequentialExecutionEngine().submit_models(space.freeze(fixed_choices("resnet8", options)))
    assert seen[0] is not kept.channel
    assert get_default_trial_command_channel() is kept.channel


def test_reports_inside_an_engine_reach_the_kept_channel_under_the_trials_own_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Listener(TrialCommandChannel):
        def __init__(self) -> None:
            self.metrics: list[str] = []
            self.parameter_ids: list[object] = []

        def receive_parameter(self) -> None:
            return None

        def send_metric(self, type: str, parameter_id: object, trial_job_id: str, sequence: int, value: str) -> None:
            self.metrics.append(value)
            self.parameter_ids.append(parameter_id)

    before, manager, engine = get_default_trial_command_channel(), Listener(), Listener()
    try:
        set_default_trial_command_channel(manager)
        monkeypatch.setattr(nni.trial, "_params", {"parameter_id": 7})
        kept = ManagerChannel.keep()
        set_default_trial_command_channel(engine)
        nni.trial._params = {"parameter_id": 0}
        kept.report_intermediate({"default": 0.5})
        kept.report_final({"default": 0.5})
        assert get_default_trial_command_channel() is engine
    finally:
        set_default_trial_command_channel(before)
    assert manager.parameter_ids == [7, 7]
    assert engine.metrics == []


def test_nnictl_still_waits_four_seconds() -> None:
    from nni.experiment import launcher

    assert launcher._check_rest_server.__defaults__ == (3, None)


def test_subsampled_pixels_give_a_strided_pointwise_convolution() -> None:
    convolution = torch.nn.Conv2d(4, 8, 1, stride=(2, 3), bias=False)
    x = torch.randn(2, 4, 7, 8)
    found = torch.nn.functional.conv2d(subsampled(x, (2, 3)), convolution.weight)
    torch.testing.assert_close(found, convolution(x))


def test_a_strided_depthwise_convolution_in_float32_is_the_same_within_bfloat16() -> None:
    convolution = Convolution(ConvPlan("down", 6, 6, 3, stride=2, groups=6))
    x = torch.randn(2, 6, 9, 8, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolution(x)
    exact = torch.nn.functional.conv2d(x.detach().float(), convolution.weight, None, 2, 1, 1, 6)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, exact.bfloat16(), rtol=0, atol=0)
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


STRIDED_DEPTHWISE = """
import torch
convolution = torch.nn.Conv2d(16, 16, 3, 2, 1, groups=16, bias=False).to(torch.bfloat16)
images = torch.randn(4, 16, 8, 8, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
convolution(images.requires_grad_(True)).sum().backward()
"""


def test_torch_still_has_no_kernel_for_strided_depthwise_convolutions_in_bfloat16() -> None:
    if not processor_has_bfloat16():
        pytest.skip("this processor does not multiply bfloat16 by itself")
    environment = os.environ | {"ONEDNN_VERBOSE": "1"}
    said = subprocess.run([sys.executable, "-c", STRIDED_DEPTHWISE], env=environment, capture_output=True, text=True)
    backward = [line for line in said.stdout.splitlines() if ",backward_data," in line]
    assert backward
    assert not any("_dw" in line for line in backward)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenet_v2"])
def test_our_backbones_train_safely_in_channels_last(backbone: str) -> None:
    options = SpaceOptions(width=0.125)
    network = build_network(backbone, options, fixed_choices(backbone, options))
    assert channels_last_is_safe(network, torch.device("cpu"))
    foreign = torch.nn.Sequential(network, torch.nn.Conv2d(4, 8, 1, stride=2))
    assert not channels_last_is_safe(foreign, torch.device("cpu"))
    assert channels_last_is_safe(foreign, torch.device("cuda"))


CHANNELS_LAST = """
import torch
convolution = torch.nn.Conv2d(4, 8, 1, stride=2, bias=False).to(memory_format=torch.channels_last)
for _ in range(20):
    images = torch.randn(12, 4, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_(True)
    convolution(images).square().mean().backward()
"""


def test_torch_still_corrupts_memory_in_channels_last() -> None:
    # glibc then checks each block as it is freed, so that the damage ends the process where it happened.
    checked = {**os.environ, "MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", CHANNELS_LAST], env=checked, capture_output=True, check=False)
    if ended.returncode == 0:
        pytest.skip("this processor's kernels do not show it; the workaround can go where no processor does")
    assert ended.returncode < 0, ended.stderr
