# /// script
# dependencies = ["parallel-ssh>=2.12"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# programs = ["sshd", "ssh-keygen"]
# debian = ["openssh-server"]
# ///
"""parallel-ssh over OpenSSH's server: commands on many connections at once, a time limit, and nobody at a port."""

from __future__ import annotations

import getpass
import os
import subprocess
import time
from pathlib import Path

import gevent
from pssh.clients import ParallelSSHClient
from pssh.exceptions import Timeout as PsshTimeout
from trial.servers import HOST, answers, free_port, scratch, server

HOSTS = 8


def make_key(path: Path) -> None:
    """A key pair without a password."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def configuration(folder: Path, port: int) -> Path:
    """A server for the user who runs this, with keys of its own."""
    make_key(folder / "host")
    make_key(folder / "key")
    settings = {
        "Port": port,
        "ListenAddress": HOST,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "key.pub",
        "PidFile": folder / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "MaxStartups": 100,
        # Below another shell, bash spares itself the user's settings, which may take longer than the command.
        "SetEnv": "SHLVL=2",
    }
    file = folder / "sshd_config"
    file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    return file


port = free_port()
with scratch({}) as folder:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as Debian's service does; sshd insists on it
    command = ["sshd", "-D", "-e", "-f", configuration(folder, port)]
    with server(command, lambda: answers(port), folder=folder):
        client = ParallelSSHClient(
            [HOST] * HOSTS,
            port=port,
            user=getpass.getuser(),
            pkey=str(folder / "key"),
            allow_agent=False,
            num_retries=1,
        )
        client.join(client.run_command("true"))
        ticks: list[None] = []
        ticker = gevent.spawn(lambda: [ticks.append(gevent.sleep(0.01)) for _ in range(1000)])
        begun = time.monotonic()
        outputs = client.run_command("sleep 0.3; echo done")
        client.join(outputs)
        took = time.monotonic() - begun
        ticker.kill()
        found = [list(output.stdout) for output in outputs]
        assert found == [["done"]] * HOSTS, found
        assert took < 0.3 * HOSTS / 2, took
        assert len(ticks) > 10, len(ticks)
        slow = client.run_command("sleep 20", read_timeout=0.2)
        try:
            list(slow[0].stdout)
        except PsshTimeout:
            pass
        else:
            raise AssertionError("the time limit was not kept")
    nobody = ParallelSSHClient([HOST], port=free_port(), pkey=str(folder / "key"), allow_agent=False, num_retries=1)
    (failed,) = nobody.run_command("true", stop_on_errors=False)
    assert failed.exception is not None
print(f"{HOSTS} commands of 0.3 s in {took:.2f} s, while a greenlet ticked {len(ticks)} times")
