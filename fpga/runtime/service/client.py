"""A client of two private inference servers. It needs numpy alone, and may be copied as this one file.

    classifier = PrivateClassifier(("https://zero.example:8700", "https://one.example:8701"))
    classes = classifier.predict(images)            # uint8 [N, channels, height, width]: pixels 0..255

Each server gets a share of every image that is uniformly random by itself, and answers a share of the logits. The
image stays private as long as the operators of the two servers do not pool what they know.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import secrets
import select
import socket
import ssl
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

SEED_BYTES = 16
MEDIA_TYPE = "application/octet-stream"
EXECUTION_HEADER = "rrnet-execution"
#: Answers after which asking again, under a fresh id and with fresh shares, may succeed.
PASSING = (408, 409, 429, 500, 502, 503, 504)


class ServiceFault(Exception):
    """The servers did not answer, or not as they should; the sentence says which and why."""


class BadImages(Exception):
    """Images that the model does not take."""


class _Reply(NamedTuple):
    status: int
    body: bytes
    execution: str
    retry_s: float


class PrivateClassifier:
    """Classifies images that no server sees. One instance belongs to one thread.

    Args:
        urls: party 0's and party 1's server.
        model: its name at both servers; may be left out where they have one.
        pins: SHA-256 fingerprints (hexadecimal) of the two servers' certificates, instead of the usual authorities.
        timeout_s, attempts: of one attempt, and how many are made before a fault is raised.
    """

    def __init__(
        self,
        urls: Sequence[str],
        model: str | None = None,
        *,
        pins: Sequence[str] | None = None,
        timeout_s: float = 30.0,
        attempts: int = 5,
    ) -> None:
        if len(urls) != 2:
            raise ServiceFault("two servers are needed: party 0's address and party 1's")
        self._servers = [_Server(url, pins[i] if pins else None, timeout_s) for i, url in enumerate(urls)]
        self._attempts, self._timeout_s = attempts, timeout_s
        self.model = self._only_model() if model is None else model
        self.description = self._describe()

    def __enter__(self) -> PrivateClassifier:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        for server in self._servers:
            server.close()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class of every image, int [N].

        Args:
            images: [N, *shape]; uint8 are pixels, made into the model's units as it says; all else is in them already.

        Raises BadImages for another shape or values beyond the model's, ServiceFault for no answer after all attempts.
        """
        return np.argmax(self.logits(images).reshape(len(images), -1), axis=1)

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty where the model has none."""
        return list((self.description["images"] or {"classes": ()})["classes"])

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The model's outputs, float64 [N, *shape]; raises as `predict` does."""
        words = self._encode(np.asarray(images))
        step = int(self.description["images_per_request"])
        parts = [self._ask(words[start : start + step]) for start in range(0, len(words), step)]
        output = self.description["output"]
        shape = tuple(output["shape"])
        total = np.concatenate(parts) if parts else np.zeros((0, *shape), np.uint32)
        scale = np.array(output["scale"]).reshape(-1, *(1,) * (len(shape) - 1))
        return np.ldexp(total.view(np.int32).astype(np.float64), -output["fraction_bits"]) / scale

    def _encode(self, images: np.ndarray) -> np.ndarray:
        """Fixed-point words, uint32 [N, *shape]."""
        expected = self.description["input"]
        if images.shape[1:] != tuple(expected["shape"]) or images.dtype.kind not in "fiub":
            wanted = ", ".join(map(str, ("N", *expected["shape"])))
            raise BadImages(f"images are {images.dtype} {list(images.shape)}; the model takes numbers [{wanted}]")
        values = images.astype(np.float64)
        known = self.description["images"]
        if images.dtype == np.uint8:
            if known is None:
                raise BadImages("this model does not say what it makes of pixels: give floats in its own units")
            mean, std = (np.array(known[key]).reshape(-1, 1, 1) for key in ("mean", "std"))
            values = values / known["scale"]
            if bound := known.get("contrast_bound"):
                apart = values - (middle := values.mean((1, 2, 3), keepdims=True))
                contrast = np.maximum(apart.std((1, 2, 3)), 0.4 * np.abs(apart).max((1, 2, 3)))[:, None, None, None]
                values = middle + apart * (bound / np.maximum(contrast, bound))
            values = (values - mean) / std
        scaled = np.rint(np.ldexp(values, expected["fraction_bits"]))
        if not (np.abs(scaled) < 2.0 ** expected["word_bits"]).all():
            limit = 2.0 ** (expected["word_bits"] - expected["fraction_bits"])
            raise BadImages(f"images have values that are not finite or beyond {limit:g}, the limit of this model")
        return scaled.astype(np.int64).astype(np.uint32)

    def _ask(self, words: np.ndarray) -> np.ndarray:
        """One request to both servers, again under fresh shares where that may help; the sum of their answers."""
        for attempt in range(self._attempts):
            replies, problem = self._attempt(words)
            if problem is None:
                return self._add(replies, len(words))
            if attempt + 1 == self._attempts or any(reply.status not in (200, *PASSING) for reply in replies):
                break
            time.sleep(max([0.1 * 2**attempt * random.uniform(0.5, 1.5), *(reply.retry_s for reply in replies)]))
        raise ServiceFault(problem)

    def _attempt(self, words: np.ndarray) -> tuple[list[_Reply], str | None]:
        """What the servers replied, and what is wrong with it."""
        seed, request_id = secrets.token_bytes(SEED_BYTES), secrets.token_hex(16)
        own = np.frombuffer(hashlib.shake_256(seed).digest(words.nbytes), "<u4").reshape(words.shape)
        bodies = (words - own).astype("<u4").tobytes(), seed
        path = f"/v1/models/{urllib.parse.quote(self.model)}/requests/{request_id}?images={len(words)}"
        path += f"&program={self.description['program']}"
        problems = [problem for server, body in zip(self._servers, bodies) if (problem := server.send(path, body))]
        if problems:
            self.close()
            return [], problems[0]
        replies = []
        for server in self._by_readiness():
            replies.append(server.receive())
            if replies[-1].status != 200:
                self.close()  # the other one may wait for a half that never comes
                return replies, f"{server.url}: {_sentence(replies[-1])}"
        if replies[0].execution != replies[1].execution:
            return replies, "the two servers answered from different executions"
        return replies, None

    def _by_readiness(self) -> list[_Server]:
        """The two servers, the one that answers first in front."""
        ready, _, _ = select.select([server.socket for server in self._servers], [], [], self._timeout_s)
        return sorted(self._servers, key=lambda server: server.socket not in ready)

    def _add(self, replies: Sequence[_Reply], images: int) -> np.ndarray:
        shape = (images, *self.description["output"]["shape"])
        if any(len(reply.body) != 4 * int(np.prod(shape)) for reply in replies):
            raise ServiceFault("a server's share has another size than the model's output")
        first, second = (np.frombuffer(reply.body, "<u4").astype(np.uint32) for reply in replies)
        return (first + second).reshape(shape)

    def _only_model(self) -> str:
        names = self._servers[0].get("/v1/models")["models"]
        if len(names) != 1:
            raise ServiceFault(f"the servers have several models, name one: {', '.join(names)}")
        return str(names[0])

    def _describe(self) -> dict[str, Any]:
        first, second = (server.get(f"/v1/models/{urllib.parse.quote(self.model)}") for server in self._servers)
        for party, said in enumerate((first, second)):
            if said["party"] != party:
                raise ServiceFault(f"{self._servers[party].url} is not the server of party {party}")
        for key in ("program", "protocol", "input", "output"):
            if first[key] != second[key]:
                raise ServiceFault(f"the two servers differ in the model's {key}")
        return first


