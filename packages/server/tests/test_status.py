"""The status of a running ``hubbub-serve``."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from served_process import APPLICATION, began, free_port, get, until

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals and fork")]


def status(port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(port, "/-/status"))
    return found


@pytest.fixture
def served(start: Any) -> tuple[Any, int, int]:
    """Two workers that serve, the port of theirs and that of the status."""
    port, own = free_port(), free_port()
    options = ["-b", f"127.0.0.1:{port}", "-w", "2", "--no-monkey", "--access-log", "none", "--status", f":{own}"]
    process = start("site_app:app", *options)
    until(lambda: status(own)["workers_serving"] == 2)
    return process, port, own


def test_answers_while_all_workers_compute(start: Any, folder: Path) -> None:
    """While each worker computes the status is shown, of each for how long it was silent."""
    busy = "while not os.path.exists('enough'): pass"
    (folder / "site_app.py").write_text(APPLICATION.replace("signal.sigtimedwait([], 2)", busy))
    port, own = free_port(), free_port()
    options = ["-b", f"127.0.0.1:{port}", "-w", "2", "--no-monkey", "--access-log", "none", "--status", f":{own}"]
    start("site_app:app", *options)
    until(lambda: status(own)["workers_serving"] == 2)
    get(own, "/-/metrics")
    reached: list[socket.socket] = []
    with contextlib.ExitStack() as clients:
        for _ in range(2):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            client.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            reached.append(client)
            began(folder, "/hold", len(reached))  # the next finds this worker busy, and so the other one
        until(lambda: all((one["silent_seconds"] or 0) > 0.4 for one in status(own)["workers"]))
        for path in ("/-/health", "/-/status", "/-/metrics") * 3:
            assert get(own, path)
        assert all(one["silent_seconds"] > 0.4 for one in status(own)["workers"])
        (folder / "enough").touch()


def test_nothing_that_was_counted_is_lost(served: Any) -> None:
    """Requests are counted in all, workers that were killed, replaced and reloaded meanwhile included."""
    process, port, own = served
    for _ in range(10):
        get(port)
    until(lambda: status(own)["total"]["requests"] == 10)
    (victim, _) = [one["pid"] for one in status(own)["workers"]]
    os.kill(victim, signal.SIGKILL)
    until(lambda: status(own)["ends"]["died"] == 1)
    until(lambda: status(own)["workers_serving"] == 2)
    for _ in range(10):
        get(port)
    process.signal(signal.SIGHUP)
    until(lambda: [one["generation"] for one in status(own)["workers"]] == [1, 1])
    until(lambda: get(port))
    found = status(own)
    assert found["total"]["requests"] >= 20
    assert found["total"]["responses"]["2xx"] == found["total"]["requests"]
    assert (found["reloads"], found["starts"]) == (1, 5)
    until(lambda: status(own)["total"]["requests"] == 21)


def test_health_of_a_service_that_ends(served: Any, folder: Path) -> None:
    """While the last requests are answered it is unhealthy, so that a balancer sends no more."""
    process, port, own = served
    thread = threading.Thread(target=get, args=(port, "/slow"))
    thread.start()
    began(folder, "/slow")
    assert get(own, "/-/health") == "ok\n"
    process.signal(signal.SIGTERM)
    with contextlib.suppress(ConnectionResetError, http.client.HTTPException):
        until(lambda: get(own, "/-/health") == "stopping\n")
    thread.join(30)
    assert process.ends() == 0


def test_stuck_worker_is_counted(start: Any) -> None:
    """A worker that stood still for too long is counted as such, and its number is given to the next."""
    port, own = free_port(), free_port()
    options = ["-b", f"127.0.0.1:{port}", "-w", "1", "--stuck-seconds", "1", "--status", str(own)]
    start("site_app:app", *options, "--access-log", "none")
    get(port)
    with contextlib.suppress(http.client.RemoteDisconnected, ConnectionResetError):
        get(port, "/stand")
    until(lambda: status(own)["ends"] == {"died": 0, "stuck": 1, "late": 0})
    until(lambda: [one["number"] for one in status(own)["workers"]] == [0])


def test_alone(start: Any, folder: Path) -> None:
    """Without --workers there is one worker, so that there is a supervisor to answer; on a UNIX socket too."""
    port = free_port()
    path = folder / "status"
    options = ["-b", f"127.0.0.1:{port}", "--no-monkey", "--status", f"unix:{path}?mode=600"]
    start("site_app:app", *options)
    assert get(port).split()[2] == "False"  # wsgi.multiprocess
    assert path.stat().st_mode & 0o777 == 0o600

    def health() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(path))
            sock.sendall(b"GET /-/health HTTP/1.0\r\n\r\n")
            return sock.recv(1000)

    until(lambda: health().startswith(b"HTTP/1.1 200"))  # soon: the worker tells how it is four times a second


def test_addresses(start: Any) -> None:
    """A port alone is one of the loopback interface; an address that is in use ends the start, and says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        process = start("site_app:app", "-b", "127.0.0.1:0", "--no-monkey", "--status", str(number))
        assert process.ends() == 1
    assert f"('127.0.0.1', {number})" in process.said
    assert "Traceback" not in process.said


def test_off_by_default(start: Any) -> None:
    """Without --status nobody is told anything, on no address."""
    port = free_port()
    start("site_app:app", "-b", f"127.0.0.1:{port}", "--no-monkey", "-w", "1")
    assert get(port, "/-/status").startswith("1 ")  # the application's


# The page ------------------------------------------------------------------------------------------------------------

BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)


def test_page_has_nothing_from_elsewhere(served: Any) -> None:
    """The page is one file: nothing is loaded from anywhere, and its policy lets nothing else run."""
    _, _, own = served
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", own, timeout=30)) as connection:
        connection.request("GET", "/-/")
        response = connection.getresponse()
        page = response.read().decode()
    assert "://" not in page.replace("http://www.w3.org", "")
    assert "src=" not in page
    assert "default-src 'none'" in (response.getheader("Content-Security-Policy") or "")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_page_in_a_browser(served: Any, tmp_path: Path) -> None:
    """In a browser the page shows the state, the figures and a row for each worker, and goes on to show them."""
    _, port, own = served
    for _ in range(7):
        get(port)
    until(lambda: status(own)["total"]["requests"] == 7)
    assert BROWSER is not None
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *(f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=4000", "--enable-logging=stderr"),
            *("--dump-dom", f"http://127.0.0.1:{own}/-/"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    page = done.stdout
    assert '<span id="state" role="status" class="good">serving</span>' in page, page + done.stderr
    assert "<dt>requests</dt><dd>7</dd>" in page
    assert page.count("<td>serving</td>") == 2
    points = page.partition('<polyline points="')[2].partition('"')[0]
    assert len(points.split()) >= 1  # it has asked a second time
    assert "Content Security Policy" not in done.stderr
    assert "Uncaught" not in done.stderr
