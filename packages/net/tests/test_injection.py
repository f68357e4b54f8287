"""System calls that fail now and then change no byte. The failures are made by strace."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hubbub import plugins

PROGRAM = Path(__file__).with_name("echo_program.py")
TRANSFERS = "recvfrom,sendto,sendmsg,accept4"
POLLS = "epoll_wait,epoll_pwait,epoll_pwait2,poll,ppoll,select,pselect6"


def run(loop: str, protocol: str, chain: str, calls: str, error: str) -> None:
    """Let every third of some system calls fail while data goes round."""
    trace = Path(chain).with_name("trace")
    tracer = f"strace -f -qq -o {trace} -e trace={calls} -e inject={calls}:error={error}:when=2+3"
    done = subprocess.run(
        [*tracer.split(), sys.executable, str(PROGRAM), loop, protocol, chain],
        capture_output=True,
        text=True,
        timeout=50,
    )
    if "ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    assert trace.read_text().count("(INJECTED)") >= 1


pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_interrupted_polls(loop_name: str, protocol: str, certificates: Any) -> None:
    """A loop whose waits are interrupted by signals (EINTR) loses nothing."""
    run(loop_name, protocol, certificates.bundle, POLLS, "EINTR")


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_interrupted_transfers(loop_name: str, protocol: str, certificates: Any) -> None:
    """EINTR from recv, send and accept is not seen, and loses nothing."""
    run(loop_name, protocol, certificates.bundle, TRANSFERS, "EINTR")


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_false_alarms(loop_name: str, protocol: str, certificates: Any) -> None:
    """EAGAIN from a descriptor that was reported ready means another wait.

    An edge-triggered loop relies on the kernel to report a change after it has said EAGAIN, as epoll(7) promises;
    made-up EAGAIN breaks that promise.
    """
    if plugins.load(plugins.LOOPS, loop_name).edge_triggered:
        pytest.skip("an edge-triggered loop relies on the kernel's EAGAIN")
    run(loop_name, protocol, certificates.bundle, TRANSFERS, "EAGAIN")
