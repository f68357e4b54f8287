"""The C library is the oracle: with the same files, server and network the same results, errors and order."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("glibc_program.py")
UNSHARE = ["unshare", "--mount", "--net"]


def can_have_namespaces() -> bool:
    if platform.libc_ver()[0] != "glibc" or os.geteuid() or not all(map(shutil.which, ("unshare", "ip", "mount"))):
        return False
    tried = [
        *UNSHARE,
        "sh",
        "-c",
        "ip link set lo up && ip link add d0 type veth peer name d1 && mount --bind /etc /etc",
    ]
    return subprocess.run(tried, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not can_have_namespaces(), reason="needs glibc, root and namespaces with veth")
GAI_CONF = {
    "none": "",
    "ipv4-first": "precedence ::ffff:0:0/96 100\nlabel ::1/128 0\nlabel ::/0 1\nlabel ::ffff:0:0/96 4\n",
    "own": "precedence 2001:db8:1::/48 3\nlabel 2001:db8:2::/48 9\nscopev4 ::ffff:10.0.0.0/104 5\n",
}


def differences(*args: str) -> list[str]:
    done = subprocess.run([*UNSHARE, sys.executable, str(PROGRAM), *args], capture_output=True, text=True, timeout=100)
    lines = done.stdout.splitlines()
    assert lines[-1:] == ["compared"], done.stdout + done.stderr
    return lines[:-1]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["ares", "dnspython", "thread"])
def test_names(kind: str) -> None:
    """Names and addresses in all spellings are understood, asked for and refused as by the C library."""
    assert differences("names", kind, "", "0") == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("gai_conf", GAI_CONF)
@pytest.mark.parametrize("kind", ["ares", "dnspython"])
def test_order(kind: str, gai_conf: str) -> None:
    """Addresses come in the C library's order where both families are routed, with gai.conf and without."""
    assert differences("order", kind, GAI_CONF[gai_conf], "2026") == []
