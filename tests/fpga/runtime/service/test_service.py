"""Two daemons as clients meet them: real processes on loopback, real material, real requests."""

import json
import os
import signal
import socket
import threading
import time
import urllib.parse

import numpy as np
import pytest
from helpers.networks.small_programs import digits_network
from helpers.parties.served import (
    PIXELS,
    PROTOCOL,
    Servers,
    ask_many,
    clear_images,
    contrasting_pixels,
    post,
    wait_until,
    write_digits_sized_build,
)

from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.revealed import with_argmax
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.runtime.link.tls import fingerprint, make_pair, read_certificate
from rrnet_nni.fpga.runtime.service.client import BadImages, PrivateClassifier, ServiceFault
from rrnet_nni.fpga.runtime.service.top import Watched
from rrnet_nni.fpga.runtime.service.top import main as top


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    write_digits_sized_build(root / "build")
    with Servers(root, "--expiry", 1, dealt=(200, 200), options_of=(("--no-filling",), ())) as servers:
        yield servers


def test_requests_of_many_clients_get_the_references_class_and_no_material_twice(served):
    images, classes = clear_images(load_build(served.build), 60)
    assert ask_many(served.urls, images, 8, deadline_s=30) == list(classes)
    zero, one = served.used()
    assert len(zero) >= 60
    assert len(set(zero)) == len(zero)
    assert sorted(zero) == sorted(one)
    numbers = served.numbers(0)
    assert numbers['rrnet_requests_total{model="build",status="200"}'] >= 60
    assert numbers['rrnet_batch_images_count{model="build"}'] < len(zero), "strangers share executions"
    assert numbers['rrnet_material_left{model="build"}'] == 400 - len(zero)
    assert numbers['rrnet_link_lanes{model="build"}'] == 2


def test_top_shows_what_both_servers_do(served, capsys):
    images, classes = clear_images(load_build(served.build), 10)
    servers = [Watched(url) for url in served.urls]
    for each in servers:
        list(each.rows())
    began_s = [each.before_s for each in servers]
    assert ask_many(served.urls, images, 2) == list(classes)
    for each, began in zip(servers, began_s):
        ((model, figures),) = each.rows()
        assert model == "build"
        assert figures["requests/s"] * (each.before_s - began) == pytest.approx(10)
        assert figures["errors/s"] == 0
        assert 1 <= figures["images/batch"] <= 2
        assert figures["MB/s"] * figures["mean ms"] > 0
    assert top([*served.urls, "--json", "--interval", "0.1"]) == 0
    for url, each in zip(served.urls, json.loads(capsys.readouterr().out), strict=True):
        figures = each["models"]["build"]
        assert (each["server"], figures["lanes"], figures["requests/s"]) == (url, 2, 0)
        assert figures["material"] > 100


def test_one_request_may_hold_several_images(served):
    images, classes = clear_images(load_build(served.build), 20, seed=1)
    with PrivateClassifier(served.urls) as classifier:
        assert np.array_equal(classifier.predict(images), classes)
        assert classifier.logits(images[:0]).shape == (0, 10)


def test_pixels_become_what_the_build_says(served):
    pixels = contrasting_pixels()
    with PrivateClassifier(served.urls) as classifier:
        assert classifier.classes == list("0123456789")
        assert np.abs(classifier.logits(pixels) - classifier.logits(PIXELS.normalized(pixels))).max() < 0.2


def test_the_client_refuses_images_that_the_model_does_not_take(served):
    with PrivateClassifier(served.urls) as classifier:
        for images in (np.zeros((1, 1, 8, 8)), np.full((1, 1, 16, 16), np.nan), np.full((1, 1, 16, 16), 1e9)):
            with pytest.raises(BadImages):
                classifier.predict(images)


def test_the_client_knows_which_server_is_whose(served):
    with pytest.raises(ServiceFault, match="not the server of party 0"):
        PrivateClassifier(served.urls[::-1])


