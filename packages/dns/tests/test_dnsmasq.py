"""The resolvers that ask name servers, with a server that somebody else wrote."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DNSMASQ = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin:/usr/local/sbin")


@pytest.fixture
def dnsmasq(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Where a dnsmasq listens that knows a few names and asks nobody."""
    if DNSMASQ is None:
        pytest.skip("dnsmasq is not installed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "empty.conf").write_text("")
    command = [
        *(DNSMASQ, "--no-daemon", "--no-resolv", "--no-hosts", f"--conf-file={tmp_path / 'empty.conf'}"),
        *(f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--user=", "--group="),
        *("--host-record=host.test,192.0.2.1,2001:db8::1", "--cname=www.test,host.test", "--local=/test/"),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            else:
                pytest.skip("dnsmasq does not start here")
            yield "127.0.0.1", port
        finally:
            process.kill()


def test_dnsmasq(make: Any, dnsmasq: tuple[str, int]) -> None:
    """Addresses, aliases, names of addresses and absence are what dnsmasq says."""
    resolver = make(dnsmasq)
    assert resolver.gethostbyname_ex("www.test") == ("host.test", ["www.test"], ["192.0.2.1"])
    found = resolver.getaddrinfo("www.test", 80, type=socket.SOCK_STREAM)
    assert {entry[4][0] for entry in found} == {"192.0.2.1", "2001:db8::1"}
    assert resolver.gethostbyaddr("192.0.2.1")[0] == "host.test"
    with pytest.raises(socket.gaierror) as info:
        resolver.gethostbyname("absent.test")
    assert info.value.errno == socket.EAI_NONAME
