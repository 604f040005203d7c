"""Each test named "still" holds for as long as a workaround in `rrnet_nni/compatibility.py` is needed: when it fails,
the workaround whose docstring names it can go."""

import subprocess
import sys

import pytest
import torch

from rrnet_nni.search_spaces import SpaceOptions, build_space, fixed_choices


def errors_of(statement: str) -> str:
    """What a new interpreter prints to standard error, nothing where the statement succeeds quietly."""
    command = [sys.executable, "-c", statement]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.skipif(torch.version.cuda is not None, reason="the extension of torchvision's wheel loads beside CUDA")
def test_torchvision_still_needs_its_schemas() -> None:
    assert "torchvision::nms does not exist" in errors_of("import torchvision")


def test_everything_imports_quietly_once_libraries_are_prepared() -> None:
    preparation = "from rrnet_nni.compatibility import prepare_libraries; prepare_libraries(); "
    assert errors_of(preparation + "import torchvision, torchmetrics, pytorch_lightning, nni.nas.nn.pytorch") == ""


def test_nni_still_warns_about_newer_names() -> None:
    from nni.nas.nn.pytorch import layers

    with pytest.warns(RuntimeWarning, match=r"is found to be not a nn\.Module"):
        layers.generate_stub_file()


def test_freeze_still_shares_the_candidates() -> None:
    options = SpaceOptions(image_size=16)
    space = build_space("resnet8", options)
    choices = fixed_choices("resnet8", options, "x2act")
    first, second = space.freeze(choices), space.freeze(choices)
    assert {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