def test_wrong_requests_get_a_status_and_one_sentence(served):
    wrong = {
        400: [
            {"request_id": "xyz"},
            {"body": bytes(100)},
            {"path": "/v1/models/build/requests/" + "0" * 32 + "?images=0"},
        ],
        404: [{"path": "/v1/models/nobody/requests/" + "0" * 32}],
        413: [{"body": bytes(5000)}],
        415: [{"media": "text/plain"}],
    }
    for status, requests in wrong.items():
        for request in requests:
            found, body = post(served.urls[0], **request)
            assert found == status, request
            sentence = json.loads(body)["error"]
            assert sentence
            assert "\n" not in sentence


def test_a_half_without_its_partner_expires_and_leaves_room(served):
    status, body = post(served.urls[0], request_id="a" * 32)
    assert status == 408
    assert "other half" in json.loads(body)["error"]
    status, _ = post(served.urls[1], request_id="b" * 32)
    assert status == 408
    assert served.numbers(0)['rrnet_images_waiting{model="build"}'] == 0


def test_a_client_that_vanishes_takes_its_half_along(tmp_path):
    write_digits_sized_build(tmp_path / "build")
    path = "/v1/models/build/requests/" + "e" * 32
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 16\r\n\r\n"
    with Servers(tmp_path, "--expiry", 600, dealt=(4,), options_of=(("--no-filling",), ())) as patient:
        parts = urllib.parse.urlsplit(patient.urls[0])

        def number(name, labels=""):
            return patient.numbers(0).get(f'rrnet_{name}{{model="build"{labels}}}', 0)

        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(head.encode() + bytes(16))
            wait_until(lambda: number("images_waiting"), "the half is not taken")
            assert (number("images_waiting"), number("requests_total", ',status="408"')) == (1, 0)
        wait_until(
            lambda: not number("images_waiting"), "the half stays, though its client left long before it expires"
        )
        wait_until(lambda: number("requests_total", ',status="408"'), "the request is not counted")
        assert number("requests_total", ',status="408"') == 1
        assert number("material_left") == 4, "nothing was used for it"


def test_slow_clients_do_not_keep_others_waiting(served):
    images, classes = clear_images(load_build(served.build), 8, seed=3)
    path = "/v1/models/build/requests/" + "f" * 32
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 16\r\n"
    address = urllib.parse.urlsplit(served.urls[0])
    slow = [socket.create_connection((address.hostname, address.port)) for _ in range(60)]
    for number, each in enumerate(slow):
        each.sendall(("", head, head + "\r\n12345678")[number % 3].encode())
    assert ask_many(served.urls, images, 4, attempts=1, deadline_s=60) == list(classes)
    slow[2].settimeout(30)
    assert b"the body did not arrive within 1 s" in slow[2].recv(1000)
    for each in slow:
        each.close()


