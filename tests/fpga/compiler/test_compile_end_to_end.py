import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, mixed_model, run_onnx

from rrnet_nni.fpga.compiler import compile_command as cli
from rrnet_nni.fpga.compiler import simulate_command
from rrnet_nni.fpga.compiler.compile import Compilation, compile_graph, compile_program
from rrnet_nni.fpga.compiler.float_interpreter import run_float
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.schedule.simulate import simulate
from rrnet_nni.fpga.devices import device_file, load_device
from rrnet_nni.fpga.program import ReluOp, is_narrow
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.isa import decode_instructions
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import executions, get_costs
from rrnet_nni.fpga.protocols.masked.plan import plan_masked
from rrnet_nni.fpga.runtime.session.conformance import first_divergence


def images(count: int, shape: tuple[int, ...] = (3, 16, 16), seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def compiled(model: onnx.ModelProto, calibration: np.ndarray | None) -> Compilation:
    return compile_graph(import_model(model, "model"), load_device("zcu104"), get_costs("beaver-ot"), calibration)


def test_the_float_interpreter_agrees_with_onnxruntime_before_and_after_passes() -> None:
    model = mixed_model()
    graph = import_model(model, "model")
    wanted = run_onnx(model, images(8))
    np.testing.assert_allclose(run_float(graph, images(8)), wanted, atol=1e-4)
    np.testing.assert_allclose(run_float(compiled(model, images(4)).graph, images(8)), wanted, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_fixed_point_gives_the_classes_of_onnxruntime(seed: int) -> None:
    model = mixed_model(seed=seed)
    result = compiled(model, images(64))
    unseen = images(200, seed=2)
    wanted = run_onnx(model, unseen)
    found = run_reference(result.program, result.weights, unseen)
    assert np.mean(found.argmax(1) == wanted.argmax(1)) >= 0.99
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def test_without_calibration_a_default_range_is_assumed_and_stated() -> None:
    result = compiled(mixed_model(), None)
    assert result.report["calibration"]["assumed_range"] == 3.0
    wanted = run_onnx(mixed_model(), images(50))
    assert np.mean(run_reference(result.program, result.weights, images(50)).argmax(1) == wanted.argmax(1)) >= 0.98


def test_raw_pixels_of_0_to_255_compile() -> None:
    build = ModelBuilder((1, 8, 8))
    scaled = build.node("Mul", ["image", build.constant("scale", 1 / 255)], "scaled")
    x = build.node("Relu", [build.conv(scaled, "conv", 1, 4)], "relu")
    x = build.node("Flatten", [build.node("GlobalAveragePool", [x], "pool")], "flat")
    model = build.model(build.gemm(x, "logits", 4, 3))
    pixels = np.random.default_rng(3).integers(0, 256, (64, 1, 8, 8)).astype(np.float32)
    result = compiled(model, pixels)
    np.testing.assert_allclose(
        run_reference(result.program, result.weights, pixels), run_onnx(model, pixels), atol=0.02
    )


def test_given_masks_make_the_reference_deterministic() -> None:
    result = compiled(mixed_model(), images(16))
    generator = np.random.default_rng(0)
    masks = {
        op.name: generator.integers(0, 2**32, (2, *result.program.tensor(op.output).shape), dtype=np.uint32)
        for op in result.program.operations
        if op.kind == "truncate"
    }
    first, tensors = run_reference(result.program, result.weights, images(2), masks, seed=1, tensors=True)
    assert (first == run_reference(result.program, result.weights, images(2), masks, seed=2)).all()
    assert set(tensors) == set(result.program.tensors)


def test_every_tensor_has_a_certificate_with_margin() -> None:
    result = compiled(mixed_model(), images(16))
    rows = {row["tensor"]: row for row in result.report["certificate"]}
    assert set(rows) == set(result.program.tensors)
    assert min(row["margin_bits"] for row in rows.values()) > 0.9


def test_operation_and_tensor_names_are_unique_and_defined_before_use() -> None:
    program = compiled(mixed_model(), images(4)).program
    defined = {program.input}
    for operation in program.operations:
        assert set(operation.inputs) <= defined
        assert operation.output not in defined
        defined.add(operation.output)
    assert len({operation.name for operation in program.operations}) == len(program.operations)


def test_the_simulated_makespan_is_the_scheduled_one() -> None:
    result = compiled(mixed_model(), images(4))
    simulation = simulate(result.instructions, load_device("zcu104"))
    assert simulation.makespan == result.schedule.makespan
    assert result.schedule.lower_bound <= result.schedule.makespan
    assert result.report["makespan_ms"] < result.report["operator_sum_ms"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    onnx.save(mixed_model(), tmp_path / "model.onnx")
    np.savez(tmp_path / "images.npz", image=images(16), labels=np.zeros(16))
    return tmp_path


def test_the_command_writes_a_build_and_answers_in_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        str(files / "model.onnx"),
        "-o",
        str(files / "build"),
        "--calibrate",
        str(files / "images.npz"),
        "--json",
    ]
    assert cli.main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    wanted = {"makespan_ms", "lower_bound_ms", "operator_sum_ms", "bytes_sent", "rounds", "comparisons", "instructions"}
    assert set(answer) == {*wanted, "compile_s"}
    build = load_build(files / "build")
    assert build.report["bytes_sent"] == answer["bytes_sent"]
    assert [row["operation"] for row in build.report["traffic"]] == [op.name for op in build.program.operations]
    instructions = decode_instructions((files / "build" / "instructions.bin").read_bytes())
    assert len(instructions) == answer["instructions"]
    assert json.loads((files / "build" / "trace.json").read_bytes())["traceEvents"]
    assert b"/*DATA*/null" not in (files / "build" / "report.html").read_bytes()


@pytest.mark.parametrize(("ceiling", "warned"), [(6.0, False), (1e-4, True)])
def test_the_command_says_how_far_the_logits_are_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ceiling: float, warned: bool
) -> None:
    build = ModelBuilder((3, 8, 8))
    bounds = [build.constant("low", 0.0), build.constant("high", ceiling)]
    onnx.save(build.model(build.node("Clip", ["image", *bounds], "logits")), tmp_path / "model.onnx")
    assert cli.main([str(tmp_path / "model.onnx"), "-o", str(tmp_path / "build")]) == 0
    said = capsys.readouterr()
    assert "logits at most about" in said.out
    assert ("which layer loses them" in said.err) == warned


def test_two_compilations_write_identical_bytes(files: Path) -> None:
    outputs = [files / "first", files / "elsewhere" / "second"]
    for output in outputs:
        assert cli.main([str(files / "model.onnx"), "-o", str(output), "--calibrate", str(files / "images.npz")]) == 0
    first, second = (
        {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}
        for output in outputs
    )
    assert first == second


def test_the_working_directory_is_not_replaced_by_a_build(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "here").mkdir()
    monkeypatch.chdir(files / "here")
    assert cli.main(["../model.onnx", "-o", "."]) == 2
    assert Path.cwd() == files / "here"


def test_a_build_for_a_device_of_ones_own_needs_its_file_no_more(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, build = files / "mine.yaml", str(files / "build")
    mine.write_bytes(device_file(replace(load_device("zcu104"), name="mine", clock_hz=1e8)))
    assert cli.main([str(files / "model.onnx"), "-o", build, "--device", str(mine)]) == 0
    mine.unlink()
    assert cli.main(["--check", build]) == 0
    capsys.readouterr()
    assert simulate_command.main([build, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["makespan_ms"] == pytest.approx(load_build(build).report["makespan_ms"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.onnx", "-o", "build"], "missing.onnx cannot be read"),
        (["model.onnx", "-o", "build", "--calibrate", "missing.npy"], "missing.npy cannot be read"),
        (["model.onnx", "-o", "build", "--device", "toaster"], "toaster"),
        (["model.onnx", "-o", "build", "--protocol", "rot13"], "rot13"),
        (["model.onnx", "-o", "build", "--disable", "sleep"], "pass 'sleep' cannot be disabled"),
        (["model.onnx", "-o", "photos"], "photos exists and is not a build"),
        (["images.npz", "-o", "build"], "images.npz is not an ONNX model"),
        (["model.onnx", "-o", "model.onnx/build"], "model.onnx is not a directory"),
        (["model.onnx", "-o", "b" * 300], "cannot be written: File name too long"),
        (["model.onnx", "-o", "build", "--device", ""], "device '' is unknown"),
        (["model.onnx", "-o", "build", "--device", "slow.yaml"], "more than an instruction's fields hold"),
        (["model.onnx", "-o", "build", "--calibrate", "text.npz"], "text.npz is not a .npy or .npz file of numbers"),
    ],
)
def test_bad_usage_is_one_sentence_and_status_2(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(files)
    (files / "photos").mkdir()
    (files / "photos" / "cat.png").write_bytes(b"cat")
    (files / "slow.yaml").write_bytes(device_file(replace(load_device("zcu104"), comparator_operations_per_cycle=1e-9)))
    with zipfile.ZipFile("text.npz", "w") as archive:
        archive.writestr("image.txt", "a cat")
    try:
        status = cli.main(arguments)
    except SystemExit as exit_status:
        status = int(str(exit_status.code))
    errors = capsys.readouterr().err
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors
    assert not (files / "build").exists()


def test_both_comparisons_of_a_clip_read_one_opened_word() -> None:
    build = ModelBuilder((3, 8, 8))
    clip = [build.conv("image", "conv", 3, 4), build.constant("zero", 0.0), build.constant("six", 6.0)]
    x = build.node("Clip", clip, "clip")
    model = build.model(build.gemm(build.node("Flatten", [x], "flatten"), "logits", 4 * 64, 10))
    images = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32) * 3
    fixed = compile_program(import_model(model, "model"), images, ring="narrow")
    plans = {operation.name: plan for operation, plan in zip(fixed.program.operations, plan_masked(fixed.program))}
    gates = [plans[operation.name] for operation in fixed.program.operations if isinstance(operation, ReluOp)]
    assert [plan.opens for plan in gates] == [True, False]
    assert {plan.width for plan in gates} == {16}
    wanted = run_onnx(model, images)
    assert np.abs(run_reference(fixed.program, fixed.weights, images) - wanted).max() < 0.02 * np.abs(wanted).max()
    for name in ("masked", "masked-dcf"):
        assert first_divergence(fixed.program, fixed.weights, images[:2], executions()[name]) is None


@pytest.mark.parametrize("groups", [1, 2])
def test_dilated_convolutions_and_means_are_those_of_onnxruntime(groups: int) -> None:
    build = ModelBuilder((4, 12, 12))
    weight = build.constant("w", build.generator.normal(size=(6, 4 // groups, 3, 2)) * 0.3)
    x = build.node(
        "Conv", ["image", weight], "dilated", dilations=[2, 3], strides=[1, 2], pads=[2, 1, 2, 1], group=groups
    )
    x = build.node("AveragePool", [x], "mean", kernel_shape=[2, 2], dilations=[3, 1])
    model = build.model(x, opset=19)
    given = images(16, (4, 12, 12))
    graph = import_model(model, "model")
    wanted = run_onnx(model, given)
    np.testing.assert_allclose(run_float(graph, given), wanted, atol=1e-4)
    result = compiled(model, given)
    assert np.abs(run_reference(result.program, result.weights, given) - wanted).max() < 0.02 * np.abs(wanted).max()


@pytest.mark.parametrize(("protocol", "ring", "narrow"), [
    ("beaver-ot", None, False), ("masked", None, False), ("masked", "narrow", True), ("beaver-ot", "32", False),
])  # fmt: skip
def test_the_rings_of_a_build_are_whole_words_unless_it_is_asked_for_narrow_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str, ring: str | None, narrow: bool
) -> None:
    onnx.save(mixed_model(), tmp_path / "model.onnx")
    arguments = [str(tmp_path / "model.onnx"), "-o", str(tmp_path / "build"), "--protocol", protocol]
    assert cli.main([*arguments, *(() if ring is None else ("--ring", ring)), "--json"]) == 0
    assert cli.main(["--check", str(tmp_path / "build")]) == 0
    capsys.readouterr()
    build = load_build(tmp_path / "build")
    assert is_narrow(build.program) == narrow
    for row in build.report["certificate"]:
        assert row["allowed"] == 2.0 ** (row["ring_bits"] - 2 - row["fraction_bits"])
        assert row["margin_bits"] >= 0.5
    relus = {operation.inputs[0] for operation in build.program.operations if isinstance(operation, ReluOp)}
    rings = {row["ring_bits"] for row in build.report["certificate"] if row["tensor"] in relus}
    assert max(rings) <= 16 if narrow else rings == {32}
