"""Workarounds for the libraries below us, each with its reason and the test that shows when it can go.

NNI's manager is JavaScript: what is changed in it stands in `experiments/manager_*.js`, with
`tests/base/test_manager_changes.py`. Every room that imports NNI or Lightning calls `prepare_libraries()` in its
`__init__`, before anything else does.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import torch
    from nni.runtime.trial_command_channel import TrialCommandChannel
    from torch import nn

_KEPT_ALIVE: list[object] = []


def prepare_libraries() -> None:
    """Make the installed libraries importable together. Imports none of them, and is safe to call again."""
    if not any(isinstance(finder, _BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeTorchvision())
    _silence_nni_about_newer_names()


class _BeforeTorchvision(MetaPathFinder):
    """Declares the two operators that `import torchvision` needs, just before its first import.

    torchvision's only wheel links CUDA libraries. Beside a CPU build of torch its extension is not loaded, and
    `import torchvision`, also from torchmetrics and so from Lightning and NNI, dies with `operator torchvision::nms
    does not exist`. The schemas alone let models, datasets and transforms work. They are declared at the last moment
    because importing torch takes seconds, and NNI gives the process of a tuner ten of them to answer.
    Can go when `test_torchvision_still_needs_its_schemas` fails.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Never finds anything itself."""
        if fullname == "torchvision" and not _KEPT_ALIVE:
            # Looking for the package below comes back here.
            _KEPT_ALIVE.append(self)
            _define_missing_torchvision_operators()


def _define_missing_torchvision_operators() -> None:
    import torch

    if hasattr(torch.ops.torchvision, "nms") or _torchvision_extension_loads():
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT_ALIVE.append(library)


def _torchvision_extension_loads() -> bool:
    import torch

    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return False
    for extension in Path(package.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(extension)
        except OSError:
            return False
        return True
    return False


def _silence_nni_about_newer_names() -> None:
    """Drop NNI's warnings about names of torch.nn that are newer than NNI 3.0.

    `nni.nas.nn.pytorch` wraps every name of `torch.nn` and warns "Your PyTorch version might not be supported" for
    those that are not modules (`Buffer`, `LinearCrossEntropyOptions`); it skips them, so nothing is lost.
    Can go when `test_nni_still_warns_about_newer_names` fails.
    """
    warnings.filterwarnings("ignore", message=".*is found to be not a nn.Module", category=RuntimeWarning)


def nni_algorithms(kind: str) -> list[dict[str, Any]]:
    """What NNI has of `tuners`, `assessors` or `advisors`: its own, and what was registered in this environment.

    Its own function for that, `get_all_algo_meta`, comes with `import nni`, which takes seconds: too long for telling
    somebody of a typo.
    Can go when `test_nni_still_imports_much` fails.

    Raises:
        ModuleNotFoundError: NNI is not installed.
    """
    package = importlib.util.find_spec("nni")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'nni'", name="nni")
    builtin = Path(package.origin).parent / "runtime" / "default_config" / "builtin_algorithms.yml"
    documents = [yaml.safe_load(file.read_text("utf-8")) for file in (builtin, _nni_registry()) if file.is_file()]
    return [meta for document in documents for meta in (document or {}).get(kind, [])]


def _nni_registry() -> Path:
    """Where NNI writes down what is registered, as its `get_config_directory` finds it."""
    if named := os.environ.get("NNI_CONFIG_DIR"):
        folder = Path(named)
    elif sys.prefix != sys.base_prefix or Path(sys.prefix, "conda-meta").is_dir():
        folder = Path(sys.prefix, "nni")
    elif sys.platform == "win32":
        folder = Path(os.environ["APPDATA"], "nni")
    else:
        folder = Path.home() / ".config" / "nni"
    return folder / "registered_algorithms.yml"


def keep_nni_off_stdout() -> None:
    """Let NNI's log go to standard error like everybody's, without what it says at every search.

    NNI logs to standard output, which belongs to a command's answer: with `--json` nothing else may stand there.
    Its evaluator warns of missing validation loaders and adds that one-shot strategies need none; its engine and its
    strategies announce every exception that they pass on, which is one sentence of ours already.
    Can go when `test_nni_still_logs_to_standard_output` fails.
    """
    import nni

    nni.silence_stdout()
    for name in ("evaluator.pytorch.lightning", "execution.sequential", "strategy.base", "strategy.evolution"):
        logging.getLogger(f"nni.nas.{name}").setLevel(logging.CRITICAL)


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Let Ctrl-C inside of a Lightning trainer arrive as the `KeyboardInterrupt` that it is.

    Lightning turns it into `SystemExit(1)`, without a word.
    Can go when `test_lightning_still_exits_when_it_is_interrupted` fails.
    """
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def freeze_apart(space: nn.Module, choices: Mapping[str, str]) -> nn.Module:
    """Freeze a space or supernet at `choices` into a network that shares nothing with it.

    NNI's `freeze` copies the modules around a choice, but the chosen candidate stays the supernet's own object: two
    frozen networks would share, and train, the same X2act coefficients.
    Can go when `test_freeze_still_shares_the_candidates` fails.
    """
    return copy.deepcopy(space.freeze(dict(choices)))  # type: ignore[operator]


