"""The package without extras compiles, prices and executes networks; what needs torch or NNI says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers.documentation.documented_commands import ROOT
from helpers.light_environment import blocked_modules, light_environment, light_requirements
from helpers.networks.small_onnx_models import ModelBuilder, run_onnx
from helpers.odd_pictures import drawn
from packaging.requirements import Requirement

from rrnet_nni.base.extras import EXTRAS
from rrnet_nni.base.image_format import ImageFormat

EXTRA = "which is not installed: pip install 'rrnet-nni[search]'"
REFUSED = (
    ["search", "--task", "task.yml", "-o", "out"],
    ["train", "--task", "task.yml", "--activation", "relu", "-o", "out"],
    ["run", "pictures_experiment.yml"],
    ["run", "digits"],
    ["latency", "resnet18"],
    ["show", "resnet18"],
    ["paper-table"],
    ["trial", "--task", "task.yml"],
)
#: One process for all, since every start of Python and numpy takes a part of a second.
FROM_PYTHON = f"""
import sys
import rrnet_nni as rrnet
from rrnet_nni.cli import main

rrnet.compile("model.onnx", "from_python", preprocess="images.json")
print(*rrnet.run("from_python", "new.png").classes)
assert rrnet.latency("model.onnx").total.latency_ms > 0
for needing in (lambda: rrnet.latency("resnet18"), lambda: rrnet.search("task.yml", "out")):
    try:
        needing()
    except rrnet.Refusal as refusal:
        sys.stderr.write(f"{{refusal}}\\n")
for arguments in {REFUSED!r}:
    assert main(arguments) == 2, arguments
"""


class Installed:
    """The commands of one environment, run in a folder with a model, its images and a task."""

    def __init__(self, scripts: Path, environment: Mapping[str, str], folder: Path) -> None:
        self.scripts, self.environment, self.folder = scripts, environment, folder
        builder = ModelBuilder((3, 8, 8))
        x = builder.node("Relu", [builder.conv("image", "conv", 3, 4)], "relu")
        x = builder.node("GlobalAveragePool", [builder.conv(x, "conv2", 4, 2)], "pool")
        model = builder.model(builder.node("Flatten", [x], "logits"))
        onnx.save(model, folder / "model.onnx")
        images = ImageFormat(8, 8, "rgb", (0.5,) * 3, (0.25,) * 3, ("cat", "dog"))
        (folder / "images.json").write_text(images.to_json())
        for kind in ("disc", "bars"):
            (folder / "pictures" / kind).mkdir(parents=True)
            for number in range(2):
                drawn(kind, np.random.default_rng(number)).save(folder / "pictures" / kind / f"{number}.png")
        drawn("disc", np.random.default_rng(5)).save(folder / "new.png")
        (folder / "task.yml").write_text("backbone: resnet8\ndata: {name: digits}\n")
        self.expected = run_onnx(model, images.normalized(images.pixels(folder / "new.png")[None]))
        self.named = images.classes[int(self.expected.argmax())]

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.scripts / name), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )

    def answer(self, name: str, *arguments: str) -> Any:
        ran = self.run(name, *arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


def check_what_is_light(here: Installed) -> None:
    compiled = here.answer("rrnet-2pc-compile", "model.onnx", "-o", "build", "--preprocess", "images.json")
    assert compiled["comparisons"] == 4 * 8 * 8
    assert here.answer("rrnet-2pc-simulate", "build")["makespan_ms"] == pytest.approx(compiled["makespan_ms"])
    assert here.answer("rrnet-2pc-prepare", "build", "--count", "2")["count"] == 2
    classified = here.answer("rrnet-2pc-run", "build", "--input", "new.png")
    assert classified["preprocessing_source"] == "prepared before"
    assert classified["bytes_sent"] == classified["predicted_bytes"]
    assert np.asarray(classified["logits"]) == pytest.approx(here.expected, abs=0.05)
    assert classified["predictions"][0]["class"] == here.named
    assert here.answer("rrnet", "latency", "model.onnx")["comparisons"] == 4 * 8 * 8
    assert "zcu104" in here.run("rrnet", "devices").stdout
    assert here.run("rrnet", "init", "pictures").returncode == 0


def check_what_the_rest_says(here: Installed) -> None:
    ran = here.run("python", "-c", FROM_PYTHON)
    assert (ran.returncode, ran.stdout) == (0, f"{here.named}\n"), ran.stderr
    said = ran.stderr.splitlines()
    assert len(said) == 2 + len(REFUSED)
    assert [line for line in said if not line.endswith(EXTRA)] == []
    assert not any((here.folder / "out").iterdir())


def test_what_is_blocked_is_what_the_search_brings_and_nothing_light() -> None:
    blocked = blocked_modules()
    assert {"torch", "nni", "torchvision", "onnxruntime", "sklearn", "matplotlib", "pytest"} <= blocked
    assert blocked.isdisjoint({"numpy", "onnx", "yaml", "PIL", "google", "rrnet_nni", "rich", "starlette", "nacl"})


def test_the_extra_that_is_named_is_the_one_that_installs_the_library() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, libraries in EXTRAS.items():
        installed = {Requirement(text).name.lower() for text in extras[extra]}
        for library in libraries:
            owners = packages_distributions().get(library, [library])
            assert installed & {owner.lower() for owner in owners}, (library, extra)


def test_hardware_and_protocols_run_where_nothing_else_can_be_imported(tmp_path: Path) -> None:
    here = Installed(Path(sys.executable).parent, light_environment(tmp_path), tmp_path)
    check_what_is_light(here)
    check_what_the_rest_says(here)


@pytest.mark.slow
def test_the_wheel_runs_in_an_environment_with_its_light_dependencies_alone(tmp_path: Path) -> None:
    def pip(python: Path | str, *arguments: str) -> None:
        ran = subprocess.run([str(python), "-m", "pip", *arguments], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr

    pip(sys.executable, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(tmp_path))
    venv.create(tmp_path / "empty", with_pip=True)
    scripts = tmp_path / "empty" / "bin"
    pip(scripts / "python", "install", "--constraint", str(ROOT / "constraints.txt"), *light_requirements())
    pip(scripts / "python", "install", "--no-deps", *map(str, tmp_path.glob("rrnet_nni-*.whl")))
    (tmp_path / "work").mkdir()
    here = Installed(scripts, {**os.environ, "PYTHONPATH": ""}, tmp_path / "work")
    check_what_is_light(here)
    check_what_the_rest_says(here)
