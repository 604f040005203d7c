"""Task files: the ones that we ship, and mistakes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rrnet_nni.base.errors import Refusal
from rrnet_nni.task import LARGEST_SEED, check_latency_weight, load_task
from rrnet_nni.workbench import prepare

EXAMPLES = sorted(
    path for path in (Path(__file__).parents[2] / "examples").glob("*.yml") if not path.stem.endswith("_experiment")
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_valid_task(path: Path) -> None:
    assert load_task(path).backbone


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("backbone: resnet8\ndata: {name: digits}\nbackbones: 1\n", 3, "unknown key 'backbones'"),
        ("backbone: resnet99\ndata: {name: digits}\n", 1, "resnet99"),
        ("backbone: resnet8\n", 1, "'data' is missing"),
        ("backbone: resnet8\ndata:\n  name: digits\nspace:\n  classes: 10\n", 5, "follows from the dataset"),
        ("backbone: resnet8\ndata: {name: digits}\nsearch:\n  latency_weight: -1\n", 4, "latency_weight"),
        ("backbone: resnet8\ndata: {name: digits}\nsearch:\n  latency_weight: many\n", 4, "must be a number"),
        ("backbone: resnet8\ndata: {name: digits}\ntraining:\n  epochs: 0\n", 4, "training.epochs"),
        ("backbone: resnet8\ndata: {name: digits}\nseed: -1\n", 3, "seed"),
        (
            "backbone: resnet8\ndata: {name: digits}\nseed: 9223372036854775808\n",
            3,
            "'seed' must be at most 4294967295",
        ),
        ("backbone: resnet8\ndata:\n  name: digits\n  seed: -1\n", 4, "data.seed"),
        ("backbone: resnet8\ndata: {name: digits}\nvalidation_fraction: 1.5\n", 3, "validation_fraction"),
    ],
)
def test_a_mistake_is_refused_with_file_line_and_key(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "task.yml"
    path.write_text(text)
    with pytest.raises(Refusal) as caught:
        load_task(path)
    assert f"task.yml:{line}:" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "fraction", "words"),
    [
        ("train_images: 1", 0.15, "leaves 1 for training and 0 for validation"),
        ("train_images: 8", 0.75, "leaves 2 for training and 6 for validation"),
        ("train_images: 300", 0.001, "leaves 300 for training and 0 for validation"),
    ],
)
def test_too_few_images_are_refused_with_their_numbers(tmp_path: Path, data: str, fraction: float, words: str) -> None:
    path = tmp_path / "task.yml"
    path.write_text(f"backbone: resnet8\ndata: {{name: digits, {data}}}\nvalidation_fraction: {fraction}\n")
    with pytest.raises(Refusal, match=words):
        prepare(load_task(path))


def test_the_largest_seed_is_one_that_torch_takes(tmp_path: Path) -> None:
    path = tmp_path / "task.yml"
    path.write_text(f"backbone: resnet8\ndata: {{name: digits}}\nseed: {LARGEST_SEED}\n")
    bench = prepare(load_task(path))
    images, labels = bench.dataset.train_images, bench.dataset.train_labels
    loader = bench.dataset.loader(images, labels, 64, training=True, seed=2 * bench.task.seed + 1)
    loader.set_epoch(1000)
    assert len(next(iter(loader))[1]) == 64


@pytest.mark.parametrize(("key", "value"), [("device", "abacus"), ("protocol", "trust-me")])
def test_unknown_hardware_is_refused_by_name(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "task.yml"
    path.write_text(f"backbone: resnet8\ndata: {{name: digits}}\nhardware: {{{key}: {value}}}\n")
    with pytest.raises(Refusal, match=rf"hardware\.{key}.*{value}"):
        load_task(path)


def test_the_image_folder_is_found_beside_the_task_file(tmp_path: Path) -> None:
    path = tmp_path / "task.yml"
    path.write_text("backbone: resnet8\ndata: {name: folder, root: images}\n")
    assert load_task(path).data.root == str(tmp_path / "images")


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", None, True, [0.1]])
def test_an_impossible_latency_weight_is_refused(value: object) -> None:
    with pytest.raises(Refusal, match="latency weight"):
        check_latency_weight(value)


def test_a_zero_that_arrives_as_an_int_is_a_latency_weight() -> None:
    weight = check_latency_weight(0)
    assert weight == 0.0
    assert isinstance(weight, float)
