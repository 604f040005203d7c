"""All seeds but one: the (2^k − 1)-out-of-2^k transfers that the OT extension starts from.

Per block a GGM tree of depth k has 2^k seeds as leaves. The owner of the tree offers, per level, the sum of all left
and of all right children, masked with the two keys of a base OT; the other party takes the side that its secret leaf Δ
does not lie on and can compute every leaf except Δ (Roy, "SoftSpokenOT", CRYPTO 2022).
"""

from __future__ import annotations

import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ...party import Channel
from .base_ot import KEY_BYTES, POINT_BYTES, receive_base_ots, send_base_ots

SECURITY_BITS = 128
#: Depth of a tree: bits of Δ that one block covers.
DEPTH = 4
LEAVES = 1 << DEPTH
BLOCKS = SECURITY_BITS // DEPTH

#: Octets by the owner of the trees and by the other party.
OWNER_BYTES = POINT_BYTES + SECURITY_BITS * 2 * KEY_BYTES
CHOOSER_BYTES = SECURITY_BITS * POINT_BYTES


def own_trees(channel: Channel) -> np.ndarray:
    """All leaves: uint8 [BLOCKS, LEAVES, 16]."""
    keys = send_base_ots(channel, SECURITY_BITS).reshape(BLOCKS, DEPTH, 2, KEY_BYTES)
    nodes = np.frombuffer(os.urandom(BLOCKS * KEY_BYTES), np.uint8).reshape(BLOCKS, 1, KEY_BYTES)
    sums = np.empty_like(keys)
    for level in range(DEPTH):
        children = _children(nodes)
        sums[:, level] = np.bitwise_xor.reduce(children, axis=1)
        nodes = children.reshape(BLOCKS, -1, KEY_BYTES)
    channel.exchange(sums ^ keys, 0)
    return nodes


def choose_leaves(channel: Channel) -> tuple[np.ndarray, np.ndarray]:
    """Secret places Δ uint8 [BLOCKS] in [0, LEAVES), and all leaves but those: uint8 [BLOCKS, LEAVES, 16].

    The leaf at Δ is zero.
    """
    secret = np.frombuffer(os.urandom(BLOCKS), np.uint8) % LEAVES
    path = (secret[:, None] >> np.arange(DEPTH - 1, -1, -1, dtype=np.uint8)) & 1
    keys = receive_base_ots(channel, [int(bit) for bit in (1 - path).reshape(-1)]).reshape(BLOCKS, DEPTH, KEY_BYTES)
    masked = channel.exchange(None, SECURITY_BITS * 2 * KEY_BYTES).reshape(BLOCKS, DEPTH, 2, KEY_BYTES)
    blocks = np.arange(BLOCKS)
    hole = np.zeros(BLOCKS, np.int64)
    nodes = np.zeros((BLOCKS, 1, KEY_BYTES), np.uint8)
    for level in range(DEPTH):
        children = _children(nodes)
        children[blocks, hole] = 0
        side = 1 - path[:, level]
        total = masked[blocks, level, side] ^ keys[:, level]
        known = np.bitwise_xor.reduce(children, axis=1)[blocks, side]
        children[blocks, hole, side] = total ^ known
        nodes = children.reshape(BLOCKS, -1, KEY_BYTES)
        hole = 2 * hole + path[:, level]
    return secret, nodes


def _children(nodes: np.ndarray) -> np.ndarray:
    """Both children of every node [BLOCKS, n, 16]: AES under the node of two constants, [BLOCKS, n, 2, 16]."""
    counters = bytes(KEY_BYTES) + (1).to_bytes(KEY_BYTES, "big")
    octets = b"".join(
        Cipher(algorithms.AES(node.tobytes()), modes.ECB()).encryptor().update(counters)
        for node in nodes.reshape(-1, KEY_BYTES)
    )
    return np.frombuffer(octets, np.uint8).reshape(*nodes.shape[:2], 2, KEY_BYTES).copy()
