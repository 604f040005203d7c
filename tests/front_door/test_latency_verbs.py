"""`rrnet latency` and `rrnet paper-table`: the same network is priced alike whichever way it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

import rrnet_nni.fpga.devices as devices
from rrnet_nni.architecture import Architecture
from rrnet_nni.cli import main
from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.compile_command import main as compile_main
from rrnet_nni.fpga.compiler.onnx.frontend import read_onnx
from rrnet_nni.fpga.compiler.report.report import program_traffic
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import SpaceOptions, build_network, candidates_of, fixed_choices

CASES = Path(__file__).parents[1] / "fpga" / "compiler" / "onnx" / "cases"
SMALL_OPTIONS = ("--image-size", "16", "--width", "0.125")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict | list:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    return capsys.readouterr().err


def test_paper_table_meets_the_papers_ten_latencies(capsys: pytest.CaptureFixture[str]) -> None:
    rows = answer(capsys, "paper-table")
    assert len(rows) == 10
    for row in rows:
        assert set(row) >= {"network", "choice", "paper_ms", "model_ms", "error"}
        assert row["error"] == pytest.approx(row["model_ms"] / row["paper_ms"] - 1)
        assert abs(row["error"]) < (0.015 if row["choice"] == "relu" else 0.025), row


def test_paper_table_prints_the_errors_and_the_fitted_constants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper-table"]) == 0
    text = capsys.readouterr().out
    assert text.count("%") >= 10
    assert "message_latency_s" in text


def test_latency_answers_with_the_sum_of_its_operators(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(capsys, "latency", "resnet18", *SMALL_OPTIONS)
    assert told["latency_ms"] == pytest.approx(told["compute_ms"] + told["communication_ms"])
    for key in ("latency_ms", "rounds", "comparisons"):
        assert told[key] == pytest.approx(sum(operator[key] for operator in told["operators"]))
    assert told["relus"] > 0
    assert told["pipelined_ms"] < told["latency_ms"]
    assert "assum" in told["energy_assumption"]


@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param("resnet18", marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", marks=pytest.mark.slow),
        "vgg16",
        "mobilenet_v3_small_se",
    ],
)
def test_backbone_architecture_and_onnx_are_priced_alike(
    backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = SpaceOptions(image_size=16 if backbone.startswith("mobilenet_v3") else 32, width=0.125)
    relu, poly = (fixed_choices(backbone, options, *kinds) for kinds in (("relu", "maxpool"), ("x2act", "avgpool")))
    mixed = {
        label: (relu if index % 2 else poly)[label] for index, label in enumerate(candidates_of(backbone, options))
    }
    Architecture(backbone, options.to_dict(), mixed).save(tmp_path / "architecture.json")
    export_onnx(
        build_network(backbone, options, mixed), (3, options.image_size, options.image_size), tmp_path / "model.onnx"
    )
    by_name = answer(capsys, "latency", str(tmp_path / "architecture.json"))
    by_onnx = answer(capsys, "latency", str(tmp_path / "model.onnx"))
    for key in ("relus", "comparisons", "rounds", "bytes_sent", "offline_bytes", "setup_bytes"):
        assert by_onnx[key] == by_name[key], key
    assert by_onnx["latency_ms"] == pytest.approx(by_name["latency_ms"], rel=1e-3)


def test_explain_says_which_relu_is_next(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(capsys, "latency", "resnet18", *SMALL_OPTIONS, "--explain", "--protocol", "paper")
    saved = [saving["saved_ms"] for saving in told["savings"]]
    assert saved == sorted(saved, reverse=True)
    assert main(["latency", "resnet18", *SMALL_OPTIONS, "--explain"]) == 0
    text = capsys.readouterr().out
    assert "Which to replace next" in text
    assert (
        main(["latency", "resnet18", *SMALL_OPTIONS, "--explain", "--activation", "x2act", "--pooling", "avgpool"]) == 0
    )
    assert "No comparison is left" in capsys.readouterr().out


def test_explain_ranks_slices_by_the_accuracy_that_a_millisecond_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = SpaceOptions(image_size=16, width=0.125, groups=2, extra_activations=("relu2x2",))
    choices = fixed_choices("resnet8", space) | {"layer1.0.act1.g1": "relu2x2"}
    Architecture("resnet8", space.to_dict(), choices).save(tmp_path / "architecture.json")
    apart = [saving["name"] for saving in answer(capsys, "latency", str(tmp_path), "--explain")["savings"]]
    assert "layer1.0.act1.g1" in apart
    distortions = {
        label: {name: (1 + index) * 0.01 * (name != chosen) for name in candidates_of("resnet8", space)[label]}
        for index, (label, chosen) in enumerate(choices.items())
    }
    (tmp_path / "distortions.json").write_text(json.dumps(distortions))
    told = answer(capsys, "latency", str(tmp_path), "--explain")["savings"]
    prices = [one["distortion"] / one["saved_ms"] for one in told if one["saved_ms"] > 0]
    assert prices == sorted(prices)
    assert {one["name"] for one in told} == set(apart)
    assert main(["latency", str(tmp_path / "architecture.json"), "--explain"]) == 0
    assert "nats/ms" in capsys.readouterr().out


def test_a_cut_network_costs_what_the_whole_one_does(capsys: pytest.CaptureFixture[str]) -> None:
    whole = answer(capsys, "latency", "resnet8", *SMALL_OPTIONS)
    cut = answer(capsys, "latency", "resnet8", *SMALL_OPTIONS, "--groups", "2")
    assert {row["name"] for row in cut["operators"]} >= {"layer1.0.act1.g0", "layer1.0.act1.g1"}
    for key in ("bytes_sent", "rounds", "comparisons", "relus"):
        assert cut[key] == whole[key]
    assert cut["latency_ms"] == pytest.approx(whole["latency_ms"], rel=0.01)
    shown = answer(capsys, "show", "resnet8", *SMALL_OPTIONS, "--groups", "2")
    assert "layer1.0.act1.g1" in [choice["label"] for choice in shown["choices"]]


def test_a_batch_multiplies_bytes_but_not_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    one = answer(capsys, "latency", "resnet18", "--protocol", "paper")
    eight = answer(capsys, "latency", "resnet18", "--protocol", "paper", "--batch", "8")
    assert eight["rounds"] == one["rounds"]
    assert eight["relus"] == 8 * one["relus"]
    assert 7 * one["latency_ms"] < eight["latency_ms"] < 8 * one["latency_ms"]


def test_sweep_covers_every_protocol_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(capsys, "latency", "resnet18", *SMALL_OPTIONS, "--sweep")
    drawn = ("--sweep", str(tmp_path / "map.png"), "--protocol", "masked")
    assert main(["latency", "resnet18", *SMALL_OPTIONS, *drawn]) == 0
    capsys.readouterr()
    assert {one["protocol"] for one in told["maps"]} >= {"beaver-ot", "masked", "paper"}
    assert (tmp_path / "map.png").stat().st_size > 10_000
    assert main(["latency", "resnet18", *SMALL_OPTIONS, "--sweep", "--protocol", "paper"]) == 0
    assert "round trip" in capsys.readouterr().out


def test_table_prints_the_space_and_what_differs_between_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "resnet18", *SMALL_OPTIONS, "--table"]) == 0
    assert "stem.act" in capsys.readouterr().out
    told = answer(capsys, "latency", "resnet18", *SMALL_OPTIONS, "--table")
    assert set(told["choices"]["stem.act"]) == {"relu", "x2act"}
    assert main(["latency", "resnet18", *SMALL_OPTIONS, "--table", "--protocol", "paper", "--protocol", "masked"]) == 0
    assert "ratio" in capsys.readouterr().out


def test_a_device_of_ones_own_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load((Path(devices.__file__).parent / "zcu104.yaml").read_text())
    content["name"], content["constants"]["message_latency_s"]["value"] = "mine", 1
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    told = answer(capsys, "latency", "resnet18", *SMALL_OPTIONS, "--device", str(tmp_path / "mine.yaml"))
    assert told["device"] == "mine"
    assert told["latency_ms"] > 1000 * told["rounds"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("latency", "resnet19"), "resnet19"),
        (("latency", "nowhere.onnx"), "nowhere.onnx"),
        (("latency", "nowhere/architecture.json"), "nowhere/architecture.json"),
        (("latency", "model.onnx", "--width", "2"), "--width"),
        (("latency", "model.onnx", "--table"), "no choices left"),
        (("latency", "resnet18", "--table", "--activation", "relu"), "--activation"),
        (("latency", "resnet18", "--table", "--batch", "2"), "one image"),
        (("latency", "resnet18", "--table", "without-suffix"), "its suffix names the format"),
        (("latency", "resnet18", "--batch", "0"), "batch"),
        (("latency", "resnet18", "--protocol", "magic"), "magic"),
        (("latency", "resnet18", "--protocol", "paper", "--protocol", "masked"), "--sweep"),
        (("latency", "resnet18", "--device", "abacus"), "abacus"),
        (("paper-table", "--protocol", "magic"), "magic"),
    ],
)
def test_what_cannot_be_priced_is_refused_in_one_sentence(arguments, expected, capsys) -> None:
    message = refusal(capsys, *arguments)
    assert expected in message
    assert message.count("\n") == 1


def test_the_table_prices_what_the_compiler_makes_of_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes and rounds are those of the compiled program, but for the logits, which nobody truncates."""
    torch.manual_seed(0)
    options = SpaceOptions(width=0.125)
    network = build_network("vgg16", options, fixed_choices("vgg16", options, "relu", "maxpool"))
    export_onnx(network, (3, 32, 32), tmp_path / "model.onnx")
    arguments = [str(tmp_path / "model.onnx"), "-o", str(tmp_path / "build"), "--disable", "maxpool-before-relu"]
    assert compile_main([*arguments, "--json"]) == 0
    compiled = json.loads(capsys.readouterr().out)
    priced = answer(capsys, "latency", str(tmp_path / "model.onnx"))
    logits = 4 * options.classes
    assert [sent - logits for sent in priced["bytes_sent"]] == compiled["bytes_sent"]
    assert priced["rounds"] - 1 == compiled["rounds"]
    assert priced["comparisons"] == compiled["comparisons"]
    assert compiled["operator_sum_ms"] == pytest.approx(priced["latency_ms"], rel=0.02)


def test_devices_lists_every_constant_with_its_provenance(capsys: pytest.CaptureFixture[str]) -> None:
    listed = answer(capsys, "devices")
    assert {"zcu104", "u250"} <= {device["name"] for device in listed}
    one = answer(capsys, "devices", "zcu104")
    assert one["constants"]["board_power_w"]["provenance"] == "assumed"
    assert main(["devices", "zcu104"]) == 0
    assert "Sec. IV" in capsys.readouterr().out
    assert "expected one of" in refusal(capsys, "devices", "abacus")


@pytest.mark.parametrize("name", ["qdq", "pixel_mask", "se", "sigmoid", "hardswish", "channels_300", "split"])
def test_models_of_others_are_priced_with_the_comparisons_that_their_builds_make(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ends of integers too, which a build without calibration images computes."""
    model = CASES / f"{name}.onnx"
    fixed = compile_program(read_onnx(model), disabled=("maxpool-before-relu",))
    device, protocol = devices.load_device("zcu104"), get_costs("beaver-ot")
    compared = sum(each["comparisons"] for each in program_traffic(fixed.program, device, protocol))
    assert answer(capsys, "latency", str(model))["comparisons"] == compared
