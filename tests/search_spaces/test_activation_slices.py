"""Activations cut into slices of channels: their gates, their network, and the space without them as it always was."""

from __future__ import annotations

import pytest
import torch

from rrnet_nni.base.compatibility import freeze_apart
from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.settings import checked
from rrnet_nni.evaluators.space_operators import describe_space, network_operators
from rrnet_nni.evaluators.teaching.initial_weights import load_initial_weights
from rrnet_nni.fpga.program.operators import comparison_count
from rrnet_nni.search_spaces import SpaceOptions, build_network, build_space, candidates_of, fixed_choices
from rrnet_nni.search_spaces.slices import SlicedActivation, slice_sizes

SMALL = SpaceOptions(image_size=16, channels=1, width=0.25)
CUT = SpaceOptions(image_size=16, channels=1, width=0.25, groups=3, extra_activations=("identity",))


def test_a_space_that_is_not_cut_leaves_the_files_that_it_always_left() -> None:
    assert SpaceOptions().to_dict() == {
        "classes": 10, "image_size": 32, "channels": 3, "width": 1.0, "stem": None, "conv_weights": "shared",
        "gates": "both", "x2act": "normalized", "coefficients": "layer", "x2act_c": None, "x2act_w1": None,
    }  # fmt: skip
    assert candidates_of("resnet8", SMALL)["layer1.0.act1"] == ("relu", "x2act")
    names = [*build_network("resnet8", SMALL, fixed_choices("resnet8", SMALL, "x2act")).state_dict()]
    acts = [name for name in names if ".act." in name and name.startswith("stages.layer1.0.unit1")]
    assert acts == [f"stages.layer1.0.unit1.act.{name}" for name in (
        "a0", "a1", "a2", "input_mean", "input_variance", "square_mean", "square_variance"
    )]  # fmt: skip


def test_what_cuts_activations_stands_in_the_files() -> None:
    document = CUT.to_dict()
    assert (document["groups"], document["extra_activations"]) == (3, ["identity"])
    assert checked(document, SpaceOptions) == CUT
    assert CUT.uncut() == SMALL


def test_every_slice_is_a_gate_of_its_own() -> None:
    candidates = candidates_of("resnet8", CUT)
    slices = [f"layer1.0.act1.g{number}" for number in range(3)]
    assert [label for label in candidates if label.startswith("layer1.0.act1")] == slices
    assert candidates[slices[0]] == ("relu", "x2act", "identity")
    assert candidates["stem.pool"] == ("maxpool", "avgpool")
    described = describe_space("resnet8", CUT)
    assert [described.input_shapes[label][0] for label in slices] == slice_sizes(4, 3) == [1, 1, 2]
    assert {described.slices[label] for label in slices} == {"layer1.0.act1"}


def test_more_groups_than_channels_are_as_many_as_channels() -> None:
    assert slice_sizes(4, 16) == [1, 1, 1, 1]
    assert slice_sizes(16, 5) == [3, 3, 3, 3, 4]


@pytest.mark.parametrize("activation", ["relu", "x2act", "identity"])
def test_slices_of_one_choice_compute_what_the_whole_activation_does(activation: str) -> None:
    cut = build_network("resnet8", CUT, fixed_choices("resnet8", CUT, activation)).train()
    whole_space = SpaceOptions(image_size=16, channels=1, width=0.25, extra_activations=("identity",))
    whole = build_network("resnet8", whole_space, fixed_choices("resnet8", whole_space, activation)).train()
    load_initial_weights(whole, cut.state_dict())
    x = torch.randn(4, 1, 16, 16)
    torch.testing.assert_close(cut(x), whole(x), rtol=1e-4, atol=1e-4)


def test_a_cut_network_starts_from_the_weights_of_an_uncut_one_and_freezes_to_what_is_built() -> None:
    choices = fixed_choices("resnet8", CUT, "x2act") | {"layer1.0.act1.g1": "relu", "layer2.0.act2.g0": "identity"}
    built = build_network("resnet8", CUT, choices)
    load_initial_weights(built, build_network("resnet8", SMALL, fixed_choices("resnet8", SMALL)).state_dict())
    frozen = freeze_apart(build_space("resnet8", CUT), choices)
    frozen.load_state_dict(built.state_dict())
    x = torch.randn(2, 1, 16, 16)
    assert torch.equal(frozen(x), built(x))


def test_a_slice_costs_its_share_of_the_comparisons() -> None:
    relu = network_operators("resnet8", CUT, fixed_choices("resnet8", CUT))
    whole = network_operators("resnet8", SMALL, fixed_choices("resnet8", SMALL))
    counts = [sum(comparison_count(operator.shape) for operator in found) for found in (relu, whole)]
    assert counts[0] == counts[1]
    none = network_operators("resnet8", CUT, fixed_choices("resnet8", CUT, "identity", "avgpool"))
    assert sum(comparison_count(operator.shape) for operator in none) == 0


def test_impossible_cuts_are_refused() -> None:
    for options, named in (
        ({"groups": 0}, "groups must be at least 1"),
        ({"groups": 2, "conv_weights": "separate"}, "groups must be 1 where candidates have their own"),
        ({"extra_activations": ("swish",)}, "extra_activations must be one of relu2x2, identity, not 'swish'"),
        ({"extra_activations": ("identity", "identity")}, "each once"),
        ({"extra_activations": "identity"}, "extra_activations must be a list"),
    ):
        with pytest.raises(Refusal, match=named):
            SpaceOptions(**options)  # type: ignore[arg-type]


def test_gradients_reach_every_slice() -> None:
    module = SlicedActivation("act", (6, 4, 4), 3, lambda label, shape: torch.nn.PReLU(shape[0]))
    module(torch.randn(2, 6, 4, 4)).sum().backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in module.parameters())
