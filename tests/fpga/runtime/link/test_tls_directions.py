"""Each side of the encrypted link verifies the other one by itself: one stranger at a time."""

import contextlib
import datetime
import io
import json
import shutil
import socket
import ssl
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from helpers.parties.served import free_port

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.runtime.link.addresses import connect
from rrnet_nni.fpga.runtime.link.frames import LinkFault
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.link.listener import Door
from rrnet_nni.fpga.runtime.link.tls import (
    accept_peer,
    fingerprint,
    load_identity,
    main,
    make_own,
    make_pair,
    read_certificate,
    secure,
)


def handshakes(client, server):
    """What each side ends with: a socket, or its own fault."""
    plain = socket.socketpair()

    def side(number, directory):
        try:
            return secure(plain[number], directory, number == 1, 10)
        except ExecutionFault as fault:
            return fault

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(side, 0, client), pool.submit(side, 1, server)]
        return [future.result(timeout=30) for future in futures]


@pytest.fixture
def ours(tmp_path):
    make_pair(tmp_path / "ours")
    return tmp_path / "ours"


@pytest.fixture
def strangers(tmp_path):
    make_pair(tmp_path / "strangers")
    return tmp_path / "strangers"


def trusting(stranger, ours, party, tmp_path):
    """A stranger that accepts us: its own key and certificate, our certificate as its peer's."""
    directory = tmp_path / "trusting"
    shutil.copytree(stranger / f"party-{party}", directory)
    shutil.copy(ours / f"party-{party}" / "peer.pem", directory / "peer.pem")
    return directory


def test_two_parties_that_know_each_other_are_connected(ours):
    ends = handshakes(ours / "party-0", ours / "party-1")
    assert [end.version() for end in ends] == ["TLSv1.3", "TLSv1.3"]


def test_the_right_client_with_an_older_tls_is_refused(ours):
    older = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    older.maximum_version, older.check_hostname, older.verify_mode = ssl.TLSVersion.TLSv1_2, False, ssl.CERT_NONE
    older.load_cert_chain(ours / "party-0" / "certificate.pem", ours / "party-0" / "key.pem")
    plain = socket.socketpair()
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(secure, plain[1], ours / "party-1", True, 10)
        with pytest.raises(ssl.SSLError, match=r"(?i)version"):
            older.wrap_socket(plain[0])
        with pytest.raises(ExecutionFault):
            server.result(timeout=30)


def test_a_server_refuses_a_strange_client_that_accepts_the_server(ours, strangers, tmp_path):
    _, server = handshakes(trusting(strangers, ours, 0, tmp_path), ours / "party-1")
    assert isinstance(server, ExecutionFault)


def test_a_client_refuses_a_strange_server_that_accepts_the_client(ours, strangers, tmp_path):
    client, _ = handshakes(ours / "party-0", trusting(strangers, ours, 1, tmp_path))
    assert isinstance(client, ExecutionFault)


def signed_by(directory, target):
    """A new key in `target` with a certificate that the key in `directory` signed, its own one being fit to sign."""
    key = serialization.load_pem_private_key((directory / "key.pem").read_bytes(), None)
    now = datetime.datetime.now(datetime.UTC)

    def certificate(public_key, name, is_authority):
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the client")]))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    other = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    shutil.copytree(directory, target)
    (target / "key.pem").write_bytes(other.private_bytes(*plain))
    (target / "certificate.pem").write_bytes(certificate(other.public_key(), "somebody", False))
    return certificate(key.public_key(), "the client", True)


def test_a_certificate_that_the_expected_one_signed_is_not_the_expected_one(ours, tmp_path):
    """Not a chain that ends in the pinned certificate counts, but that certificate."""
    authority = signed_by(ours / "party-0", tmp_path / "signed")
    (ours / "party-1" / "peer.pem").write_bytes(authority)
    _, server = handshakes(tmp_path / "signed", ours / "party-1")
    assert isinstance(server, ExecutionFault)
    (ours / "party-0" / "certificate.pem").write_bytes(authority)
    assert [end.version() for end in handshakes(ours / "party-0", ours / "party-1")] == ["TLSv1.3"] * 2


def test_several_pinned_certificates_are_refused(ours):
    peer = ours / "party-1" / "peer.pem"
    peer.write_bytes(peer.read_bytes() * 2)
    with pytest.raises(Refusal, match="holds 2 certificates"):
        load_identity(ours / "party-1", True)


