"""Daemons that are killed, material that is made meanwhile, and strangers that send rubbish."""

import random
import time

import pytest
from helpers.parties.served import (
    Servers,
    ask_many,
    asking,
    clear_images,
    post,
    wait_until,
    write_digits_sized_build,
)

from rrnet_nni.fpga.program.build import load_build

#: How soon the service goes on by itself after a restart.
RECOVERY_S = 10
#: Inferences that lie ready per kill: it costs what both lanes have claimed, and clients use some hundred a second.
DEALT_PER_KILL = 400


def check_kills(tmp_path, kills, seed):
    """Kill daemons at random moments under load; returns the faults that clients were told of."""
    build = write_digits_sized_build(tmp_path / "build")
    images, classes = clear_images(build, 40, seed)
    choose, recoveries = random.Random(seed), []
    dealt = (DEALT_PER_KILL,) * (1 + kills)
    with Servers(tmp_path, "--expiry", 2, dealt=dealt, options_of=(("--no-filling",), ())) as servers:
        with asking(servers.urls, images, classes, 6) as heard:
            for _ in range(kills):
                time.sleep(choose.uniform(0.1, 0.6))
                party = choose.randrange(2)
                servers.kill(party)
                servers.start(party)
                recoveries.append(servers.wait_until_ready())
            before = len(heard.right)
            wait_until(lambda: len(heard.right) > before, "it does not go on after the last restart")
        used = servers.used()
    assert not heard.wrong
    assert all(fault.strip() for fault in heard.faults)
    assert max(recoveries) < RECOVERY_S
    for party, uses in enumerate(used):
        assert len(set(uses)) == len(uses), f"party {party} used an inference twice"
    return heard.faults


def test_killed_daemons_never_lead_to_wrong_answers_or_material_used_twice(tmp_path):
    assert check_kills(tmp_path, 3, seed=1)


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    assert check_kills(tmp_path, 20, seed=2)


@pytest.mark.parametrize(
    ("side", "count", "marks"), [(8, 4, (2, 4, 2)), pytest.param(16, 12, (4, 12, 4), marks=pytest.mark.slow)]
)
def test_the_two_parties_make_material_as_it_is_used(tmp_path, side, count, marks):
    build = write_digits_sized_build(tmp_path / "build", side)
    images, classes = clear_images(build, count)
    marks = "--low", marks[0], "--high", marks[1], "--per-set", marks[2]
    with Servers(tmp_path, "--batch", 4, options_of=(marks, ())) as servers:
        assert ask_many(servers.urls, images, 2, attempts=20) == list(classes)
        assert '"material made"' in servers.log(0)
        assert "no material" not in servers.log(0) + servers.log(1), "a set belongs to the lanes once it is in place"
        zero, one = servers.used()
        assert sorted(zero) == sorted(one)
        assert len(set(zero)) == len(zero) == count
        assert len({name for name, _ in zero}) > 1


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_rubbish_leaves_it_serving(tmp_path, count):
    write_digits_sized_build(tmp_path / "build")
    images, classes = clear_images(load_build(tmp_path / "build"), 4)
    choose = random.Random(0)
    with Servers(tmp_path, "--expiry", 1, dealt=(50,), options_of=(("--no-filling",), ())) as servers:
        before = servers.memory_mb()
        for _ in range(count):
            body = choose.randbytes(choose.choice((0, 1, 15, 17, 1023, 1025, 3000)))
            request_id = choose.choice(("", "x" * 32, "0" * 32, "%00", "0" * 31, "a" * 32))
            media = choose.choice(("application/octet-stream", "text/html", ""))
            status, answer = post(servers.urls[choose.randrange(2)], body, request_id, media)
            assert 400 <= status < 500, (status, answer)
        assert ask_many(servers.urls, images, 2) == list(classes)
        assert all(after < 1.2 * earlier + 5 for earlier, after in zip(before, servers.memory_mb()))
