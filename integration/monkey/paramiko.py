# /// script
# dependencies = ["paramiko>=3.4"]
#
# [tool.hubbub]
# programs = ["sshd", "ssh-keygen"]
# debian = ["openssh-server"]
# ///
"""paramiko over OpenSSH's server: commands over one connection and over several, and files."""

import hubbub_monkey

hubbub_monkey.patch_all()

import getpass
import os
import subprocess
from pathlib import Path

import paramiko
from trial.overlap import overlap
from trial.servers import HOST, answers, free_port, scratch, server


def make_key(path: Path) -> None:
    """A key pair without a password."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def connected() -> paramiko.SSHClient:
    """A client that has logged in."""
    client = paramiko.SSHClient()
    client.load_host_keys(str(folder / "known"))
    client.connect(
        HOST, port, getpass.getuser(), key_filename=str(folder / "key"), look_for_keys=False, allow_agent=False
    )
    return client


def run(client: paramiko.SSHClient, number: int) -> str:
    """A command that takes time; its output."""
    _, output, _ = client.exec_command(f"sleep 0.2; echo {number}")
    return output.read().decode().strip()


def apart(number: int) -> str:
    """The same over a connection of its own."""
    with connected() as client:
        return run(client, number)


port = free_port()
with scratch({}) as folder:
    make_key(folder / "host")
    make_key(folder / "key")
    kind, key, *_ = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[{HOST}]:{port} {kind} {key}\n")
    settings = {
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "key.pub",
        "PidFile": folder / "pid",
        "ListenAddress": f"{HOST}:{port}",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "MaxStartups": 100,
        "MaxSessions": 100,
        "Subsystem": "sftp internal-sftp",
        # Below another shell, bash spares itself the user's settings, which may take longer than the command.
        "SetEnv": "SHLVL=2",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as Debian's service does; sshd insists on it
    with server(["sshd", "-D", "-e", "-f", folder / "config"], lambda: answers(port), folder=folder):
        with connected() as client:
            shared = overlap(lambda number: run(client, number))
            assert shared.results == [str(number) for number in range(20)]
            with client.open_sftp() as files:
                files.put(__file__, str(folder / "copy"))
                assert (folder / "copy").read_bytes() == Path(__file__).read_bytes()
        separate = overlap(apart, jobs=10, each=0.2)
        assert separate.results == [str(number) for number in range(10)]
print(f"commands over one connection: {shared}")
