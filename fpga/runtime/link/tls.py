"""Mutual TLS between two parties that know each other's certificate, and a command that makes a pair for tests.

Each party's directory has its key, its certificate and the one certificate it accepts at the other end. There is no
authority in between: an unknown peer fails the handshake, before any share is sent.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import re
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rrnet_nni.base.console import Parser, add_common_options, print_json, run_command
from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.files import write_whole

from .tls_problems import NO_CERTIFICATE, OTHER_CERTIFICATE, tls_problem

KEY, CERTIFICATE, PEER = "key.pem", "certificate.pem", "peer.pem"
#: Folder of the certificates of a party whom several others come to, as NAME.pem each.
PEERS = "peers"
VALID_DAYS = 365

EXAMPLE = """\
example, each line on the machine of the party that it names:
  rrnet-2pc-certificates keys/ --party 0                                     the client; prints a fingerprint
  rrnet-2pc-certificates keys/ --party 1                                     the server; prints a fingerprint
  rrnet-2pc-certificates keys/ --peer server.pem --fingerprint 3f0a...       the client, the server's certificate.pem
  rrnet-2pc-certificates keys/ --peer client.pem --fingerprint 91bc...       the server, the client's certificate.pem
  rrnet-2pc-run build/ --party 1 --listen 0.0.0.0:7700 --tls keys/           the server waits for this client alone

  rrnet-2pc-certificates certificates/      both parties' on one machine, for tests
"""


@dataclass(frozen=True)
class TlsIdentity:
    """A party's own side of TLS, and the names of those that it accepts at the other end, by certificate (DER)."""

    context: ssl.SSLContext
    own: bytes
    peers: Mapping[bytes, str]

    @property
    def pair(self) -> str:
        """A fingerprint of this party's certificate and the only one that it accepts, the same at both parties."""
        (peer,) = self.peers
        return self.pair_with(peer)

    def pair_with(self, peer: bytes) -> str:
        """A fingerprint of this party's certificate and another one, the same at both parties."""
        return hashlib.sha256(b"".join(sorted((self.own, peer)))).hexdigest()

    def problem_with(self, connection: ssl.SSLSocket) -> str | None:
        """Why the other end of a finished handshake is no expected party: any certificate but those pinned."""
        shown = connection.getpeercert(binary_form=True)
        if shown in self.peers:
            return None
        return NO_CERTIFICATE if shown is None else OTHER_CERTIFICATE


def secure(connection: socket.socket, directory: Path, server_side: bool, timeout_s: float) -> ssl.SSLSocket:
    """TLS 1.3 over a connected socket, both ends authenticated.

    Raises:
        Refusal: the directory's files are missing or not a key and certificates.
        ExecutionFault: the other end is not the expected party.
    """
    identity = load_identity(directory, server_side)
    connection.settimeout(timeout_s)
    try:
        secured = identity.context.wrap_socket(connection, server_side=server_side)
    except TimeoutError as error:
        connection.close()
        raise ExecutionFault(f"the other end of the link did not start TLS within {timeout_s:g} s") from error
    except (OSError, ValueError) as error:
        connection.close()
        raise ExecutionFault(f"the other end of the link is not the expected party: {tls_problem(error)}") from error
    problem = identity.problem_with(secured)
    if problem is not None:
        secured.close()
        raise ExecutionFault(f"the other end of the link is not the expected party: {problem}")
    return secured


