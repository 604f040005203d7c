"""The two-party execution from Python: both parties in one process, or one party on a link of its own.

    build = load_build("build/")
    images = share_words(encode_images(build.program, np.load("images.npy")))
    executed = execute(build.program, images, share_weights(build.weights), get_execution("masked"))
    logits = decode_tensor(build.program, build.program.output, executed.output)

and, at the client, against a server on another machine:

    with MaterialStore(Path("build.material"), 0) as store, Link(connect("server:7700", 60), "the server") as link:
        party = Party(0, build.program, get_execution("masked"), link, store)
        result = party.run(Terms(build.program_digest, "masked", reveal_to=0, images=len(words), batch=16), words)
"""

from __future__ import annotations

from .program.build import load_build
from .program.reference import decode_tensor, encode_images
from .protocols import executions, get_execution
from .runtime.link.addresses import connect
from .runtime.link.link import Link
from .runtime.link.listener import accept_one
from .runtime.link.tls import secure
from .runtime.material.store import MaterialStore
from .runtime.session.agreement import Terms
from .runtime.session.in_process import Executed, execute, share_weights, share_words
from .runtime.session.session import Party, SessionResult

__all__ = [
    "Executed",
    "Link",
    "MaterialStore",
    "Party",
    "SessionResult",
    "Terms",
    "accept_one",
    "connect",
    "decode_tensor",
    "encode_images",
    "execute",
    "executions",
    "get_execution",
    "load_build",
    "secure",
    "share_weights",
    "share_words",
]
