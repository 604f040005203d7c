"""x · [mean of its patch > 0]: the module, its gradient, and its ONNX in standard operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rrnet_nni.evaluators.space_operators import operator_shape
from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.float_interpreter import walk_float
from rrnet_nni.fpga.compiler.onnx.frontend import read_onnx
from rrnet_nni.fpga.program.operators import PatchRelu, comparison_count
from rrnet_nni.reports.agreement import onnx_logits
from rrnet_nni.search_spaces import SpaceOptions, build_network, candidates_of, fixed_choices
from rrnet_nni.search_spaces.patch_relu import Relu2x2

SIZES = [(4, 6), (5, 7), (1, 3), (2, 2)]


def by_hand(x: np.ndarray) -> np.ndarray:
    result = x.copy()
    for row in range(0, x.shape[2], 2):
        for column in range(0, x.shape[3], 2):
            patch = x[:, :, row : row + 2, column : column + 2]
            below = patch.mean(axis=(2, 3), keepdims=True) <= 0
            result[:, :, row : row + 2, column : column + 2] = np.where(below, 0, patch)
    return result


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("training", [True, False])
def test_a_patch_stays_where_its_mean_is_positive(size: tuple[int, int], training: bool) -> None:
    x = torch.randn(3, 2, *size)
    found = Relu2x2("act").train(training)(x)
    np.testing.assert_allclose(found.detach().numpy(), by_hand(x.numpy()), rtol=1e-6)


def test_the_step_counts_as_a_ramp_in_the_backward_pass() -> None:
    x = torch.tensor([[[[0.4, -0.2], [0.6, 0.0]]]], requires_grad=True)
    Relu2x2("act")(x).sum().backward()
    # d/dx_i Σ_j x_j (m + ramp(mean)) = m + Σ_j x_j / (2 · 4), with m = 1 and Σ x = 0.8
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.full_like(x, 1 + 0.8 / 8))


@pytest.mark.parametrize("size", SIZES)
def test_its_onnx_is_the_module_in_any_runtime_and_in_the_compiler(size: tuple[int, int], tmp_path: Path) -> None:
    network = nn.Sequential(Relu2x2("act"), nn.Flatten(), nn.Linear(2 * size[0] * size[1], 3)).eval()
    export_onnx(network, (2, *size), tmp_path / "model.onnx")
    x = torch.randn(4, 2, *size)
    wanted = network(x).detach().numpy()
    np.testing.assert_allclose(onnx_logits(tmp_path / "model.onnx", x.numpy()), wanted, atol=1e-5)
    graph = read_onnx(tmp_path / "model.onnx")
    *_, (_, found) = walk_float(graph, x.numpy().astype(np.float64))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_it_makes_a_quarter_of_the_comparisons_and_images_of_one_pixel_keep_their_relu() -> None:
    x = torch.zeros(1, 8, 6, 6)
    shape = operator_shape(Relu2x2("act"), x, x)
    assert shape == PatchRelu(8, 6, 6)
    assert comparison_count(shape) == x.numel() // 4
    assert comparison_count(PatchRelu(2, 5, 3)) == 2 * 3 * 2
    options = SpaceOptions(image_size=4, channels=1, width=0.25, extra_activations=("relu2x2",))
    assert candidates_of("resnet8", options)["stem.act"] == ("relu", "x2act", "relu2x2")
    network = build_network("resnet8", options, fixed_choices("resnet8", options, "relu2x2", "avgpool"))
    kinds = [type(module) for module in network.modules() if getattr(module, "label", "").endswith(("act1", "act2"))]
    assert kinds[:2] == [Relu2x2, Relu2x2]
    assert nn.ReLU in kinds[-1].__mro__
