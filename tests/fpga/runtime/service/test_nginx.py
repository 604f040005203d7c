"""nginx before two pairs of daemons, as docs/how-to/operate-a-service.md has it: any pair may be killed."""

import contextlib
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from helpers.parties.served import Servers, asking, clear_images, free_port, wait_until, write_digits_sized_build

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
DOCUMENT = Path(__file__).parents[4] / "docs" / "how-to" / "operate-a-service.md"


def documented(section):
    """A block of the document's nginx configuration, by its first line."""
    block = re.search(r"```nginx\n(.*?)```", DOCUMENT.read_text(), re.DOTALL).group(1)
    return re.search(rf"^{section}.*?^}}", block, re.DOTALL | re.MULTILINE).group(0)


def configuration(root, ports, pairs):
    """The documented blocks for each party, on this machine's ports and in plain."""
    parts = [documented("map")]
    for party in (0, 1):
        servers = iter(pair.urls[party].removeprefix("http://") for pair in pairs)
        upstream = documented("upstream").replace("upstream pairs", f"upstream pairs{party}")
        parts.append(re.sub(r"127\.0\.0\.1:87\d\d", lambda found, servers=servers: next(servers), upstream))
        server = documented("server").replace("http://pairs", f"http://pairs{party}")
        parts.append(re.sub(r"listen 443 ssl;.*?\n( +ssl.*?\n)*", f"listen 127.0.0.1:{ports[party]};\n", server))
    kept = "".join(
        f"{name}_temp_path {root}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    joined = "\n".join(parts)
    return (
        f"daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;\n"
        f"events {{ worker_connections 512; }}\nhttp {{\n{kept}{joined}\n}}\n"
    )


@contextlib.contextmanager
def proxied(root, pairs):
    """nginx in front of both parties; the two addresses that clients know."""
    root.mkdir()
    ports = [free_port(), free_port()]
    (root / "nginx.conf").write_text(configuration(root, ports, pairs))
    command = [NGINX, "-e", str(root / "error.log"), "-p", str(root), "-c", str(root / "nginx.conf")]
    process = subprocess.Popen(command)
    try:
        yield tuple(f"http://127.0.0.1:{port}" for port in ports)
    finally:
        process.terminate()
        process.wait(20)


def answers(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/healthz", timeout=5) as reply:
        return reply.status == 200
    return False


def answered(pair):
    return pair.numbers(0).get('rrnet_requests_total{model="build",status="200"}', 0)


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
@pytest.mark.parametrize("comes_back", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_where_one_of_two_pairs_is_killed_no_request_is_lost_and_it_is_used_again_when_it_is_back(tmp_path, comes_back):
    for name in "ab":
        (tmp_path / name).mkdir()
        build = write_digits_sized_build(tmp_path / name / "build")
    images, classes = clear_images(build, 20)
    options = {"dealt": (1500, 1500), "options_of": (("--no-filling",), ())}
    with (
        Servers(tmp_path / "a", "--expiry", 2, **options) as first,
        Servers(tmp_path / "b", "--expiry", 2, **options) as second,
        proxied(tmp_path / "nginx", (first, second)) as urls,
    ):
        for url in urls:
            wait_until(lambda url=url: answers(url), "nginx does not answer")
        with asking(urls, images, classes, 4, attempts=5) as heard:
            wait_until(lambda: min(answered(first), answered(second)) >= 10, "one of the pairs gets no requests")
            for party in (0, 1):
                first.kill(party)
            before = len(heard.right)
            wait_until(lambda: len(heard.right) > before + 40 or heard.faults, "the other pair does not take over")
            if comes_back:
                for party in (1, 0):
                    first.start(party)
                first.wait_until_ready()
                wait_until(lambda: answered(first) >= 5 or heard.faults, "the pair is not used again")
    assert not heard.faults
    assert not heard.wrong