def subsampled(x: torch.Tensor, stride: tuple[int, int]) -> torch.Tensor:
    """The pixels of [N, C, H, W] that a 1x1 convolution of that stride sees: convolve them with stride 1.

    torch 2.13's backward pass of a strided 1x1 convolution of few channels whose tensors lie as N, H, W, C writes past
    its buffers on the CPU: `double free or corruption`, or wrong values without a word. The same sums with stride 1 are
    safe.
    Can go when `test_torch_still_corrupts_memory_in_channels_last` is skipped on every kind of processor.
    """
    return x[:, :, :: stride[0], :: stride[1]]


def strided_depthwise(x: torch.Tensor, convolution: nn.Conv2d) -> torch.Tensor:
    """A strided depthwise convolution in float32 whatever the autocast; the output is of the type that x has.

    oneDNN, by which torch 2.13 convolves on the CPU, has no kernel of its own for the backward pass of these in
    bfloat16 and takes a general one, 6 to 20 times as slow as float32's: a fourth of MobileNetV2's training.
    Can go when `test_torch_still_has_no_kernel_for_strided_depthwise_convolutions_in_bfloat16` fails.
    """
    import torch

    with torch.autocast(x.device.type, enabled=False):
        return convolution._conv_forward(x.float(), convolution.weight, convolution.bias).to(x.dtype)


def channels_last_is_safe(network: nn.Module, device: torch.device) -> bool:
    """Whether a network may be trained with tensors that lie as N, H, W, C on this device.

    On the CPU not where a strided 1x1 convolution of torch's own trains: see `subsampled`, which our backbones use.
    Can go together with it.
    """
    if device.type != "cpu":
        return True
    from torch import nn

    return not any(
        isinstance(module, nn.Conv2d)
        and type(module).forward is nn.Conv2d.forward
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        for module in network.modules()
    )


def patient_nnictl() -> None:
    """`nnictl`, but waiting a minute for its manager instead of four seconds.

    nnictl asks the manager four times, a second apart, and then gives up with a traceback although the manager is still
    starting: on a busy machine Node needs longer. The arguments are those of the command line.
    Can go when `test_nnictl_still_waits_four_seconds` fails.
    """
    from nni.experiment import launcher
    from nni.tools.nnictl.nnictl import parse_args

    launcher._check_rest_server.__defaults__ = (60, None)
    parse_args()


@dataclass(frozen=True)
class ManagerChannel:
    """The manager's command channel, kept from before the search, so that reports inside of it reach the web UI.

    NNI's `SequentialExecutionEngine` puts its own channel in place while a strategy runs, so that a plain
    `nni.report_intermediate_result` ends in the engine and the web UI stays empty. It also replaces the trial's
    parameters, so that a final report would carry the parameter id 0 and teach the tuner about another trial's λ.
    Can go when `test_the_engine_still_replaces_the_channel` fails.
    """

    channel: TrialCommandChannel
    parameters: Any

    @classmethod
    def keep(cls) -> ManagerChannel:
        """Take hold of the channel; call it after `nni.get_next_parameter` and before the search starts."""
        import nni.trial
        from nni.runtime.trial_command_channel import get_default_trial_command_channel

        return cls(get_default_trial_command_channel(), nni.trial._params)

    def report_intermediate(self, metrics: Mapping[str, Any]) -> None:
        """Send one intermediate result (`default` and any other numbers)."""
        import nni

        with self._in_place():
            nni.report_intermediate_result(dict(metrics))

    def report_final(self, metrics: Mapping[str, Any]) -> None:
        """Send the final result."""
        import nni

        with self._in_place():
            nni.report_final_result(dict(metrics))

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        import nni.trial
        from nni.runtime.trial_command_channel import (
            get_default_trial_command_channel,
            set_default_trial_command_channel,
        )

        before = get_default_trial_command_channel(), nni.trial._params
        set_default_trial_command_channel(self.channel)
        nni.trial._params = self.parameters
        try:
            yield
        finally:
            set_default_trial_command_channel(before[0])
            nni.trial._params = before[1]