def test_halves_with_different_numbers_of_images_are_told_so(served):
    image_bytes = 4 * 16 * 16
    found = {}
    path = "/v1/models/build/requests/" + "c" * 32

    def send(party, images):
        found[party] = post(served.urls[party], bytes(images * image_bytes), path=f"{path}?images={images}")

    threads = [threading.Thread(target=send, args=pair) for pair in ((0, 1), (1, 2))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found[0][0] == 408
    assert found[1][0] == 502
    assert "different numbers of images" in json.loads(found[1][1])["error"]


def test_clients_of_an_argmax_build_get_the_class_and_no_logits(tmp_path):
    images, classes = clear_images(write_digits_sized_build(tmp_path / "plain"), 6)
    program, weights = digits_network(side=16, pool=4, classes=10)
    write_build(tmp_path / "build", with_argmax(program), weights, {"device": "zcu104", "protocol": PROTOCOL})
    options = {"dealt": (20,), "options_of": (("--no-filling",), ())}
    with Servers(tmp_path, **options) as servers, PrivateClassifier(servers.urls) as classifier:
        assert np.array_equal(classifier.logits(images), np.eye(10)[classes])


def test_both_shares_may_be_sent_whole_instead_of_one_as_a_seed(served):
    images, classes = clear_images(load_build(served.build), 1, seed=2)
    with PrivateClassifier(served.urls) as classifier:
        words = classifier._encode(images)
        random = np.frombuffer(os.urandom(words.nbytes), "<u4").reshape(words.shape)
        found = {}
        bodies = (words - random).astype("<u4").tobytes(), random.tobytes()

        def send(party):
            found[party] = post(served.urls[party], bodies[party], request_id="d" * 32)

        threads = [threading.Thread(target=send, args=(party,)) for party in (0, 1)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert [status for status, _ in found.values()] == [200, 200]
    logits = sum(np.frombuffer(body, "<u4").astype(np.uint32) for _, body in found.values())
    assert logits.view(np.int32).argmax() == classes[0]


def test_logs_hold_events_and_no_content(served):
    events = [json.loads(line) for party in (0, 1) for line in served.log(party).splitlines()]
    assert {"listening", "lane up"} <= {each["event"] for each in events}
    assert all(set(each) <= {"time", "party", "event", "url", "link", "model", "reason"} for each in events)


def test_a_daemon_that_is_asked_to_end_finishes_what_has_begun(tmp_path):
    build = write_digits_sized_build(tmp_path / "build")
    images, classes = clear_images(build, 30)
    with Servers(tmp_path, dealt=(100,), options_of=(("--no-filling", "--lanes", 1), ())) as servers:
        answers = []
        work = threading.Thread(target=lambda: answers.extend(ask_many(servers.urls, images, 4, attempts=1)))
        work.start()
        while servers.numbers(0).get('rrnet_batch_images_count{model="build"}', 0) < 2:
            time.sleep(0.01)
        servers.processes[0].send_signal(signal.SIGTERM)
        assert servers.processes[0].wait(20) == 0
        work.join()
    assert "draining" in servers.log(0)
    for answer, expected in zip(answers, classes):
        assert isinstance(answer, ServiceFault) or answer == expected
    assert any(answer == expected for answer, expected in zip(answers, classes))


@pytest.mark.slow
def test_a_thousand_requests_of_32_clients(tmp_path):
    build = write_digits_sized_build(tmp_path / "build")
    images, classes = clear_images(build, 1000)
    with Servers(tmp_path, dealt=(1024, 1024), options_of=(("--no-filling",), ())) as servers:
        assert ask_many(servers.urls, images[:300], 32) == list(classes[:300])
        before = servers.memory_mb()
        assert ask_many(servers.urls, images[300:], 32) == list(classes[300:])
        assert all(after < earlier + 10 for earlier, after in zip(before, servers.memory_mb()))
        zero, one = servers.used()
    assert len(set(zero)) == len(zero) >= 1000
    assert sorted(zero) == sorted(one)


def test_servers_of_two_machines_know_each_other_and_clients_pin_their_certificates(tmp_path):
    build = write_digits_sized_build(tmp_path / "build")
    images, classes = clear_images(build, 4)
    make_pair(tmp_path / "keys")
    files = [tmp_path / "keys" / f"party-{party}" for party in (0, 1)]
    https = [("--http-certificate", each / "certificate.pem", "--http-key", each / "key.pem") for each in files]
    options = tuple(("--tls", each, *secure) for each, secure in zip(files, https))
    options = (*options[0], "--no-filling"), options[1]
    pins = [fingerprint(read_certificate(each / "certificate.pem")) for each in files]
    with Servers(tmp_path, dealt=(20,), scheme="https", options_of=options) as servers:
        with PrivateClassifier(servers.urls, pins=pins) as classifier:
            assert np.array_equal(classifier.predict(images), classes)
        with pytest.raises(ServiceFault, match="another certificate"):
            PrivateClassifier(servers.urls, pins=pins[::-1])
        with pytest.raises(ServiceFault, match="does not answer"):
            PrivateClassifier(servers.urls)
