"""From a backbone's name to its space, and from choices to a frozen network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import torch
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import model_context
from torch import nn

from rrnet_nni.base.errors import Refusal

from .gates import POOLINGS, activation_names
from .options import SpaceOptions
from .registry import backbone


def build_space(name: str, options: SpaceOptions) -> ModelSpace:
    """The search space of a backbone: every gate an NNI `LayerChoice` under its label."""
    return backbone(name).build(resolve(name, options))


def build_network(name: str, options: SpaceOptions, choices: Mapping[str, str]) -> nn.Module:
    """The frozen network at `choices` (label -> candidate), newly initialized from torch's random state.

    Its state dict is the one of a supernet frozen at the same choices, in both modes of convolution weights.
    """
    check_choices(candidates_of(name, options), choices)
    with model_context(dict(choices)):
        return backbone(name).build(resolve(name, options))


def candidates_of(name: str, options: SpaceOptions) -> dict[str, tuple[str, ...]]:
    """Label -> candidates of every gate, in forward order."""
    return dict(_candidates(name, resolve(name, options)))


@cache
def _candidates(name: str, options: SpaceOptions) -> dict[str, tuple[str, ...]]:
    # On the meta device nothing is allocated, and torch's random state stays as it is.
    with torch.device("meta"):
        space = backbone(name).build(options)
    return {label: tuple(choice.values) for label, choice in space.simplify().items()}


def fixed_choices(
    name: str, options: SpaceOptions, activation: str = "relu", pooling: str = "maxpool"
) -> dict[str, str]:
    """The same candidate for every gate: all-ReLU with MaxPool, all-polynomial with AvgPool, or their controls."""
    known = activation_names(options)
    if activation not in known:
        raise Refusal(f"activation must be one of {', '.join(known)}, not {activation!r}")
    if pooling not in POOLINGS:
        raise Refusal(f"pooling must be one of {', '.join(POOLINGS)}, not {pooling!r}")
    return {
        label: activation if activation in candidates else pooling
        for label, candidates in candidates_of(name, options).items()
    }


def check_choices(candidates: Mapping[str, tuple[str, ...]], choices: Mapping[str, str]) -> None:
    """Refuse choices that do not name exactly the gates of the space and candidates that they have."""
    for label, allowed in candidates.items():
        if label not in choices:
            raise Refusal(f"the architecture has no choice for {label}")
        if choices[label] not in allowed:
            raise Refusal(f"{label} must be one of {', '.join(allowed)}, not {choices[label]!r}")
    for label in choices:
        if label not in candidates:
            raise Refusal(f"the architecture chooses for {label}, which the space does not have")


def resolve(name: str, options: SpaceOptions) -> SpaceOptions:
    """The options with the backbone's own stem and w1 filled in; a stem that it does not have is refused."""
    entry = backbone(name)
    stems, w1 = entry.stems, options.x2act_w1
    if options.stem is not None and options.stem not in stems:
        raise Refusal(f"{name} has the stems {', '.join(stems)}, not {options.stem!r}")
    if w1 is None and options.x2act == "plain":
        w1 = entry.x2act_w1
    return replace(options, stem=options.stem or stems[0], x2act_w1=w1)