def test_each_side_says_whose_certificate_was_not_accepted(ours, strangers, tmp_path):
    stranger, server = handshakes(trusting(strangers, ours, 0, tmp_path), ours / "party-1")
    assert "not the expected party: its certificate is not one that is pinned here" in str(server)
    with Link(stranger, "the server", 10) as link, pytest.raises(LinkFault, match="does not accept this party's cert"):
        link.exchange_control(b"hello")
    client, _ = handshakes(ours / "party-0", strangers / "party-1")
    assert "not the expected party: its certificate is not one that is pinned here" in str(client)


def command(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        status = main([str(argument) for argument in arguments])
    return status, said.getvalue()


def test_each_party_makes_its_key_on_its_own_machine_and_pins_the_other_ones_certificate(tmp_path):
    made = [json.loads(command(tmp_path / name, "--party", party, "--json")[1]) for party, name in enumerate("cs")]
    for directory in (tmp_path / "c", tmp_path / "s"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert sorted(file.name for file in directory.iterdir()) == ["certificate.pem", "key.pem"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}
    for own, other, peer in (("c", "s", made[1]), ("s", "c", made[0])):
        colons = ":".join(peer["fingerprint"][place : place + 2] for place in range(0, 64, 2)).upper()
        certificate = tmp_path / other / "certificate.pem"
        assert command(tmp_path / own, "--peer", certificate, "--fingerprint", colons)[0] == 0
    assert [end.version() for end in handshakes(tmp_path / "c", tmp_path / "s")] == ["TLSv1.3"] * 2
    identities = [load_identity(tmp_path / name, name == "s") for name in "cs"]
    assert identities[0].pair == identities[1].pair


def test_a_certificate_with_another_fingerprint_is_not_pinned(tmp_path):
    for party, name in enumerate("cs"):
        assert command(tmp_path / name, "--party", party)[0] == 0
    certificate = tmp_path / "s" / "certificate.pem"
    status, said = command(tmp_path / "c", "--peer", certificate, "--fingerprint", "0" * 64)
    assert (status, "do not trust it" in said) == (2, True)
    assert not (tmp_path / "c" / "peer.pem").exists()
    assert command(tmp_path / "c", "--peer", certificate)[0] == 2
    assert command(tmp_path / "c", "--party", 0)[0] == 2


def test_a_server_of_several_clients_takes_each_that_it_pinned_and_no_other(tmp_path):
    for party, name in ((1, "s"), (0, "a"), (0, "b"), (0, "stranger")):
        make_own(tmp_path / name, party)
    server = read_certificate(tmp_path / "s" / "certificate.pem")
    for name in ("a", "b", "stranger"):
        accept_peer(tmp_path / name, tmp_path / "s" / "certificate.pem", fingerprint(server))
    with pytest.raises(Refusal, match=r"lacks peers/NAME\.pem"):
        load_identity(tmp_path / "s", True, several=True)
    for name in "ab":
        certificate = tmp_path / name / "certificate.pem"
        printed = fingerprint(read_certificate(certificate))
        status, said = command(tmp_path / "s", "--peer", certificate, "--fingerprint", printed, "--name", name)
        assert (status, f"peers/{name}.pem" in said) == (0, False)
    assert command(tmp_path / "s", "--party", 1, "--name", "a")[0] == 2
    assert command(tmp_path / "s", "--peer", certificate, "--fingerprint", printed, "--name", "../a")[0] == 2
    identity = load_identity(tmp_path / "s", True, several=True)
    assert sorted(identity.peers.values()) == ["a", "b"]
    for name in ("a", "b", "stranger"):
        address = f"127.0.0.1:{free_port()}"
        with Door(address, identity) as door, ThreadPoolExecutor(1) as pool:
            coming = pool.submit(secure, connect(address, 5), tmp_path / name, False, 5)
            came = door.next(time.monotonic() + (0.5 if name == "stranger" else 5))
            coming.result(timeout=10)
            assert (None if came is None else identity.peers[came.getpeercert(binary_form=True)]) == (
                None if name == "stranger" else name
            )
            if came is None:
                assert "its certificate is not one that is pinned here (peer.pem, or peers/" in door.turned_away
            else:
                shown = read_certificate(tmp_path / name / "certificate.pem")
                assert identity.pair_with(shown) == load_identity(tmp_path / name, False).pair
                came.close()
    shutil.copy(tmp_path / "s" / "peers" / "a.pem", tmp_path / "s" / "peers" / "c.pem")
    with pytest.raises(Refusal, match="one certificate under two names"):
        load_identity(tmp_path / "s", True, several=True)
