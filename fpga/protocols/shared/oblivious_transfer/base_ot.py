"""Base oblivious transfers on edwards25519, the "simplest OT" of Chou and Orlandi (LATINCRYPT 2015).

The sender learns two random keys per transfer, the receiver the one that its choice names. Security against semi-honest
parties rests on computational Diffie-Hellman in the group of prime order, with SHA-256 as a random oracle.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np
from nacl import bindings
from nacl.exceptions import RuntimeError as CurveError

from rrnet_nni.base.errors import ExecutionFault

from ...party import Channel

POINT_BYTES = 32
KEY_BYTES = 16
_WIDE_SCALAR_BYTES = 64


def send_base_ots(channel: Channel, count: int) -> np.ndarray:
    """Both keys of `count` transfers, uint8 [count, 2, 16]."""
    secret = _scalar()
    public = bindings.crypto_scalarmult_ed25519_base_noclamp(secret)
    received = channel.exchange(np.frombuffer(public, np.uint8), count * POINT_BYTES).tobytes()
    keys = []
    for index in range(count):
        blinded = received[index * POINT_BYTES : (index + 1) * POINT_BYTES]
        shared = [_multiply(secret, blinded), _multiply(secret, _subtract(blinded, public))]
        keys += [_key(index, public, blinded, point) for point in shared]
    return np.frombuffer(b"".join(keys), np.uint8).reshape(count, 2, KEY_BYTES)


def receive_base_ots(channel: Channel, choices: Sequence[int]) -> np.ndarray:
    """The key that each choice (0 or 1) names, uint8 [len(choices), 16]."""
    public = channel.exchange(None, POINT_BYTES).tobytes()
    _check(public)
    secrets = [_scalar() for _ in choices]
    points = [bindings.crypto_scalarmult_ed25519_base_noclamp(secret) for secret in secrets]
    blinded = [_add(point, public) if choice else point for point, choice in zip(points, choices)]
    channel.exchange(np.frombuffer(b"".join(blinded), np.uint8), 0)
    keys = [
        _key(index, public, point, _multiply(secret, public))
        for index, (secret, point) in enumerate(zip(secrets, blinded))
    ]
    return np.frombuffer(b"".join(keys), np.uint8).reshape(len(choices), KEY_BYTES)


def _scalar() -> bytes:
    return bytes(bindings.crypto_core_ed25519_scalar_reduce(os.urandom(_WIDE_SCALAR_BYTES)))


def _key(index: int, public: bytes, blinded: bytes, shared: bytes) -> bytes:
    """Hash of the shared point, bound to the transcript and to the transfer's number."""
    return hashlib.sha256(index.to_bytes(4, "big") + public + blinded + shared).digest()[:KEY_BYTES]


def _check(point: bytes) -> None:
    if not bindings.crypto_core_ed25519_is_valid_point(point):
        raise ExecutionFault("the other party sent an octet string that is not a point of the curve")


def _multiply(scalar: bytes, point: bytes) -> bytes:
    _check(point)
    try:
        return bytes(bindings.crypto_scalarmult_ed25519_noclamp(scalar, point))
    except CurveError as error:
        raise ExecutionFault("the other party sent a point of small order") from error


def _add(first: bytes, second: bytes) -> bytes:
    return bytes(bindings.crypto_core_ed25519_add(first, second))


def _subtract(first: bytes, second: bytes) -> bytes:
    _check(first)
    return bytes(bindings.crypto_core_ed25519_sub(first, second))
