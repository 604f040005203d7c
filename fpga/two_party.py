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

from .board.addresses import accept_one, connect
from .board.executions import EXECUTIONS, get_execution
from .board.in_process import Executed, execute, share_weights, share_words
from .board.link import Link
from .board.session import Party, SessionResult, Terms
from .board.store import MaterialStore
from .board.tls import secure
from .compiler.build import load_build
from .compiler.reference import decode_tensor, encode_images

__all__ = [
    "EXECUTIONS",
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
    "get_execution",
    "load_build",
    "secure",
    "share_weights",
    "share_words",
]
