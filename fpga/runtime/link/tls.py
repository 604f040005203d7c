"""Mutual TLS between two parties that know each other's certificate, and a command that makes a pair for tests.

Each party's directory has its key, its certificate and the one certificate it accepts at the other end. There is no
authority in between: an unknown peer fails the handshake, before any share is sent.
"""

from __future__ import annotations

import argparse
import datetime
import os
import socket
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rrnet_nni.base.console import Parser, add_common_options, print_json, run_command
from rrnet_nni.base.errors import ExecutionFault, Refusal

KEY, CERTIFICATE, PEER = "key.pem", "certificate.pem", "peer.pem"
VALID_DAYS = 365

EXAMPLE = """\
example:
  rrnet-2pc-certificates certificates/      then move certificates/party-0 to the client, party-1 to the server
  rrnet-2pc-run build/ --party 1 --listen 0.0.0.0:7700 --tls certificates/party-1
"""


def secure(connection: socket.socket, directory: Path, server_side: bool, timeout_s: float) -> ssl.SSLSocket:
    """TLS 1.3 over a connected socket, both ends authenticated.

    Raises:
        Refusal: the directory's files are missing or not a key and certificates.
        ExecutionFault: the other end is not the expected party.
    """
    context = load_identity(directory, server_side)
    connection.settimeout(timeout_s)
    try:
        return context.wrap_socket(connection, server_side=server_side)
    except TimeoutError as error:
        connection.close()
        raise ExecutionFault(f"the other end of the link said nothing of TLS within {timeout_s:g} s") from error
    except (OSError, ssl.SSLError) as error:
        connection.close()
        reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error
        raise ExecutionFault(f"the other end of the link is not the expected party ({reason})") from error


def load_identity(directory: Path, server_side: bool) -> ssl.SSLContext:
    """A party's key and certificate, and the one certificate that it accepts.

    Raises:
        Refusal: the directory's files are missing or not a key and certificates.
    """
    missing = [name for name in (KEY, CERTIFICATE, PEER) if not (directory / name).is_file()]
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
            f"{directory / KEY} and {directory / CERTIFICATE} are not a key without a password and its certificate"
        ) from error
    try:
        context.load_verify_locations(directory / PEER)
    except OSError as error:
        raise Refusal(f"{directory / PEER} is not a certificate") from error
    return context


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
    """Make a pair and say where it lies."""
    make_pair(options.directory)
    if options.json:
        print_json({"directories": [str(options.directory / f"party-{party}") for party in (0, 1)]})
    else:
        sys.stdout.write(f"keys and certificates in {options.directory}/party-0 and {options.directory}/party-1\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet-2pc-certificates`."""
    description = "Make the keys and certificates of two parties that authenticate each other."
    parser = Parser(prog="rrnet-2pc-certificates", description=description, epilog=EXAMPLE)
    parser.add_argument("directory", type=Path, help="where to write party-0 and party-1")
    add_common_options(parser)
    return run_command(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
