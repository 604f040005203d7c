"""`rrnet-2pc-top`: both servers of a private inference service, live in a terminal."""

from __future__ import annotations

import argparse
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live

from rrnet_nni.base.console import Parser, add_common_options, print_json, run_command
from rrnet_nni.base.tables import watched_table

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = ("lanes", "requests/s", "errors/s", "mean ms", "images/batch", "waiting", "material", "MB/s")


@dataclass
class Watched:
    """One server: its address and what it told before."""

    url: str
    before: dict[tuple[str, str], float] = field(default_factory=dict)
    before_s: float = 0.0

    def rows(self) -> Iterator[tuple[str, dict[str, float]]]:
        """Model -> its figures since the last look; nothing where the server does not answer."""
        now, numbers = time.monotonic(), read_numbers(self.url)
        passed = max(now - self.before_s, 1e-9)
        for model in sorted({model for _, model in numbers}):

            def since(name: str, model: str = model) -> float:
                return numbers.get((name, model), 0.0) - self.before.get((name, model), 0.0)

            answered, executed = since("rrnet_request_seconds_count"), since("rrnet_batch_images_count")
            yield (
                model,
                {
                    "lanes": numbers.get(("rrnet_link_lanes", model), 0.0),
                    "requests/s": answered / passed,
                    "errors/s": (since("rrnet_requests_total") - answered) / passed,
                    "mean ms": 1e3 * since("rrnet_request_seconds_sum") / answered if answered else 0.0,
                    "images/batch": since("rrnet_batch_images_sum") / executed if executed else 0.0,
                    "waiting": numbers.get(("rrnet_images_waiting", model), 0.0),
                    "material": numbers.get(("rrnet_material_left", model), 0.0),
                    "MB/s": since("rrnet_link_bytes_total") / passed / 1e6,
                },
            )
        self.before, self.before_s = numbers, now


def read_numbers(url: str) -> dict[tuple[str, str], float]:
    """What a server tells Prometheus, added up over labels other than the model; empty where it does not answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # numbers for the eye, of a server one runs
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=2, context=context) as reply:
            text = reply.read().decode()
    except (urllib.error.URLError, OSError, ValueError):
        return {}
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "le" not in sample.labels and "model" in sample.labels:
                key = sample.name, sample.labels["model"]
                found[key] = found.get(key, 0.0) + sample.value
    return found


def table(servers: Sequence[Watched]) -> Table:
    """All models at all servers."""
    rows, silent = [], []
    for number, server in enumerate(servers):
        models = list(server.rows())
        for model, figures in models:
            rows.append([str(number), model, *(f"{figures[name]:,.{2 if name == 'MB/s' else 0}f}" for name in FIGURES)])
        if not models:
            silent.append(f"{server.url} does not answer")
    header = ("server", "model", *FIGURES)
    return watched_table("Private inference", header, rows, left=2, caption="\n".join(silent) or None)


def run(options: argparse.Namespace) -> int:
    """Show until interrupted, or answer once."""
    servers = [Watched(url.rstrip("/")) for url in options.urls]
    for server in servers:
        list(server.rows())
    time.sleep(options.interval)
    if options.json:
        print_json([{"server": each.url, "models": dict(each.rows())} for each in servers])
        return 0
    if options.once:
        Console().print(table(servers))
        return 0
    with Live(table(servers), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(options.interval)
                live.update(table(servers), refresh=True)
        except KeyboardInterrupt:
            return 0


def _interval(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0.1 <= value <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0.1 to 60 seconds")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet-2pc-top`."""
    parser = Parser(prog="rrnet-2pc-top", description=__doc__)
    parser.add_argument("urls", nargs="+", metavar="URL", help="the servers, such as http://127.0.0.1:8700")
    parser.add_argument(
        "--interval", type=_interval, default=1.0, metavar="S", help="seconds between two tables (default 1)"
    )
    parser.add_argument("--once", action="store_true", help="print one table and exit")
    add_common_options(parser)
    return run_command(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
