"""What λ does to a search: Lat(α) at the end, and the network that it gives, for several λ and seeds on the digits.

    python benchmarks/search/latency_weights.py [-o docs/results/latency_weights_digits.json]

The expected latency must fall strictly with λ for every seed; the command ends with status 1 where it does not.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import torch

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.evaluators.training import TrainingOptions
from rrnet_nni.fpga.cost.lut import build_lut
from rrnet_nni.fpga.devices.load import load_device
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import SpaceOptions
from rrnet_nni.strategies import SearchOptions, search

BACKBONE = "resnet8"
DATA = {"image_size": 8, "train_images": 400}
SEARCH = {"epochs": 8, "warmup_epochs": 2, "alpha_learning_rate": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.03, 0.1, 0.3, 3.0], metavar="λ")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(DataOptions(**DATA))
    space = SpaceOptions(classes=dataset.classes, image_size=dataset.image_size, channels=dataset.channels, width=0.5)
    operators = describe_space(BACKBONE, space)
    table = build_lut(
        operators.choices, operators.fixed, load_device("zcu104"), get_costs("beaver-ot"), slices=operators.slices
    )
    latency = ExpectedLatency.of_space(operators, table)
    searches: list[dict[str, Any]] = []
    falls = True
    for seed in options.seeds:
        expected = []
        for weight in sorted(options.weights):
            settings = SearchOptions(**SEARCH, latency_weight=weight, seed=seed)
            found = search(BACKBONE, space, dataset, latency, settings, TrainingOptions(batch_size=32))
            expected.append(found.expected_latency_ms)
            searches.append(
                {
                    "seed": seed,
                    "latency_weight": weight,
                    "expected_latency_ms": found.expected_latency_ms,
                    "latency_ms": found.latency_ms,
                    "relus": found.relus,
                }
            )
        falls &= all(slower > faster for slower, faster in itertools.pairwise(expected))
        print(f"seed {seed}: {', '.join(f'{ms:.3f}' for ms in expected)} ms", flush=True)
    if options.output:
        settings_used = {"backbone": BACKBONE, "data": DATA, "search": SEARCH, "space": space.to_dict()}
        write_whole_json(options.output, {**settings_used, "searches": searches})
    print("the expected latency falls strictly with λ" if falls else "the expected latency does NOT fall strictly")
    sys.exit(0 if falls else 1)


if __name__ == "__main__":
    main()
