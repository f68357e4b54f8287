"""A certificate for the TLS benchmarks, made by the openssl command for this run."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["contexts"]

COMMAND = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"


def contexts(ssl: ModuleType) -> tuple[Any, Any]:
    """A server's and a client's context of ``ssl``; the client verifies nothing."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key"), Path(folder, "certificate")
        subprocess.run(
            [*COMMAND.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
        )
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return server, client
