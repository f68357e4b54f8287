# /// script
# dependencies = ["pyftpdlib>=2", "pyasyncore; python_version >= '3.12'", "pyasynchat; python_version >= '3.12'"]
# ///
"""ftplib over pyftpdlib: uploads, downloads and a command that the server is slow to answer."""

import hubbub_monkey

hubbub_monkey.patch_all()

import ftplib
import io

from trial.overlap import overlap
from trial.servers import HOST, python_server, scratch

SERVER = """
import sys, time
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

class Handler(FTPHandler):
    def ftp_NOOP(self, line):
        time.sleep(0.2)  # each connection has a thread
        super().ftp_NOOP(line)

Handler.authorizer = DummyAuthorizer()
Handler.authorizer.add_user("user", "secret", sys.argv[3], perm="elradfmw")
ThreadedFTPServer((sys.argv[2], int(sys.argv[1])), Handler).serve_forever()
"""


def connected() -> ftplib.FTP:
    """A client that has logged in."""
    client = ftplib.FTP(timeout=30)
    client.connect(HOST, port)
    client.login("user", "secret")
    return client


def transfer(number: int) -> bool:
    """Stores a file, reads it back, and asks something that takes time."""
    content = bytes([number]) * 300_000
    received = io.BytesIO()
    with connected() as client:
        client.storbinary(f"STOR {number}", io.BytesIO(content))
        client.voidcmd("NOOP")
        client.retrbinary(f"RETR {number}", received.write)
        assert str(number) in client.nlst()
    return received.getvalue() == content


with scratch({}) as folder, python_server(SERVER, HOST, str(folder)) as port:
    done = overlap(transfer)
    assert done.results == [True] * 20
print(f"two transfers and a command: {done}")
