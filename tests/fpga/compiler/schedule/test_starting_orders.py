"""Wavefronts as starting orders: what they say of jobs, and what a schedule gains by them."""

from dataclasses import replace

from helpers.networks.small_onnx_models import mixed_model

from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.schedule.bounds import lower_bounds
from rrnet_nni.fpga.compiler.schedule.job_table import JobGraph
from rrnet_nni.fpga.compiler.schedule.jobs import Job, Stage
from rrnet_nni.fpga.compiler.schedule.regions import Region
from rrnet_nni.fpga.compiler.schedule.schedule import (
    finalists,
    list_schedules,
    promising_slants,
    shortest,
)
from rrnet_nni.fpga.compiler.schedule.starting_orders import PLACES, SLANTS, places, starting_order
from rrnet_nni.fpga.compiler.schedule.tiling import build_jobs
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.isa import Queue
from rrnet_nni.fpga.protocols import get_costs

DEVICE = load_device("zcu104")


def products_before_messages(tiles: int, work: int) -> JobGraph:
    """Long products, short products on the same array, messages; each tile needs only the one of its row."""
    graph = JobGraph(64)
    stored: list[int] = []
    for layer, (queue, cycles) in enumerate([(Queue.ARRAY, work), (Queue.ARRAY, 1), (Queue.SEND, work)]):
        first, made = len(graph.jobs), []
        for tile in range(tiles):
            load, step = len(graph.jobs), (layer, tile, 0, 1)
            graph.jobs.append(Job(Queue.LOAD, 1, 0, 1, *step, tuple(stored[tile : tile + 1]), allocates=64, load=load))
            graph.jobs.append(Job(queue, cycles, 0, cycles, *step, (load,), load=load))
            graph.jobs.append(Job(Queue.STORE, 1, 0, 1, *step, (load + 1,), releases=(load,), load=load))
            made.append(load + 2)
        regions = tuple(Region((0, 1), (tile, tile + 1)) for tile in range(tiles))
        graph.stages.append(Stage(layer, f"layer{layer}", 0, 1, regions, first, len(graph.jobs)))
        stored = made
    return graph


def test_a_wavefront_lets_messages_travel_while_the_layer_before_still_computes() -> None:
    graph = products_before_messages(tiles=16, work=100)
    schedules = list_schedules(graph, DEVICE, 16, 0)
    bound = max(lower_bounds(graph, DEVICE).values())
    assert schedules[0].makespan > 1.8 * bound  # in the program's order, messages begin when all products are done
    assert shortest(schedules).makespan < 1.1 * bound


def test_places_are_the_last_rows_of_tiles_and_weights_come_before_them() -> None:
    program = compile_program(import_model(mixed_model(image_size=16), "model")).program
    graph = build_jobs(program, DEVICE, get_costs("beaver-ot"), 4)
    down = places(graph, graph.table)
    covered = set()
    for stage in graph.stages:
        rows = max(region.rows[1] for region in stage.regions)
        for index in range(stage.first_job, stage.end_job):
            job = graph.jobs[index]
            assert job.operation == stage.operation
            assert down[index] == PLACES * stage.regions[job.tile].rows[1] // rows
            covered.add(index)
    rest = set(range(len(graph.jobs))) - covered
    assert rest == {index for index, job in enumerate(graph.jobs) if job.weights}
    assert not down[sorted(rest)].any()


def test_the_first_starting_order_is_the_program_s_and_slants_let_the_first_rows_run_ahead() -> None:
    graph = products_before_messages(tiles=4, work=10)
    table = graph.table
    orders = [starting_order(graph, table, slant) for slant in SLANTS]
    assert sorted(range(len(graph.jobs)), key=lambda index: orders[0][index]) == list(range(len(graph.jobs)))
    first_row_of_the_last_layer, last_row_of_the_first = 2 * 3 * 4, 3 * 3
    ahead = [bool(order[first_row_of_the_last_layer] < order[last_row_of_the_first]) for order in orders]
    assert ahead == sorted(ahead)
    assert ahead[-1]
    assert not ahead[0]


def test_the_program_s_own_order_stays_a_finalist_where_it_is_nearly_as_short() -> None:
    graph = products_before_messages(tiles=4, work=100)
    found = list_schedules(graph, DEVICE, 4, 0)
    best = shortest(found)
    assert finalists([]) == []
    assert finalists(found) == [best]
    close = replace(found[0], makespan=round(1.01 * best.makespan))
    assert finalists([close, *found[1:]]) == [best, close]
    assert finalists([close]) == [close]


def test_finer_tilings_try_the_program_s_own_order_the_best_slant_and_its_neighbours() -> None:
    assert promising_slants([]) == SLANTS
    found = list_schedules(products_before_messages(tiles=4, work=100), DEVICE, 4, 0)
    for place, item in enumerate(found):
        ahead = [replace(item, makespan=1)]
        assert promising_slants(found + ahead) == tuple(sorted({0, *SLANTS[max(0, place - 1) : place + 2]}))