def load_identity(directory: Path, server_side: bool, several: bool = False) -> TlsIdentity:
    """A party's key and certificate, and the one certificate that it accepts, or those of `several` others.

    Raises:
        Refusal: the directory's files are missing or not a key and certificates.
    """
    accepted = sorted((directory / PEERS).glob("*.pem")) if several else [directory / PEER]
    missing = [name for name in (KEY, CERTIFICATE) if not (directory / name).is_file()]
    if not accepted or not all(path.is_file() for path in accepted):
        missing.append(f"{PEERS}/NAME.pem" if several else PEER)
    if missing:
        raise Refusal(f"{directory} lacks {' and '.join(missing)}; rrnet-2pc-certificates makes keys and certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_cert_chain(directory / CERTIFICATE, directory / KEY, password="")  # rather than ask for one
    except (OSError, ValueError) as error:
        raise Refusal(
            f"{directory / KEY} and {directory / CERTIFICATE} must be a key without a password, and its certificate"
        ) from error
    peers = {read_certificate(path): path.stem for path in accepted}
    if len(peers) < len(accepted):
        raise Refusal(f"{directory / PEERS} has one certificate under two names: remove one of them")
    try:
        context.load_verify_locations(cadata=b"".join(peers))
    except (OSError, ValueError) as error:
        raise Refusal(
            f"{directory / (PEERS if several else PEER)} holds something that is not a certificate"
        ) from error
    return TlsIdentity(context, read_certificate(directory / CERTIFICATE), peers)


def read_certificate(path: Path) -> bytes:
    """The one certificate of a PEM file, as DER; refuses none and several, of which any one would be accepted."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Refusal(f"{path} is not a certificate") from error
    if len(found) != 1:
        raise Refusal(f"{path} holds {len(found)} certificates; it must hold the other party's alone")
    return found[0].public_bytes(serialization.Encoding.DER)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate (DER), for two people to compare."""
    return hashlib.sha256(certificate).hexdigest()


def make_pair(root: Path) -> None:
    """Write `root`/party-0 and `root`/party-1; refuses to write over anything."""
    directories = [root / f"party-{party}" for party in (0, 1)]
    if any(directory.exists() for directory in directories):
        raise Refusal(f"{root} already holds certificates")
    pairs = [_make_certificate(f"rrnet-2pc party {party}") for party in (0, 1)]
    try:
        for party, directory in enumerate(directories):
            directory.mkdir(parents=True, mode=0o700)
            key, certificate = pairs[party]
            _write(directory / KEY, key)
            _write(directory / CERTIFICATE, certificate)
            _write(directory / PEER, pairs[1 - party][1])
    except OSError as error:
        raise ExecutionFault(f"the certificates cannot be written to {root}: {error.strerror}") from error


def make_own(directory: Path, party: int) -> str:
    """Write one party's key and certificate, on the machine where they stay; returns the certificate's fingerprint."""
    if directory.exists() and any(directory.iterdir()):
        raise Refusal(f"{directory} is not empty; name a new directory")
    key, certificate = _make_certificate(f"rrnet-2pc party {party}")
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        _write(directory / KEY, key)
        _write(directory / CERTIFICATE, certificate)
    except OSError as error:
        raise ExecutionFault(f"the certificate cannot be written to {directory}: {error.strerror}") from error
    return fingerprint(read_certificate(directory / CERTIFICATE))


def accept_peer(directory: Path, certificate: Path, expected: str, name: str | None = None) -> Path:
    """Pin the other party's certificate, after its fingerprint came by another way than the certificate did.

    Returns where it lies: in place of the one before, or, with a `name`, beside those of others.
    """
    if not (directory / KEY).is_file():
        raise Refusal(f"{directory} has no key of this party; rrnet-2pc-certificates {directory} --party N makes one")
    found = fingerprint(read_certificate(certificate))
    if found != expected.replace(":", "").lower():
        raise Refusal(f"{certificate} has the fingerprint {found}, not the one that was named: do not trust it")
    path = directory / PEER if name is None else directory / PEERS / f"{name}.pem"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, certificate.read_bytes(), mode=0o600)
    except OSError as error:
        raise ExecutionFault(f"{path} cannot be written: {error.strerror}") from error
    return path


def _make_certificate(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def run(options: argparse.Namespace) -> int:
    """Make a pair, or one party's own key, or pin the other party's certificate; say where it lies."""
    directory: Path = options.directory
    answer: dict[str, object]
    if (options.peer is None) != (options.fingerprint is None):
        raise Refusal("--peer FILE and --fingerprint SHA256 belong together: the certificate and what it must hash to")
    if options.name is not None and (options.peer is None or not re.fullmatch("[A-Za-z0-9_-]+", options.name)):
        raise Refusal("--name belongs to --peer and is made of letters, digits, - and _")
    if options.peer is not None and options.party is not None:
        raise Refusal("--party makes a key, --peer pins the other party's certificate: one after the other")
    if options.peer is not None:
        pinned = accept_peer(directory, options.peer, options.fingerprint, options.name)
        answer, text = {"peer": str(pinned)}, f"the other party's certificate is pinned in {directory}\n"
    elif options.party is not None:
        made = make_own(directory, options.party)
        answer = {"directory": str(directory), "fingerprint": made}
        text = (
            f"key and certificate in {directory}; the key stays on this machine\n"
            f"give the other party {directory / CERTIFICATE} and, by another way, its fingerprint\n{made}\n"
        )
    else:
        make_pair(directory)
        answer = {"directories": [str(directory / f"party-{party}") for party in (0, 1)]}
        text = f"keys and certificates in {directory}/party-0 and {directory}/party-1: for tests on one machine\n"
    if options.json:
        print_json(answer)
    else:
        sys.stdout.write(text)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet-2pc-certificates`."""
    description = "Make the keys and certificates of two parties that authenticate each other."
    parser = Parser(prog="rrnet-2pc-certificates", description=description, epilog=EXAMPLE)
    parser.add_argument(
        "directory", type=Path, help="directory of this party's keys; without options for the keys of both, for tests"
    )
    parser.add_argument("--party", type=int, choices=(0, 1), help="make the key and the certificate of this party")
    parser.add_argument("--peer", type=Path, metavar="FILE", help="pin the other party's certificate.pem")
    parser.add_argument("--fingerprint", metavar="SHA256", help="SHA-256 of --peer, as that party told you")
    parser.add_argument("--name", help="with --peer: a name for it, where several parties connect to this one")
    add_common_options(parser)
    return run_command(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