class _Server:
    """One kept connection to one server."""

    def __init__(self, url: str, pin: str | None, timeout_s: float) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServiceFault(f"{url!r} is not an address of a server")
        self.url, self._pin, self._timeout_s = url.rstrip("/"), pin, timeout_s
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._named = parts.netloc.rpartition("@")[2]
        self._encrypted = parts.scheme == "https"
        self._connection: http.client.HTTPConnection | None = None

    @property
    def socket(self) -> socket.socket:
        """Of the open connection."""
        return self._open().sock

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str) -> dict[str, Any]:
        """A JSON object."""
        try:
            self._say("GET", path)
            reply = self._read("GET")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ServiceFault(f"{self.url} does not answer ({error})") from error
        if reply.status != 200:
            raise ServiceFault(f"{self.url}: {_sentence(reply)}")
        return dict(json.loads(reply.body))

    def send(self, path: str, body: bytes) -> str | None:
        """Send a half; what went wrong, or None."""
        fresh = self._connection is None
        try:
            self._say("POST", path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # a kept connection that the server had closed is no fault: nothing was executed
            return f"{self.url} does not answer ({error})" if fresh else self.send(path, body)
        return None

    def receive(self) -> _Reply:
        """The answer to what was sent; as 503, which is worth another attempt, where there is none."""
        try:
            return self._read("POST")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return _Reply(503, json.dumps({"error": f"no answer ({error or type(error).__name__})"}).encode(), "", 0.0)

    def _say(self, method: str, path: str, body: bytes = b"") -> None:
        """A request in one piece; `http.client` would send head and body in two, and be read in two."""
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\nHost: {self._named}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        self._open().sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _read(self, method: str) -> _Reply:
        with http.client.HTTPResponse(self._open().sock, method=method) as response:
            response.begin()
            body, named = response.read(), response.headers
        if response.will_close:
            self.close()
        retry = named.get("retry-after", "")
        retry_s = float(retry) if retry.isdecimal() else 0.0
        return _Reply(response.status, body, named.get(EXECUTION_HEADER, ""), retry_s)

    def _open(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = self._connect()
            try:
                self._connection.connect()
                self._check_pin(self._connection)
            except ServiceFault:
                self.close()
                raise
        return self._connection

    def _connect(self) -> http.client.HTTPConnection:
        if not self._encrypted:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        context = ssl.create_default_context()
        if self._pin is not None:  # then this certificate counts and nobody's word about it
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context)

    def _check_pin(self, connection: http.client.HTTPConnection) -> None:
        if self._pin is None:
            return
        if not isinstance(connection.sock, ssl.SSLSocket):
            raise ServiceFault(f"{self.url} is not HTTPS, its certificate cannot be pinned")
        found = hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()
        if found != self._pin.replace(":", "").lower():
            raise ServiceFault(f"{self.url} shows another certificate than the pinned one")


def _sentence(reply: _Reply) -> str:
    """What a server said of its failure."""
    try:
        return str(json.loads(reply.body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {reply.status}"
