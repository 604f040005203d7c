"""The project from Python: few names, imported when they are used, answering what the commands answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder
from helpers.odd_pictures import drawn

import rrnet_nni as rrnet
from rrnet_nni.architecture import Architecture
from rrnet_nni.base.image_format import ImageFormat
from rrnet_nni.search_spaces import SpaceOptions, fixed_choices

TASK = "backbone: resnet8\nspace: {width: 0.25}\ndata: {name: digits, train_images: 80, test_images: 20}\n"


def test_importing_the_door_imports_nothing_heavy() -> None:
    code = "import sys, rrnet_nni as rrnet; assert not {'torch', 'nni', 'numpy', 'onnx'} & set(sys.modules); rrnet.run"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'serch'"):
        rrnet.serch  # noqa: B018


def test_a_model_is_compiled_and_two_parties_name_a_picture(tmp_path: Path) -> None:
    builder = ModelBuilder((3, 8, 8))
    x = builder.node("GlobalAveragePool", [builder.conv("image", "conv", 3, 2)], "pool")
    onnx.save(builder.model(builder.node("Flatten", [x], "logits")), tmp_path / "model.onnx")
    images = ImageFormat(8, 8, "rgb", (0.5,) * 3, (0.25,) * 3, ("cat", "dog"))
    (tmp_path / "images.json").write_text(images.to_json())
    compiled = rrnet.compile(tmp_path / "model.onnx", tmp_path / "build", preprocess=tmp_path / "images.json")
    assert compiled.graph.images == images
    drawn("disc", np.random.default_rng(0)).save(tmp_path / "new.png")
    named = rrnet.run(tmp_path / "build", tmp_path / "new.png")
    pixels = images.pixels(tmp_path / "new.png")[None]
    again = rrnet.run(tmp_path / "build", pixels, protocol="masked")
    assert named.logits.shape == (1, 2)
    assert named.logits == pytest.approx(again.logits, abs=0.01)
    assert named.classes == again.classes == (("cat", "dog")[int(named.logits.argmax())],)
    assert 0.5 <= named.probabilities[0] <= 1


def test_prices_are_those_of_the_command() -> None:
    paper = rrnet.latency("resnet18", protocol="paper")
    polynomial = rrnet.latency("resnet18", protocol="paper", activation="x2act", pooling="avgpool")
    assert paper.total.latency_ms == pytest.approx(324, rel=0.01)  # the paper's Fig. 3(b)
    assert polynomial.total.latency_ms == pytest.approx(324 / 26, rel=0.05)
    assert paper.relus == 188_416
    assert polynomial.relus == 0


def test_what_is_wrong_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "task.yml").write_text(TASK.replace("resnet8", "resnet9"))
    for verb in (rrnet.search, rrnet.train):
        with pytest.raises(rrnet.Refusal, match="unknown backbone 'resnet9'"):
            verb(tmp_path / "task.yml", tmp_path / "out")
    with pytest.raises(rrnet.Refusal, match=r"^nowhere is not a build directory; rrnet-2pc-compile makes one$"):
        rrnet.run("nowhere", "photo.jpg")
    assert not (tmp_path / "out").exists()


def test_a_reader_who_lists_the_door_sees_what_it_offers() -> None:
    assert dir(rrnet) == sorted([*rrnet.__all__, "__version__"])


def test_an_architecture_for_other_images_is_not_trained(tmp_path: Path) -> None:
    (tmp_path / "task.yml").write_text(TASK)
    options = SpaceOptions(image_size=16, channels=1, classes=3, width=0.25)
    three = Architecture("resnet8", options.to_dict(), fixed_choices("resnet8", options))
    three.save(tmp_path / "three.json")
    with pytest.raises(rrnet.Refusal, match=r"three\.json has classes 3, the task's images have 10"):
        rrnet.train(tmp_path / "task.yml", tmp_path / "out", tmp_path / "three.json")


def test_a_task_of_the_package_has_a_name_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(rrnet.Refusal, match=r"nowhere\.json: there is no such file"):
        rrnet.train("digits", tmp_path / "out", "nowhere.json")


@pytest.mark.slow
def test_a_task_is_searched_and_what_was_found_trained_again(tmp_path: Path) -> None:
    settings = "search: {epochs: 2, warmup_epochs: 1}\ntraining: {epochs: 2}\n"
    (tmp_path / "task.yml").write_text(TASK + settings)
    found = rrnet.search(tmp_path / "task.yml", tmp_path / "first", latency_weight=0.1)
    again = rrnet.train(tmp_path / "task.yml", tmp_path / "second", found.architecture)
    assert found.latency_weight == again.latency_weight == 0.1
    assert found.relus == again.relus
