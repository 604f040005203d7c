"""The HTTP side of a daemon: shares in, shares of the logits out, and what people and monitors look at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..models.halves import Answer, Duplicate, Half, Interrupted, Overload, Withdrawn
from ..models.model import Model
from ..telemetry import Telemetry
from .intake import MEDIA_TYPE, Rejected, check_length, check_request_id, image_count, read_share
from .limits import RateLimit

EXECUTION_HEADER = "rrnet-execution"
#: What is waited beyond a half's expiry for an execution that has begun.
EXECUTION_S = 120.0
#: The page asks both parties' servers, and runs nothing but its own scripts.
PAGE_POLICY = "default-src 'self'; connect-src *; img-src 'self' blob: data:; frame-ancestors 'none'"
PAGE_FILES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "client.js": "text/javascript; charset=utf-8",
}


@dataclass
class Desk:
    """What all requests share.

    Args:
        models: by name.
        telemetry: counts them.
        rate: per client's address.
        expiry_s: how long a half waits for its partner, and a body for its end.
        servers: public addresses of both parties' servers, for the page; empty where they are not known.
        draining: no new requests are taken.
    """

    models: Mapping[str, Model]
    telemetry: Telemetry
    rate: RateLimit
    expiry_s: float
    servers: tuple[str, ...] = ()
    draining: bool = False
    party: int = 0

    def ready(self, model: Model) -> bool:
        """Whether requests for a model can be executed now."""
        return not self.draining and model.lanes.up > 0 and model.pool.left() > 0


class Pages:
    """The endpoints."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def classify(self, request: Request) -> Response:
        """One half of a request; answered when both servers have executed it."""
        desk, model = self._desk, self._model(request)
        status = 500
        try:
            half = await self._take_half(request, model)
            answer = await self._executed(request, model, half)
            status = 200
        except Rejected as rejected:
            status = rejected.status
            raise
        finally:
            desk.telemetry.requests.labels(model.name, status).inc()
        desk.telemetry.latency.labels(model.name).observe(time.monotonic() - half.arrived_s)
        body = answer.share.astype("<u4", copy=False).tobytes()
        desk.telemetry.client_bytes.labels(model.name, "sent").inc(len(body))
        return Response(body, media_type=MEDIA_TYPE, headers={EXECUTION_HEADER: answer.execution})

    async def describe(self, request: Request) -> Response:
        """What a client needs to know of a model."""
        return JSONResponse({**self._model(request).describe(), "servers": list(self._desk.servers)})

    async def models(self, request: Request) -> Response:
        """The models' names."""
        return JSONResponse({"party": self._desk.party, "models": list(self._desk.models)})

    async def health(self, request: Request) -> Response:
        """200 when every model can be asked for that was there from the start or has been ready before."""
        desk = self._desk
        known = list(desk.models.items())
        models = {
            name: {"ready": desk.ready(model), "lanes": model.lanes.up, "material": model.pool.left()}
            for name, model in known
        }
        ready = all(models[name]["ready"] for name, model in known if model.lanes.awaited)
        state = {"party": desk.party, "ready": ready, "draining": desk.draining, "models": models}
        return JSONResponse(state, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._desk.telemetry.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(self, request: Request) -> Response:
        """The page for people, and its parts."""
        name = request.path_params.get("file", "index.html")
        if name not in PAGE_FILES:
            raise Rejected(404, "there is nothing under this address")
        content = resources.files(__package__).joinpath("page", name).read_bytes()
        headers = {"content-security-policy": PAGE_POLICY, "cache-control": "no-cache"}
        return Response(content, media_type=PAGE_FILES[name], headers=headers)

    def _model(self, request: Request) -> Model:
        model = self._desk.models.get(request.path_params["model"])
        if model is None:
            raise Rejected(404, "this server has no model of that name; GET /v1/models lists them")
        return model

    async def _take_half(self, request: Request, model: Model) -> Half:
        """Read and queue a half."""
        desk = self._desk
        if desk.draining:
            raise Rejected(503, "this server is being shut down", 1.0)
        wait_s = desk.rate.wait_s(request.client.host if request.client else "")
        if wait_s:
            raise Rejected(429, "too many requests from this address", wait_s)
        request_id = check_request_id(request.path_params["request_id"])
        if request.headers.get("content-type") != MEDIA_TYPE:
            raise Rejected(415, f"the body must be {MEDIA_TYPE}")
        program = request.query_params.get("program", model.build.program_digest)
        if program != model.build.program_digest:
            raise Rejected(412, "this model was replaced by another one meanwhile: read its description anew")
        images = image_count(request.query_params.get("images"), model)
        size = check_length(request.headers.get("content-length"), model, images)
        if not model.lanes.up:
            raise Rejected(503, "the two servers have no connection to each other at the moment", 1.0)
        if model.pool.left() < model.halves.images + images:
            raise Rejected(503, "there is no material left; the servers are making more", 5.0)
        try:
            async with asyncio.timeout(desk.expiry_s):
                body = await request.body()
        except TimeoutError:
            raise Rejected(408, f"the body did not arrive within {desk.expiry_s:g} s") from None
        except ClientDisconnect:
            raise Rejected(400, "the client left") from None
        if len(body) != size:
            raise Rejected(400, "the body is shorter than its Content-Length")
        desk.telemetry.client_bytes.labels(model.name, "received").inc(size)
        half = Half(request_id, read_share(body, model, images))
        try:
            model.halves.add(half)
        except Overload:
            raise Rejected(503, "too many images are waiting", 1.0) from None
        except Duplicate:
            raise Rejected(409, "a request of this id is being executed; draw a fresh id for every request") from None
        return half

    async def _executed(self, request: Request, model: Model, half: Half) -> Answer:
        """The half's answer; a client that leaves takes its half along, unless it is being executed."""
        answer = asyncio.wrap_future(half.answer)
        left = asyncio.ensure_future(request.receive())  # the body was read: what comes next is the client's end
        awaited: list[asyncio.Future[Any]] = [answer, left]
        expiry_s = self._desk.expiry_s
        try:
            await asyncio.wait(awaited, timeout=expiry_s, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and model.halves.withdraw(half):
                raise Withdrawn
            async with asyncio.timeout(EXECUTION_S):
                return await answer
        except Withdrawn:
            late = f"the other half did not arrive within {expiry_s:g} s"
            raise Rejected(408, "the client left" if left.done() else late) from None
        except TimeoutError:
            raise Rejected(504, "the execution takes too long") from None
        except Interrupted as interrupted:
            raise Rejected(502, f"{interrupted}; ask again under a fresh id", 1.0) from None
        finally:
            left.cancel()
            model.halves.withdraw(half)


async def _reject(request: Request, error: Exception) -> Response:
    """One sentence, as JSON."""
    if not isinstance(error, Rejected):
        raise error
    headers = {} if error.retry_s is None else {"retry-after": str(max(1, round(error.retry_s)))}
    return JSONResponse({"error": error.sentence}, error.status, headers=headers)


def web_application(desk: Desk) -> Starlette:
    """The ASGI application."""
    pages = Pages(desk)
    routes = [
        Route("/v1/models/{model}/requests/{request_id}", pages.classify, methods=["POST"]),
        Route("/v1/models/{model}", pages.describe),
        Route("/v1/models", pages.models),
        Route("/healthz", pages.health),
        Route("/metrics", pages.metrics),
        Route("/", pages.page),
        Route("/{file}", pages.page),
    ]
    # No cookie and no credential is ever looked at, so pages of any origin may ask.
    cors = Middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["content-type"],
        expose_headers=[EXECUTION_HEADER, "retry-after"],
        max_age=86400,
    )
    return Starlette(routes=routes, middleware=[cors], exception_handlers={Rejected: _reject})
