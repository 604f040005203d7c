"""Activations by slices of channels: joined where neighbours agree, views of their tensor elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import run_onnx, sliced_model
from helpers.simulated_builds import images_for

from rrnet_nni.fpga.compiler.check.check import check_build
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.compiler.inventory import graph_operators
from rrnet_nni.fpga.compiler.onnx.frontend import read_onnx
from rrnet_nni.fpga.compiler.passes import run_passes
from rrnet_nni.fpga.compiler.schedule.accelerated import why_not_accelerated
from rrnet_nni.fpga.cost.latency import operator_cost
from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program import PickOp, ReluOp, SquareOp, TruncateOp, program_to_dict
from rrnet_nni.fpga.program import operators as shapes
from rrnet_nni.fpga.program.build import Build, load_build
from rrnet_nni.fpga.program.picks import channel_offsets, channel_range, pick
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.program.shapes import operation_shape
from rrnet_nni.fpga.program.views import origin, view_channel
from rrnet_nni.fpga.protocols import executions, get_costs, get_execution
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder, disagreement, run_shared


def compiled(folder: Path, model: onnx.ModelProto, protocol: str = "masked", **options: object) -> Build:
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    np.save(folder / "images.npy", np.random.default_rng(1).normal(size=(16, 3, 8, 8)).astype(np.float32))
    compile_model(folder / "model.onnx", folder / "build", "zcu104", protocol, folder / "images.npy", **options)  # type: ignore[arg-type]
    return load_build(folder / "build")


@pytest.mark.parametrize("kind", ["r", "p"])
@pytest.mark.parametrize("protocol", ["beaver-ot", "masked"])
def test_slices_of_one_kind_are_the_program_of_the_whole_activation(tmp_path: Path, kind: str, protocol: str) -> None:
    cut, whole = (
        compiled(tmp_path / str(one), sliced_model(16 * kind, whole=one), protocol).program for one in (False, True)
    )
    assert [(op.kind, cut.tensor(op.output).shape) for op in cut.operations] == [
        (op.kind, whole.tensor(op.output).shape) for op in whole.operations
    ]
    assert not any(isinstance(op, PickOp) for op in cut.operations)
    assert [cut.tensor(op.output).fraction_bits for op in cut.operations] == [
        whole.tensor(op.output).fraction_bits for op in whole.operations
    ]
    assert [t["ring_bits"] for t in program_to_dict(cut)["tensors"]] == [
        t["ring_bits"] for t in program_to_dict(whole)["tensors"]
    ]


def test_neighbours_of_one_kind_are_one_slice(tmp_path: Path) -> None:
    program = compiled(tmp_path / "cut", sliced_model("rrppir")).program
    relus = [program.tensor(op.output).shape[0] for op in program.operations if isinstance(op, ReluOp)]
    squares = [program.tensor(op.output).shape[0] for op in program.operations if isinstance(op, SquareOp)]
    assert (relus, squares) == ([4, 2, 4, 2], [4, 4])


@pytest.mark.parametrize("ring", ["32", "narrow"])
@pytest.mark.parametrize("protocol", sorted(executions()))
def test_slices_agree_with_onnxruntime_and_with_the_parties(tmp_path: Path, protocol: str, ring: str) -> None:
    model = sliced_model()
    build = compiled(tmp_path / "cut", model, protocol, ring=ring)
    check_build(build.path)
    images = images_for(build, 4)
    wanted = run_onnx(model, images)
    found = run_reference(build.program, build.weights, images)
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
    assert disagreement(build.program, build.weights, images[:2], executions()[protocol]) is None


@pytest.mark.parametrize("protocol", ["beaver-ot", "masked", "masked-dcf"])
def test_sixteen_slices_take_the_rounds_of_the_longest_and_the_bytes_of_their_parts(
    tmp_path: Path, protocol: str
) -> None:
    relu, square, mixed = (
        compiled(tmp_path / name, sliced_model(kinds, whole=whole), protocol)
        for name, kinds, whole in (("r", 16 * "r", True), ("p", 16 * "p", True), ("m", 8 * "rp", False))
    )
    totals = []
    for build in (relu, square, mixed):
        executed = run_shared(build.program, build.weights, images_for(build, 1), get_execution(protocol))
        rows = executed.rows[0]
        totals.append((sum(row.rounds for row in rows), sum(row.bytes_sent + row.bytes_received for row in rows)))
        online = [row for row in rows if row.phase == "online"]
        assert sum(row.rounds for row in online) == build.report["rounds"]
        assert sum(row.bytes_sent + row.bytes_received for row in online) == sum(build.report["bytes_sent"])
    assert totals[2][0] <= max(totals[0][0], totals[1][0])
    assert totals[2][1] <= 1.03 * (totals[0][1] + totals[1][1]) / 2


def test_slices_are_views_that_truncate_their_own_words(tmp_path: Path) -> None:
    program = compiled(tmp_path / "cut", sliced_model(), "masked").program
    picks = [op for op in program.operations if isinstance(op, PickOp)]
    assert len(picks) == 8
    assert all(operation_shape(op, program) == shapes.Affine(0) for op in picks)
    assert [view_channel(op, program) for op in picks] == 2 * [0, 4, 6, 8]
    assert origin(program, picks[1].output) == (picks[0].inputs[0], 4)
    truncated = {op.inputs[0] for op in program.operations if isinstance(op, TruncateOp)}
    assert truncated >= {op.output for op in picks}
    assert not truncated & {op.inputs[0] for op in picks}


def test_the_accelerator_takes_slices_that_begin_a_bus_word(tmp_path: Path) -> None:
    build = compiled(tmp_path / "cut", sliced_model(), "beaver-ot")
    assert why_not_accelerated(build.program, get_costs("beaver-ot")) is None
    builder = ProgramBuilder((4, 3, 3), 8)
    for first in (0, 1):
        offsets = channel_offsets(first, first + 2, (4, 3, 3))
        builder.add(PickOp, f"taken{first}", ["image"], (2, 3, 3), 8, offsets=offsets)
    reason = why_not_accelerated(builder.program(), get_costs("beaver-ot"))
    assert reason == "operation 'taken1': the accelerator takes slices of channels that begin a bus word"


def test_passes_can_be_left_out(tmp_path: Path) -> None:
    model = sliced_model()
    build = compiled(tmp_path / "apart", model, disabled=("join-slices", "cut-before-truncation"))
    assert sum(isinstance(op, ReluOp) for op in build.program.operations) == 6
    images = images_for(build, 3)
    wanted = run_onnx(model, images)
    assert np.abs(run_reference(build.program, build.weights, images) - wanted).max() < 0.02 * np.abs(wanted).max()


def test_slices_are_priced_without_what_moves_nothing(tmp_path: Path) -> None:
    onnx.save(sliced_model("rp"), tmp_path / "model.onnx")
    operators = graph_operators(run_passes(read_onnx(tmp_path / "model.onnx"))[0])
    elements = 2 * 8 * 8
    assert [op.shape for op in operators if isinstance(op.shape, shapes.Relu)] == [shapes.Relu(elements)] * 2
    assert [op.shape for op in operators if isinstance(op.shape, shapes.X2act)] == [shapes.X2act(elements)] * 2
    sliced = [op.activation for op in operators if isinstance(op.shape, shapes.Relu | shapes.X2act)]
    assert sliced == ["/act1", "/act1", "/act2", "/act2"]
    costs = get_costs("beaver-ot")
    apart = [operator_cost(op.shape, load_device("zcu104"), costs).rounds for op in operators]
    assert network_cost(operators, load_device("zcu104"), costs).total.rounds == sum(apart) - 2 * min(
        rounds for op, rounds in zip(operators, apart) if op.activation
    )


@pytest.mark.parametrize("shape", [(6, 4, 5), (6,)])
def test_channels_are_known_by_their_offsets(shape: tuple[int, ...]) -> None:
    words = np.arange(np.prod(shape)).reshape(1, *shape)
    for first, end in ((0, 6), (2, 5), (5, 6)):
        offsets = channel_offsets(first, end, shape)
        np.testing.assert_array_equal(pick(words, offsets), words[:, first:end])
        assert channel_range(offsets, shape) == (first, end)
    step = (tuple(2 * offset for offset in channel_offsets(0, 3, shape)[0]), *channel_offsets(0, 3, shape)[1:])
    assert channel_range(step, shape) is None
    assert channel_range(((-1, 0), *channel_offsets(0, 1, shape)[1:]), shape) is None
