"""One process that serves a tree of files and crawls it: the work behind ``demo.py``.

Run it as ``python -m hubbub_monkey crawl.py``. The crawlers use the standard library's ``urllib.request`` and know
nothing of hubbub; patching makes them cooperative. Every line on standard output is a JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import platform
import re
import ssl
import sys
import sysconfig
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import hubbub
import trustme
from greenlet import settrace
from hubbub_server import WSGIServer

PATIENCE = 30.0  # seconds that one request may take
SKIPPED = {"__pycache__", "site-packages", "test", "tests", "idle_test"}


def say(event: str, **facts: Any) -> None:
    """Report one fact to whoever started this process."""
    print(json.dumps({"event": event, **facts}), flush=True)


def sources(root: Path) -> dict[str, Path]:
    """The Python files below ``root`` by the path of their URL, tests and installed packages left out."""
    files = (path for path in sorted(root.rglob("*.py")) if not SKIPPED & set(path.relative_to(root).parts))
    return {"/" + urllib.parse.quote(path.relative_to(root).as_posix()): path for path in files}


class Site:
    """The WSGI application: an index page at ``/``, and the files."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        links = "\n".join(f'<li><a href="{html.escape(url)}">{html.escape(url[1:])}</a>' for url in files)
        self.index = f"<!DOCTYPE html>\n<title>Sources</title>\n<ul>\n{links}\n</ul>\n".encode()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        url = urllib.parse.quote(environ["PATH_INFO"].encode("latin-1"))
        if url == "/":
            return self.answer(start_response, "200 OK", "text/html; charset=utf-8", self.index)
        path = self.files.get(url)
        try:
            body = path.read_bytes() if path else None
        except OSError as error:
            text = f"{path}: {error.strerror}\n"
            return self.answer(start_response, "410 Gone", "text/plain; charset=utf-8", text.encode())
        if body is None:
            return self.answer(start_response, "404 Not Found", "text/plain; charset=utf-8", b"no such page\n")
        return self.answer(start_response, "200 OK", "text/x-python; charset=utf-8", body)

    @staticmethod
    def answer(start_response: Callable[..., Any], status: str, kind: str, body: bytes) -> list[bytes]:
        """Headers and body of one response."""
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]


class Crawl:
    """Fetches every page of every server with many greenlets at once, and compares each with the file on disk."""

    def __init__(self, files: dict[str, Path], trusted: ssl.SSLContext) -> None:
        self.files = files
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )
        self.latencies: list[float] = []
        self.failures = 0
        self.underway = 0
        self.most_underway = 0

    def fetch(self, url: str) -> bytes:
        """The body behind ``url``."""
        with self.opener.open(url, timeout=PATIENCE) as response:
            body: bytes = response.read()
        return body

    def links(self, base: str) -> list[str]:
        """The addresses that the index page of one server names."""
        page = self.fetch(f"{base}/").decode()
        return [base + html.unescape(link) for link in re.findall(r'href="([^"]+)"', page)]

    def check(self, url: str) -> None:
        """Fetch one page and compare it."""
        began = time.perf_counter()
        self.underway += 1
        self.most_underway = max(self.most_underway, self.underway)
        try:
            body = self.fetch(url)
            path = self.files[urllib.parse.urlsplit(url).path]
            if hashlib.sha256(body).digest() != hashlib.sha256(path.read_bytes()).digest():
                raise ValueError(f"the body differs from {path}")
        except Exception as error:
            self.failures += 1
            say("failure", url=url, reason=explain(error))
        finally:
            self.underway -= 1
        self.latencies.append(time.perf_counter() - began)
        if len(self.latencies) % 25 == 0:
            say("progress", done=len(self.latencies))

    def work(self, urls: Iterator[str]) -> None:
        """One crawler: takes the next address until none is left."""
        for url in urls:
            self.check(url)

    def run(self, urls: Iterable[str], crawlers: int) -> None:
        """Let ``crawlers`` greenlets share the addresses."""
        shared = iter(urls)
        hubbub.joinall([hubbub.spawn(self.work, shared) for _ in range(crawlers)], raise_error=True)


def explain(error: Exception) -> str:
    """An error in one line, with what the server said."""
    if isinstance(error, urllib.error.HTTPError):
        with error:
            return f"HTTP {error.code} {error.reason}: {error.read(500).decode(errors='replace').strip()}"
    return f"{type(error).__name__}: {error}"


class Switches:
    """Counts the greenlet switches of this thread."""

    def __init__(self) -> None:
        self.count = 0
        settrace(self._seen)

    def _seen(self, event: str, args: Any) -> None:
        self.count += 1


def peak_memory() -> int:
    """The most memory this process has had, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def allow_descriptors(wanted: int) -> None:
    """Raise this process's limit of open files, as far as it may."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for ``localhost``, and a client's that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that ``percent`` per cent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * percent // 100), 1) - 1]


def listen(site: Site, port: int, context: ssl.SSLContext | None) -> Any:
    """A server that runs.

    :raises SystemExit: the port cannot be had.
    """
    server = WSGIServer(("127.0.0.1", port), site, ssl_context=context, log=None)
    try:
        server.start()
    except OSError as error:
        say("error", text=f"cannot listen on 127.0.0.1:{port}: {error.strerror or error}")
        raise SystemExit(2) from None
    return server


def crawl(options: argparse.Namespace) -> int:
    """Serve, crawl, report; the exit status."""
    files = dict(list(sources(options.tree).items())[: options.files])
    if not files:
        say("error", text=f"no Python files below {options.tree}")
        return 2
    allow_descriptors(4 * options.crawlers)
    server_side, client_side = certificates()
    site = Site(files)
    plain = listen(site, options.port, None)
    secure = listen(site, options.tls_port, server_side)
    task = Crawl(files, client_side)
    switches = Switches()
    try:
        bases = [f"http://localhost:{plain.server_port}", f"https://localhost:{secure.server_port}"]
        urls = [url for pair in zip(*map(task.links, bases), strict=True) for url in pair]
        say("start", loop=hubbub.get_hub().loop.name, total=len(urls))
        began = time.perf_counter()
        task.run(urls, options.crawlers)
        seconds = time.perf_counter() - began
    except (OSError, ValueError) as error:
        say("error", text=f"the index page cannot be had: {error}")
        return 2
    finally:
        settrace(None)
        plain.stop()
        secure.stop()
    say(
        "end",
        requests=len(task.latencies),
        failures=task.failures,
        rate=len(task.latencies) / seconds,
        p50=percentile(task.latencies, 50),
        p99=percentile(task.latencies, 99),
        memory=peak_memory(),
        switches=switches.count,
        at_once=task.most_underway,
    )
    return 1 if task.failures else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=Path, default=Path(sysconfig.get_path("stdlib")), help="the files to serve")
    parser.add_argument("--files", type=int, default=None, help="serve no more than so many")
    parser.add_argument("--crawlers", type=int, default=500, help="greenlets that fetch at once")
    parser.add_argument("--port", type=int, default=0, help="of the plain server; 0 takes a free one")
    parser.add_argument("--tls-port", type=int, default=0, help="of the TLS server; 0 takes a free one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(crawl(arguments()))
