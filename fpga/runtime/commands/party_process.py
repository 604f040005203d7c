"""One party as a process of its own: what `rrnet-2pc-run --party` does, on this machine or across two."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from typing import Any

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.progress import TimeLeft

from ...native.memory import keep_freed_memory
from ...native.threads import available_cores, use_threads
from ...program.build import Build, build_device, load_build
from ...protocols import get_execution
from ...protocols.party import Execution
from ..link.ahead import WAN
from ..link.tls import fingerprint, load_identity
from ..material.store import MaterialStore
from ..session.accounting import OPEN_LOGITS
from ..session.agreement import Terms
from ..session.inputs import ClientImages, load_build_images
from ..session.pacing import DEVICE_CLOCK, Pace
from ..session.quota import Quota
from ..session.session import Party
from .answer import default_batch, describe_run, recognized
from .party_options import certificate_pair, check_address, material_root, open_link, party_progress


def run_party(options: argparse.Namespace) -> dict[str, Any]:
    """Run one party's side of a session and return its answer."""
    number = options.party
    check_address(options)
    keep_freed_memory()
    use_threads(options.threads or available_cores())
    build = load_build(options.build, weights=number == 1)
    if number == 0 and options.input is None:
        raise Refusal("party 0 owns the images: name them with --input FILE")
    if number == 1 and options.input is not None:
        raise Refusal("party 1 does not see the images: --input belongs to party 0")
    execution = get_execution(options.protocol or build.protocol_name)
    loaded = _client_images(options, build, execution) if number == 0 else None
    images = None if loaded is None else loaded.words
    batch = options.batch or default_batch(execution, build.program)
    terms = Terms(
        build.program_digest,
        execution.name,
        options.reveal_to,
        None if images is None else len(images),
        batch,
        options.reveal or build.program.reveals,
        strands=1 if options.pace == DEVICE_CLOCK else options.strands,
        ahead=options.link == WAN and options.pace != DEVICE_CLOCK,
    )
    with MaterialStore(material_root(options), number) as store:
        store.check_program(terms.program_digest, terms.protocol)
        store.check_preprocessing(options.preprocessing)
        pair = certificate_pair(options)
        if pair is not None:
            store.bind_certificates(pair)
        with open_link(options) as link:
            pace = _pace(options, build, execution.name)
            progress = party_progress(options, build.program, OPEN_LOGITS, _time_left(build, terms))
            party = Party(number, build.program, execution, link, store, progress, pace, _quota(options))
            gc.freeze()  # what is there now stays: no use in looking through it while an image waits
            try:
                result = party.run(terms, images, build.weights if number == 1 else None)
            except (Refusal, ExecutionFault) as error:
                link.abort(str(error))
                raise
        answer = describe_run(number, build.program, execution, terms, result, store.description)
        if pace is not None:
            answer |= {"clock": pace.clock, "modelled_s": pace.modelled_s, "late_s": pace.late_s}
        if loaded is not None and not options.ends_with_parent:
            answer |= recognized(answer["logits"], build.images, loaded, terms.reveal)
        return answer


def _time_left(build: Build, terms: Terms) -> Callable[[str], str] | None:
    """What the cost model expects of every operation, image after image; the server learns their number too late."""
    if terms.images is None:
        return None
    efforts = {row["operation"]: row["latency_ms"] for row in build.report.get("traffic", ())}
    return TimeLeft(efforts, -(-terms.images // terms.batch))


def _client_images(options: argparse.Namespace, build: Build, execution: Execution) -> ClientImages:
    """The client's images; who started both parties has warned already."""
    loaded = load_build_images(options.input, build, execution.opens_narrow, options.units)
    if loaded.warning is not None and not options.ends_with_parent:
        sys.stderr.write(f"rrnet-2pc-run: {loaded.warning}\n")
    return loaded


def _quota(options: argparse.Namespace) -> Quota | None:
    if options.quota is None:
        return None
    (peer,) = load_identity(options.tls, options.listen is not None).peers
    return Quota(options.tls, fingerprint(peer), options.quota)


def _pace(options: argparse.Namespace, build: Build, protocol: str) -> Pace | None:
    return Pace(build.program, build_device(build), protocol) if options.pace == DEVICE_CLOCK else None
