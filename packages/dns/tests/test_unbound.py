"""The resolvers that ask name servers, with unbound, which validates, shuffles records and is strict about queries."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hubbub
import pytest

UNBOUND = shutil.which("unbound", path="/usr/sbin:/usr/bin:/usr/local/sbin")
CONFIGURATION = """\
server:
    interface: 127.0.0.1
    port: {port}
    do-daemonize: no
    use-syslog: no
    logfile: "{folder}/log"
    pidfile: ""
    username: ""
    chroot: ""
    directory: "{folder}"
    do-ip6: no
    module-config: "iterator"
    local-zone: "test." static
    local-data: "host.test. 300 IN A 192.0.2.1"
    local-data: "host.test. 300 IN AAAA 2001:db8::1"
    local-data: "only4.test. 300 IN A 192.0.2.4"
    local-zone: "wild.test." redirect
    local-data: "wild.test. 300 IN A 192.0.2.9"
    local-data-ptr: "192.0.2.1 host.test"
    {many}
remote-control:
    control-enable: no
"""


@pytest.fixture
def unbound(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Where an unbound listens that knows a few names and asks nobody."""
    if UNBOUND is None:
        pytest.skip("unbound is not installed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # More addresses than fit a datagram of 1,232 bytes.
    many = "\n    ".join(f'local-data: "many.test. 300 IN A 192.0.2.{number}"' for number in range(1, 201))
    (tmp_path / "conf").write_text(CONFIGURATION.format(port=port, folder=tmp_path, many=many))
    with subprocess.Popen([UNBOUND, "-c", str(tmp_path / "conf")], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            else:
                pytest.skip("unbound does not start here")
            yield "127.0.0.1", port
        finally:
            process.kill()


def test_unbound(make: Any, unbound: tuple[str, int]) -> None:
    """Addresses, names of addresses and absence are what unbound says, also for a reply that needs TCP."""
    resolver = make(unbound)
    found = resolver.getaddrinfo("host.test", 80, type=socket.SOCK_STREAM)
    assert {entry[4][0] for entry in found} == {"192.0.2.1", "2001:db8::1"}
    assert resolver.gethostbyaddr("192.0.2.1")[0] == "host.test"
    assert sorted(resolver.gethostbyname_ex("many.test")[2]) == sorted(f"192.0.2.{n}" for n in range(1, 201))
    for name, family, error in (
        ("absent.test", socket.AF_INET, socket.EAI_NONAME),
        ("only4.test", socket.AF_INET6, socket.EAI_NODATA),
    ):
        with pytest.raises(socket.gaierror) as info:
            resolver.getaddrinfo(name, 80, family)
        assert info.value.errno == error


def test_many(make: Any, unbound: tuple[str, int]) -> None:
    """Hundreds of lookups at the same time are answered."""
    resolver = make(unbound)
    greenlets = [hubbub.spawn(resolver.gethostbyname, f"n{number}.wild.test") for number in range(300)]
    hubbub.joinall(greenlets, timeout=20)
    assert {greenlet.value for greenlet in greenlets} == {"192.0.2.9"}
